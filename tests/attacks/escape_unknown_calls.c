// technique: system calls that this sandbox has never heard of
// layer: system-call policy: ENOSYS
// expect: status=ok
#include "attack.h"
int main(void) {
    for (long number = 500; number < 1200; number++) {
        errno = 0;
        long answer = syscall(number, 0, 0, 0, 0, 0, 0);
        if (answer != -1 || errno != ENOSYS) through("call %ld answers %ld, %s", number, answer, strerror(errno));
    }
    return verdict();
}
