// technique: waited-for children of 5 ms each
// layer: CPU time of the tree
// run: --cpu-time 500ms --wall-time 8s
// expect: status=cpu-time-limit
#include "attack.h"
int main(void) {
    for (;;) {
        if (fork() == 0) {
            burn(0.005);
            _exit(0);
        }
        wait(NULL);
    }
}
