// technique: empty files, directories, links and fifos until nothing more can be made
// layer: inode limit, over all throw-away places together
// run: --inodes 300
// expect: status=ok
#include "attack.h"
int main(void) {
    char name[64];
    long made = 0;
    const char *places[] = {"/box", "/tmp", "/dev/shm"};
    for (int place = 0; place < 3; place++)
        for (int i = 0, failed = 0; i < 5000 && failed < 8; i++) {
            snprintf(name, sizeof name, "%s/n%d", places[place], i);
            int bad = i % 4 == 0 ? mkdir(name, 0700) : i % 4 == 1 ? symlink("x", name) : i % 4 == 2 ? mkfifo(name, 0600)
                : close(open(name, O_CREAT | O_WRONLY, 0600));
            if (bad) failed++;
            else made++;
        }
    if (made > 300) through("%ld inodes under a limit of 300", made);
    return verdict();
}
