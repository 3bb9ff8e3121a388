// technique: adopts orphans itself, dies, and leaves them to init with their own exit codes
// layer: only the main program's status is the run's
// expect: exit=6
#include "attack.h"
int main(void) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int i = 0; i < 20; i++)
        if (fork() == 0) {
            if (fork() == 0) {
                usleep(50000 + i * 1000);
                _exit(i);
            }
            _exit(0);
        }
    usleep(20000);
    return 6;
}
