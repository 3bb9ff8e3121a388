// technique: every process opens all that it may, and passes descriptors on in sockets
// layer: open files limit per process
// run: --open-files 64
// expect: status=ok
#include "attack.h"
int main(void) {
    struct rlimit more = {4096, 4096};
    MUST_FAIL(setrlimit(RLIMIT_NOFILE, &more));
    int fd = 0;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0 && fd < 1000) {
    }
    if (fd >= 64) through("descriptor %d under a limit of 64", fd);
    MUST_FAIL(fcntl(0, F_DUPFD, 64));
    return verdict();
}
