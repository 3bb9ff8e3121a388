// technique: every signal to init, by every call that sends one
// layer: a PID 1 takes no signal from inside; the run goes on and ends as it wants
// expect: exit=7
#include "attack.h"
int main(void) {
    long pidfd = syscall(SYS_pidfd_open, 1, 0);
    for (int number = 1; number < 65; number++) {
        kill(1, number);
        syscall(SYS_tgkill, 1, 1, number);
        sigqueue(1, number, (union sigval){0});
        if (pidfd >= 0) syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
    }
    usleep(100000);
    if (kill(1, 0) && errno == ESRCH) return 1;
    return 7;
}
