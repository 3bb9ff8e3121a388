// technique: children that are never waited for
// layer: process limit counts zombies; they go with the namespace
// run: --pids 40
// expect: status=ok
#include "attack.h"
int main(void) {
    int made = 0;
    for (int i = 0; i < 500; i++) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        if (child > 0) made++;
    }
    if (made > 39) through("%d zombies under a limit of 40", made);
    return verdict();
}
