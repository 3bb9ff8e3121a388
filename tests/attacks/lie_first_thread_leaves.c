// technique: the first thread exits, another goes on, executes a program, and that one ends it
// layer: the main program is a process, whatever its threads do
// expect: exit=9
#include "attack.h"
static char **words;
static void *go_on(void *unused) {
    (void)unused;
    usleep(200000);
    execl(words[0], words[0], "again", NULL);
    broken("execl");
}
int main(int argc, char **argv) {
    if (argc > 1) return 9;
    words = argv;
    pthread_t thread;
    if (pthread_create(&thread, NULL, go_on, NULL)) broken("pthread_create");
    syscall(SYS_exit, 0);
    return 1;
}
