// technique: keys of the session, which know no namespace
// layer: system-call policy
// expect: status=ok
#include "attack.h"
int main(void) {
    MUST_FAIL(syscall(SYS_add_key, "user", "name", "value", 5, -3));
    MUST_FAIL(syscall(SYS_request_key, "user", "name", NULL, -3));
    MUST_FAIL(syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3, 1));
    MUST_FAIL(syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, "name"));
    return verdict();
}
