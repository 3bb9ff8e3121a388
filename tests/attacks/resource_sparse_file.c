// technique: files that look huge and cost nothing until they are collected
// layer: file size limit
// run: --disk 8M
// expect: status=ok
#include "attack.h"
int main(void) {
    signal(SIGXFSZ, SIG_IGN);
    int fd = open("huge", O_RDWR | O_CREAT, 0600);
    if (fd < 0) broken("open");
    MUST_FAIL(ftruncate(fd, 1ll << 40));
    MUST_FAIL(pwrite(fd, "x", 1, 1ll << 40));
    MUST_FAIL(posix_fallocate(fd, 0, 1ll << 40) ? -1 : 0);
    return verdict();
}
