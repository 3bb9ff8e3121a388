// technique: refused system calls without end, to keep the supervisor busy
// layer: notifications stop after 1,000; the clocks go on
// run: --wall-time 1s --cpu-time 20s
// needs: notify
// expect: status=wall-time-limit refused=socket
#include "attack.h"
int main(void) {
    for (;;) socket(AF_INET, SOCK_STREAM, 0);
}
