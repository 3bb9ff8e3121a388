// technique: a vfork whose child never ends holds its parent in an uninterruptible wait
// layer: SIGKILL of the tree; wall time
// run: --wall-time 500ms
// takes: 4s
// expect: status=wall-time-limit
#include "attack.h"
int main(void) {
    if (vfork() == 0)
        rest();
    return 0;
}
