// technique: enters the kernel by int 0x80, where other numbers mean other calls
// layer: system-call policy kills a foreign ABI
// arch: x86_64
// expect: status=syscall-refused|signaled
#include "attack.h"
int main(void) {
    long answer = 20; /* getpid of i386 */
    __asm__ volatile("int $0x80" : "+a"(answer) : : "memory", "r8", "r9", "r10", "r11");
    through("getpid by int 0x80 answers %ld", answer);
    return verdict();
}
