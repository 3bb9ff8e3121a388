// technique: ignores or blocks every signal, SIGXCPU too
// layer: SIGKILL of the tree
// run: --cpu-time 500ms --wall-time 8s
// expect: status=cpu-time-limit
#include "attack.h"
int main(void) {
    for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    burn(30);
    return verdict();
}
