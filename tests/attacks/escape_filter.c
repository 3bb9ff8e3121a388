// technique: puts its own filter with a listener on top, and lets a refused call continue
// layer: the stricter answer of all filters wins
// expect: status=ok
#include "attack.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
int main(void) {
    struct sock_filter notify_all[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_unshare},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    };
    struct sock_fprog program = {4, notify_all};
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) {
        MUST_FAIL(unshare(CLONE_NEWUSER));
        return verdict();
    }
    pid_t child = fork();
    if (child == 0) _exit(unshare(CLONE_NEWUSER) == 0);
    struct seccomp_notif asked = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) == 0) {
        struct seccomp_notif_resp go = {asked.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &go);
    }
    int status = 0;
    kill(child, SIGALRM);
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 1) through("unshare went on");
    return verdict();
}
