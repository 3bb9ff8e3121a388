// technique: a process that is not dumpable hides its maps from others of its uid
// layer: memory limit, whoever watches
// run: --mem 64M
// expect: status=memory-limit
#include "attack.h"
int main(void) {
    prctl(PR_SET_DUMPABLE, 0);
    touch(map(160 << 20, MAP_PRIVATE), 160 << 20);
    through("160 MiB under a limit of 64 MiB");
    return verdict();
}
