// technique: reads, writes, traces and duplicates from init by every call that can
// layer: init is not dumpable; system-call policy; the PID namespace
// expect: status=ok
#include "attack.h"
#include <sys/ptrace.h>
#include <sys/uio.h>
int main(void) {
    char bytes[64];
    struct iovec here = {bytes, sizeof bytes}, there = {(void *)0x400000, sizeof bytes};
    for (int pid = 0; pid < 2; pid++) {
        MUST_FAIL(ptrace(PTRACE_ATTACH, pid, 0, 0));
        MUST_FAIL(ptrace(PTRACE_SEIZE, pid, 0, 0));
        MUST_FAIL(process_vm_readv(pid, &here, 1, &there, 1, 0));
        MUST_FAIL(process_vm_writev(pid, &here, 1, &there, 1, 0));
    }
    MUST_FAIL(syscall(SYS_kcmp, 1, getpid(), 0, 0, 0));
    long pidfd = syscall(SYS_pidfd_open, 1, 0);
    if (pidfd >= 0) {
        MUST_FAIL(syscall(SYS_pidfd_getfd, pidfd, 0, 0));
        MUST_FAIL(syscall(SYS_process_madvise, pidfd, &here, 1, 21 /* MADV_PAGEOUT */, 0));
        MUST_FAIL(syscall(SYS_process_mrelease, pidfd, 0));
    }
    const char *files[] = {"mem", "environ", "auxv", "maps", "smaps", "pagemap", "syscall", "stack", "io", "exe", "root",
                           "cwd", "fd", "fdinfo", "map_files", "personality", "ns/user"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/1/%s", files[i]);
        int fd = open(path, O_RDONLY);
        ssize_t got = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
        if (got > 0) through("%s gave %zd bytes", path, got);
        if (fd >= 0 && !strcmp(files[i], "root")) through("%s was opened", path);
        MUST_FAIL(open(path, O_WRONLY));
    }
    MUST_FAIL(syscall(SYS_migrate_pages, 1, 0, NULL, NULL));
    MUST_FAIL(syscall(SYS_move_pages, 1, 0, NULL, NULL, NULL, 0) == 0 ? 0 : -1);
    return verdict();
}
