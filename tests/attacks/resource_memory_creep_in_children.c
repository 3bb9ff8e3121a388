// technique: many processes, each far beneath the limit
// layer: memory limit of the tree
// run: --mem 64M
// expect: status=memory-limit
#include "attack.h"
int main(void) {
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        if (child == 0) {
            touch(map(4 << 20, MAP_PRIVATE), 4 << 20);
            rest();
        }
        usleep(3000);
    }
    through("60 × 4 MiB under a limit of 64 MiB");
    return verdict();
}
