// technique: each process forks a successor and exits, so that no pid lives long enough to be killed by name
// layer: the end of the PID namespace
// expect: status=ok
#include "attack.h"
int main(void) {
    if (fork() != 0) return 0;
    setsid();
    for (;;)
        if (fork() > 0) _exit(0);
}
