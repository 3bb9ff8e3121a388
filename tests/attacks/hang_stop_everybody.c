// technique: stops every process of its session, itself and init too
// layer: wall time
// run: --wall-time 500ms
// takes: 4s
// expect: status=wall-time-limit
#include "attack.h"
int main(void) {
    if (fork() == 0)
        rest();
    kill(1, SIGSTOP);
    kill(1, SIGTSTP);
    kill(-1, SIGSTOP);
    raise(SIGSTOP);
    rest();
}
