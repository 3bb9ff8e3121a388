// technique: a deep tree of sessions that ignores every signal, stopped and running by turns
// layer: SIGKILL of the whole namespace, reaped within a bound
// run: --pids 100
// takes: 4s
// expect: status=ok
#include "attack.h"
int main(void) {
    int ready[2];
    if (pipe(ready)) broken("pipe");
    for (int depth = 0; depth < 90; depth++) {
        pid_t child = fork();
        if (child < 0) break;
        if (child > 0) {
            if (depth == 0) {
                char byte;
                close(ready[1]);
                while (read(ready[0], &byte, 1) > 0 && byte != 'l') {
                }
                return 0;
            }
            for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
            setsid();
            close(ready[1]);
            if (depth % 2) raise(SIGSTOP);
            rest();
        }
    }
    if (write(ready[1], "l", 1) != 1) _exit(1);
    close(ready[1]);
    rest();
}
