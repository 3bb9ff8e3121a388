// technique: writes, links, renames and changes modes where only reading is promised
// layer: read-only mounts, Landlock
// expect: status=ok
#include "attack.h"
int main(void) {
    MUST_FAIL(open("/usr/bin/env", O_WRONLY));
    MUST_FAIL(open("/usr/bin/env", O_RDWR | O_TRUNC));
    MUST_FAIL(open("/usr/new", O_WRONLY | O_CREAT, 0600));
    MUST_FAIL(open("/new", O_WRONLY | O_CREAT, 0600));
    MUST_FAIL(mkdir("/etc/new", 0700));
    MUST_FAIL(unlink("/usr/bin/env"));
    MUST_FAIL(rename("/usr/bin/env", "/usr/bin/env2"));
    MUST_FAIL(chmod("/usr/bin/env", 0777));
    MUST_FAIL(link("/usr/bin/env", "/box/env"));
    MUST_FAIL(link("/usr/bin/env", "/tmp/env"));
    int fd = open("/usr/bin/env", O_RDONLY);
    if (fd < 0) broken("open /usr/bin/env");
    MUST_FAIL(fchmod(fd, 0777));
    MUST_FAIL(ftruncate(fd, 0));
    MUST_FAIL(linkat(fd, "", AT_FDCWD, "/box/env", AT_EMPTY_PATH));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    MUST_FAIL(open(path, O_WRONLY));
    MUST_FAIL(linkat(AT_FDCWD, path, AT_FDCWD, "/box/env", AT_SYMLINK_FOLLOW));
    MUST_FAIL(truncate("/proc/self/exe", 0));
    return verdict();
}
