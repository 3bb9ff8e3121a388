// technique: as many full socket pairs as the kernel gives, in many processes
// layer: memory limit; where it cannot see them, another bound
// run: --mem 64M --wall-time 10s
// expect: status=ok|memory-limit
#include "attack.h"
int main(void) {
    size_t *held = map(4096, MAP_SHARED);
    for (int child = 0; child < 30; child++) {
        if (fork() != 0) continue;
        static char block[32768];
        int ends[2], large = 1 << 20;
        while (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0) {
            setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
            fcntl(ends[0], F_SETFL, O_NONBLOCK);
            while (write(ends[0], block, sizeof block) > 0) __atomic_add_fetch(held, sizeof block, __ATOMIC_RELAXED);
        }
        rest();
    }
    sleep(2);
    if (*held > 128ul << 20) through("%zu MiB in sockets under a limit of 64 MiB", *held >> 20);
    return verdict();
}
