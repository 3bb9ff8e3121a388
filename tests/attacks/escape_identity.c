// technique: becomes somebody else, or takes a capability back
// layer: one id in the map; five empty capability sets; locked securebits; no_new_privs
// expect: status=ok
#include "attack.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
int main(void) {
    unsigned others[] = {0, 1, 999, 1001, 65534, 54321};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        MUST_FAIL(syscall(SYS_setuid, others[i]));
        MUST_FAIL(syscall(SYS_setgid, others[i]));
        MUST_FAIL(syscall(SYS_setresuid, -1, others[i], -1));
        MUST_FAIL(syscall(SYS_setresgid, -1, others[i], -1));
        gid_t group = others[i];
        MUST_FAIL(syscall(SYS_setgroups, 1, &group));
    }
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    for (int bit = 0; bit < 41; bit++) {
        struct __user_cap_data_struct data[2] = {{0}};
        data[bit / 32].permitted = data[bit / 32].effective = 1u << bit % 32;
        MUST_FAIL(syscall(SYS_capset, &header, data));
        MUST_FAIL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0));
        if (prctl(PR_CAPBSET_READ, bit) == 1) through("capability %d is in the bounding set", bit);
    }
    MUST_FAIL(prctl(PR_SET_SECUREBITS, 0));
    MUST_FAIL(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS));
    MUST_FAIL(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) through("no_new_privs is off");
    MUST_FAIL(prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, 0, 0, 0));
    return verdict();
}
