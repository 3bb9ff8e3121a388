// technique: clone without SIGCHLD and with CLONE_PARENT, so that nobody of the tree waits for the children
// layer: process limit; init reaps what it inherits
// run: --pids 16
// expect: status=ok
#include "attack.h"
int main(void) {
    int made = 0;
    for (int i = 0; i < 200; i++) {
        long child = syscall(SYS_clone, (unsigned long)(i % 2 ? CLONE_PARENT : 0), 0, 0, 0, 0);
        if (child == 0) {
            rest();
        }
        if (child > 0) made++;
    }
    if (made > 15) through("%d processes under a limit of 16", made);
    return verdict();
}
