// technique: none; one shared map that eight processes touch must be counted once
// layer: memory limit, from the other side
// run: --mem 96M
// expect: status=ok
#include "attack.h"
int main(void) {
    size_t length = 40 << 20;
    char *memory = map(length, MAP_SHARED);
    for (int i = 0; i < 8; i++)
        if (fork() == 0) {
            touch(memory, length);
            usleep(300000);
            _exit(0);
        }
    while (wait(NULL) > 0) {
    }
    return verdict();
}
