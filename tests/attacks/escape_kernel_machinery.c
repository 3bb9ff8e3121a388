// technique: the calls behind most kernel exploits: bpf, perf, userfaultfd, io_uring
// layer: system-call policy
// expect: status=ok
#include "attack.h"
int main(void) {
    char attributes[256] = {0};
    for (int command = 0; command < 40; command++) MUST_FAIL(syscall(SYS_bpf, command, attributes, sizeof attributes));
    attributes[0] = 1; /* PERF_TYPE_SOFTWARE */
    attributes[4] = 112;
    MUST_FAIL(syscall(SYS_perf_event_open, attributes, 0, -1, -1, 0));
    MUST_FAIL(syscall(SYS_userfaultfd, 0));
    MUST_FAIL(syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */));
    memset(attributes, 0, sizeof attributes);
    errno = 0;
    MUST_FAIL(syscall(SYS_io_uring_setup, 4, attributes));
    if (errno != ENOSYS && errno != EPERM) through("io_uring_setup answers %s: runtimes fall back on ENOSYS", strerror(errno));
    MUST_FAIL(syscall(SYS_io_uring_enter, 0, 0, 0, 0, NULL, 0));
    MUST_FAIL(syscall(SYS_io_uring_register, 0, 0, NULL, 0));
    MUST_FAIL(syscall(SYS_fanotify_init, 0, 0));
    MUST_FAIL(syscall(SYS_lookup_dcookie, 0ull, attributes, sizeof attributes));
    MUST_FAIL(syscall(SYS_open_by_handle_at, AT_FDCWD, attributes, O_RDONLY));
    return verdict();
}
