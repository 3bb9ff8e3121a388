// technique: both streams at once, from many processes
// layer: output limit of each stream
// run: --output-size 1M
// expect: status=output-limit
#include "attack.h"
int main(void) {
    static char block[65536];
    for (int i = 0; i < 6; i++) {
        if (fork() != 0) continue;
        signal(SIGPIPE, SIG_IGN);
        for (;;)
            if (write(1 + i % 2, block, sizeof block) < 0 && errno != EINTR) sched_yield();
    }
    rest();
}
