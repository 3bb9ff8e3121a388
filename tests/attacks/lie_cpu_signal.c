// technique: dies by SIGXCPU as if its time were up
// layer: a CPU time limit needs the clock's evidence
// expect: status=signaled
#include "attack.h"
int main(void) {
    raise(SIGXCPU);
    return 1;
}
