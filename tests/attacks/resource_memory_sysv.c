// technique: System V shared memory, touched and detached, so that no process maps it
// layer: the calls are not allowed; the memory limit
// run: --mem 64M
// expect: status=ok|memory-limit
#include "attack.h"
#include <sys/ipc.h>
#include <sys/shm.h>
int main(void) {
    for (int i = 0; i < 20; i++) {
        int id = shmget(IPC_PRIVATE, 8 << 20, IPC_CREAT | 0600);
        if (id < 0) return verdict();
        char *memory = shmat(id, NULL, 0);
        if (memory == (void *)-1) return verdict();
        touch(memory, 8 << 20);
        shmdt(memory);
    }
    through("160 MiB of detached segments under a limit of 64 MiB");
    return verdict();
}
