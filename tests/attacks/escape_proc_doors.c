// technique: every file of /proc that steers a machine
// layer: no capability; read-only where it must be; Landlock
// expect: status=ok
#include "attack.h"
int main(void) {
    const char *files[] = {
        "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/randomize_va_space", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/drop_caches",
        "/proc/sys/fs/binfmt_misc/register", "/proc/sys/fs/file-max", "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/ns_last_pid", "/proc/self/uid_map", "/proc/self/gid_map",
        "/proc/self/setgroups", "/proc/1/oom_score_adj", "/proc/1/oom_adj", "/proc/1/comm", "/proc/1/coredump_filter",
        "/proc/1/clear_refs", "/proc/1/timerslack_ns", "/proc/1/loginuid", "/proc/1/attr/current", "/proc/irq/0/smp_affinity",
        "/proc/self/projid_map", "/proc/scsi/scsi", "/proc/acpi/wakeup", "/proc/mtrr"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        int fd = open(files[i], O_WRONLY);
        // A file may open and refuse the write itself.
        if (fd >= 0 && write(fd, "0", 1) > 0) through("%s was written", files[i]);
    }
    const char *secrets[] = {"/proc/kcore", "/proc/kmsg", "/proc/kpagecount", "/proc/kpageflags", "/proc/timer_list",
                             "/proc/sched_debug", "/proc/keys", "/proc/vmallocinfo", "/proc/slabinfo", "/proc/pagetypeinfo"};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        char byte;
        int fd = open(secrets[i], O_RDONLY | O_NONBLOCK);
        if (fd >= 0 && read(fd, &byte, 1) > 0 && strcmp(secrets[i], "/proc/keys")) through("%s was read", secrets[i]);
    }
    int score = open("/proc/self/oom_score_adj", O_WRONLY);
    if (score >= 0 && write(score, "-1000", 5) > 0) through("oom_score_adj was lowered");
    return verdict();
}
