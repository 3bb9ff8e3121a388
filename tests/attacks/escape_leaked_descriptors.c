// technique: looks for descriptors that somebody forgot, and walks from those it has
// layer: every descriptor above 2 is closed; 0, 1 and 2 are pipes of ours
// expect: status=ok
#include "attack.h"
int main(void) {
    for (int fd = 3; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0) through("descriptor %d is open", fd);
    for (int fd = 0; fd < 3; fd++) {
        struct stat meta;
        if (fstat(fd, &meta)) continue;
        if (S_ISDIR(meta.st_mode)) through("descriptor %d is a directory", fd);
        MUST_FAIL(fchdir(fd));
        MUST_FAIL(openat(fd, "..", O_RDONLY));
    }
    return verdict();
}
