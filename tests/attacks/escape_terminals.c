// technique: pushes input into a terminal, takes one over, changes its settings
// layer: no terminal is inside; a session of its own; system-call policy
// expect: status=ok
#include "attack.h"
#include <sys/ioctl.h>
#include <termios.h>
int main(void) {
    const char *names[] = {"/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/pts/0", "/dev/pts/1", "/dev/vcs",
                           "/dev/ttyS0"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) MUST_FAIL(open(names[i], O_RDWR));
    char letter = 'x';
    struct termios settings;
    for (int fd = 0; fd < 3; fd++) {
        MUST_FAIL(ioctl(fd, TIOCSTI, &letter));
        MUST_FAIL(ioctl(fd, TIOCLINUX, &letter));
        MUST_FAIL(ioctl(fd, TIOCSCTTY, 1));
        MUST_FAIL(ioctl(fd, TIOCCONS, 0));
        MUST_FAIL(tcgetattr(fd, &settings));
    }
    if (getsid(0) != getpid() && getsid(0) != 1 && getsid(0) == 0) through("the session is one of outside");
    return verdict();
}
