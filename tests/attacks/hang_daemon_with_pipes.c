// technique: a daemon in another session keeps every stream open
// layer: the run ends with its main program; the namespace takes the rest
// takes: 3s
// expect: status=ok
#include "attack.h"
int main(void) {
    for (int i = 0; i < 20; i++)
        if (fork() == 0) {
            setsid();
            if (fork() == 0) rest();
            _exit(0);
        }
    while (wait(NULL) > 0) {
    }
    puts("gone");
    return verdict();
}
