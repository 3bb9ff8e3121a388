// technique: the work is done by orphans, double forked, in sessions of their own
// layer: CPU time of the tree
// run: --cpu-time 500ms --wall-time 8s
// expect: status=cpu-time-limit
#include "attack.h"
int main(void) {
    for (int i = 0; i < 2; i++) {
        if (fork() == 0) {
            setsid();
            if (fork() == 0) {
                burn(30);
                _exit(0);
            }
            _exit(0);
        }
        wait(NULL);
    }
    rest();
}
