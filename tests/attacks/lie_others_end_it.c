// technique: the main program is killed by its own child, which then exits 0
// layer: the main program's own ending counts
// expect: status=signaled
#include "attack.h"
int main(void) {
    pid_t parent = getpid();
    if (fork() == 0) {
        setsid();
        kill(parent, SIGKILL);
        _exit(0);
    }
    rest();
}
