// technique: an exit code with more than eight bits, from another thread than the first
// layer: the wait status as the kernel gives it
// expect: exit=3
#include "attack.h"
static void *leave(void *unused) {
    (void)unused;
    syscall(SYS_exit_group, 0x7fff0003);
    return NULL;
}
int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, leave, NULL)) broken("pthread_create");
    rest();
}
