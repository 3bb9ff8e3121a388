// technique: every call that mounts, moves, unmounts, or changes the root
// layer: system-call policy; no capability beneath it
// needs: notify
// expect: status=ok refused=mount
#include "attack.h"
#include <sys/mount.h>
int main(void) {
    MUST_FAIL(mount("tmpfs", "/tmp", "tmpfs", 0, NULL));
    MUST_FAIL(mount("/usr", "/tmp", NULL, MS_BIND, NULL));
    MUST_FAIL(mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL));
    MUST_FAIL(mount("proc", "/tmp", "proc", 0, NULL));
    MUST_FAIL(mount("cgroup2", "/tmp", "cgroup2", 0, NULL));
    MUST_FAIL(mount("none", "/tmp", "fuse", 0, "fd=0,rootmode=040000,user_id=0,group_id=0"));
    MUST_FAIL(umount2("/proc", MNT_DETACH));
    MUST_FAIL(umount2("/", MNT_DETACH));
    MUST_FAIL(syscall(SYS_pivot_root, ".", "."));
    MUST_FAIL(chroot("/box"));
    MUST_FAIL(syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */));
    MUST_FAIL(syscall(SYS_move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/box", 0));
    MUST_FAIL(syscall(SYS_fsopen, "tmpfs", 0));
    MUST_FAIL(syscall(SYS_fspick, AT_FDCWD, "/usr", 0));
    MUST_FAIL(syscall(SYS_fsmount, 0, 0, 0));
    MUST_FAIL(syscall(SYS_mount_setattr, AT_FDCWD, "/usr", 0, (uint64_t[4]){0, 1, 0, 0}, 32));
    return verdict();
}
