// technique: raises its own limits and those of init
// layer: hard limits, no capability
// expect: status=ok
#include "attack.h"
int main(void) {
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        struct rlimit limit;
        if (getrlimit(resource, &limit) || limit.rlim_max == RLIM_INFINITY) continue;
        struct rlimit more = {limit.rlim_cur, limit.rlim_max + 1};
        if (setrlimit(resource, &more) == 0) through("setrlimit %d", resource);
        if (prlimit(1, resource, &more, NULL) == 0) through("prlimit of init, %d", resource);
    }
    struct rlimit none = {0, 0};
    MUST_FAIL(prlimit(1, RLIMIT_NOFILE, &none, NULL));
    MUST_FAIL(prlimit(1, RLIMIT_CPU, &none, NULL));
    MUST_FAIL(setpriority(PRIO_PROCESS, 0, -5));
    struct sched_param first = {1};
    MUST_FAIL(sched_setscheduler(0, SCHED_FIFO, &first));
    MUST_FAIL(sched_setscheduler(1, SCHED_OTHER, &(struct sched_param){0}));
    return verdict();
}
