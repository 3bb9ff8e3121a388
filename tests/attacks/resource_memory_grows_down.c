// technique: a MAP_GROWSDOWN area, which RLIMIT_DATA does not count
// layer: memory limit
// run: --mem 64M --stack unlimited
// expect: status=memory-limit|signaled
#include "attack.h"
int main(void) {
    char *top = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
    if (top == MAP_FAILED) broken("mmap");
    for (long page = 0; page < 40960; page++) ((volatile char *)top)[-page * 4096] = 1;
    through("160 MiB of a growing area under a limit of 64 MiB");
    return verdict();
}
