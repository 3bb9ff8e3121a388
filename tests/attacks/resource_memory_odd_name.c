// technique: a process name that breaks careless readers of /proc/PID/stat
// layer: memory limit, whoever watches
// run: --mem 64M
// expect: status=memory-limit
#include "attack.h"
int main(void) {
    prctl(PR_SET_NAME, "a) R 1 (\n0 0 0");
    touch(map(160 << 20, MAP_SHARED), 160 << 20);
    through("160 MiB under a limit of 64 MiB");
    return verdict();
}
