// technique: every call that administers a machine
// layer: system-call policy; no capability beneath it
// expect: status=ok
#include "attack.h"
int main(void) {
    char buffer[256] = {0};
    struct timespec epoch = {0, 0};
    MUST_FAIL(syscall(SYS_init_module, buffer, 1, ""));
    MUST_FAIL(syscall(SYS_finit_module, 0, "", 0));
    MUST_FAIL(syscall(SYS_delete_module, "loop", 0));
    MUST_FAIL(syscall(SYS_kexec_load, 0, 0, NULL, 0));
    MUST_FAIL(syscall(SYS_kexec_file_load, 0, 0, 0, NULL, 0));
    // CAD off: what it would change is nothing, and it needs the same right as a reboot.
    MUST_FAIL(syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL));
    MUST_FAIL(syscall(SYS_swapon, "/tmp/x", 0));
    MUST_FAIL(syscall(SYS_swapoff, "/tmp/x"));
    MUST_FAIL(syscall(SYS_acct, "/tmp/x"));
    MUST_FAIL(syscall(SYS_quotactl, 0, NULL, 0, NULL));
    MUST_FAIL(syscall(SYS_clock_settime, CLOCK_REALTIME, &epoch));
    MUST_FAIL(syscall(SYS_settimeofday, buffer, NULL));
    MUST_FAIL(sethostname("x", 1));
    MUST_FAIL(setdomainname("x", 1));
    MUST_FAIL(syscall(SYS_syslog, 3, buffer, sizeof buffer));
    MUST_FAIL(syscall(SYS_vhangup));
#ifdef __x86_64__
    MUST_FAIL(syscall(SYS_iopl, 3));
    MUST_FAIL(syscall(SYS_ioperm, 0x80, 1, 1));
    MUST_FAIL(syscall(SYS_uselib, "/usr/lib/x"));
    MUST_FAIL(syscall(SYS_sysfs, 3, 0, 0));
    MUST_FAIL(syscall(SYS_ustat, 0, buffer));
#endif
    return verdict();
}
