// technique: dies by SIGSYS as if the policy had killed it
// layer: a refused system call needs the filter's evidence
// expect: status=signaled
#include "attack.h"
int main(void) {
    raise(SIGSYS);
    return 1;
}
