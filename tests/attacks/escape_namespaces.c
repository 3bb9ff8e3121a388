// technique: makes or joins every kind of namespace, by every call that can
// layer: system-call policy: EPERM, never a kill
// needs: notify
// expect: status=ok refused=unshare
#include "attack.h"
#include <linux/sched.h>
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
int main(void) {
    int kinds[] = {CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP,
                   CLONE_NEWTIME};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        MUST_FAIL(unshare(kinds[i]));
        MUST_FAIL(unshare(kinds[i] | CLONE_NEWUSER));
        long child = syscall(SYS_clone, (unsigned long)kinds[i] | SIGCHLD, 0, 0, 0, 0);
        if (child == 0) _exit(0);
        if (child > 0) through("clone with %#x", kinds[i]);
        struct clone_args wanted = {.flags = (unsigned)kinds[i], .exit_signal = SIGCHLD};
        child = syscall(SYS_clone3, &wanted, sizeof wanted);
        if (child == 0) _exit(0);
        if (child > 0) through("clone3 with %#x", kinds[i]);
        MUST_FAIL(setns(0, kinds[i]));
    }
    const char *names[] = {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time", "pid_for_children"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        for (int pid = 1; pid < 3; pid++) {
            snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, names[i]);
            int fd = open(path, O_RDONLY);
            if (fd >= 0) MUST_FAIL(setns(fd, 0));
        }
    }
    return verdict();
}
