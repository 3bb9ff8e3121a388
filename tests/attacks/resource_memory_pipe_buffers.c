// technique: as many full pipes as the kernel gives, in many processes
// layer: memory limit; looking at processes cannot see it, and says so in the report
// needs: kernel-limits
// run: --mem 64M --wall-time 10s
// expect: status=ok|memory-limit
#include "attack.h"
int main(void) {
    size_t *held = map(4096, MAP_SHARED);
    for (int child = 0; child < 30; child++) {
        if (fork() != 0) continue;
        static char block[4096];
        int ends[2];
        while (pipe(ends) == 0) {
            fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
            fcntl(ends[1], F_SETFL, O_NONBLOCK);
            while (write(ends[1], block, sizeof block) > 0) __atomic_add_fetch(held, sizeof block, __ATOMIC_RELAXED);
        }
        rest();
    }
    sleep(2);
    if (*held > 128ul << 20) through("%zu MiB in pipes under a limit of 64 MiB", *held >> 20);
    return verdict();
}
