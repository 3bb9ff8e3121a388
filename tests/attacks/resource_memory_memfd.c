// technique: an anonymous file that is never mapped
// layer: memory limit, or memfd_create refused where the mechanism cannot see such memory
// run: --mem 64M --file-size unlimited
// expect: status=ok|memory-limit
#include "attack.h"
int main(void) {
    int fd = memfd_create("x", 0);
    if (fd < 0) return verdict();
    static char block[1 << 20];
    memset(block, 1, sizeof block);
    for (int mib = 0; mib < 160; mib++)
        if (write(fd, block, sizeof block) != sizeof block) return verdict();
    through("160 MiB in a memfd under a limit of 64 MiB");
    return verdict();
}
