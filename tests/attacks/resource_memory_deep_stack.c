// technique: recursion without end
// layer: memory limit, or the stack's own
// run: --mem 64M --stack unlimited
// expect: status=memory-limit
#include "attack.h"
static int deeper(int depth) {
    volatile char frame[65536];
    for (int at = 0; at < 65536; at += 4096) frame[at] = (char)depth;
    return depth > 4000 ? 0 : deeper(depth + 1) + frame[0];
}
int main(void) {
    deeper(0);
    through("250 MiB of stack under a limit of 64 MiB");
    return verdict();
}
