// technique: a sparse file as large as its file system can name, where a file is collected
// layer: file size limit; caps of the collector
// run: --out result --disk 8M
// takes: 5s
// expect: status=ok|file-size-limit
#include "attack.h"
int main(void) {
    signal(SIGXFSZ, SIG_IGN);
    int fd = open("result", O_RDWR | O_CREAT, 0600);
    if (fd < 0) broken("open");
    for (int shift = 62; shift > 20; shift--)
        if (ftruncate(fd, 1ll << shift) == 0) break;
    return 0;
}
