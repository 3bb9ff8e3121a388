// technique: files without a name fill the throw-away places
// layer: disk limit
// run: --mem 256M --disk 8M --file-size unlimited
// expect: status=ok
#include "attack.h"
int main(void) {
    static char block[1 << 16];
    size_t put = 0;
    const char *places[] = {"/box/f", "/tmp/f", "/dev/shm/f"};
    for (int place = 0; place < 3; place++) {
        int fd = open(places[place], O_RDWR | O_CREAT, 0600);
        if (fd < 0) continue;
        unlink(places[place]);
        for (ssize_t n; (n = write(fd, block, sizeof block)) > 0;) put += n;
    }
    if (put > 8 << 20) through("%zu bytes in a disk of 8 MiB", put);
    return verdict();
}
