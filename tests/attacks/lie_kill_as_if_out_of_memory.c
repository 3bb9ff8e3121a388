// technique: dies by SIGKILL as if the kernel had run out of memory
// layer: a memory limit needs evidence of the kernel's or ours
// expect: status=signaled
#include "attack.h"
int main(void) {
    raise(SIGKILL);
    return 1;
}
