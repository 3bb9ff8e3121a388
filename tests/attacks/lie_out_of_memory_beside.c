// technique: hides an out-of-memory kill: a child is marked as the first victim, the main program exits 0 at once
// layer: any out-of-memory kill of the tree is a memory limit
// run: --mem 64M
// expect: status=memory-limit
#include "attack.h"
int main(void) {
    pid_t child = fork();
    if (child == 0) {
        int fd = open("/proc/self/oom_score_adj", O_WRONLY);
        if (fd >= 0 && write(fd, "1000", 4) < 0) {
        }
        touch(map(160 << 20, MAP_PRIVATE), 160 << 20);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return 0;
}
