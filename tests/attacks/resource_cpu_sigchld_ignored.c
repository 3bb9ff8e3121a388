// technique: children of 20 ms whose parent ignores SIGCHLD: wait4 never sees their time
// layer: CPU time of the tree by cgroup or perf; else by polling, and the report says `evadable`
// run: --cpu-time 500ms --wall-time 8s
// expect: status=cpu-time-limit
#include "attack.h"
int main(void) {
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        if (fork() == 0) {
            burn(0.02);
            _exit(0);
        }
        wait(NULL);
    }
}
