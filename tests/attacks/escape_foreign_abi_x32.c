// technique: adds the x32 bit to call numbers, which a list of numbers may not know
// layer: system-call policy kills a foreign ABI
// arch: x86_64
// expect: status=syscall-refused|signaled
#include "attack.h"
int main(void) {
    long answer = syscall(0x40000000 | SYS_getpid);
    through("getpid with the x32 bit answers %ld, %s", answer, strerror(errno));
    return verdict();
}
