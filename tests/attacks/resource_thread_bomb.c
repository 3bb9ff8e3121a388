// technique: threads instead of processes, in several processes
// layer: process limit counts tasks
// run: --pids 32
// expect: status=ok
#include "attack.h"
static void *idle(void *unused) {
    (void)unused;
    rest();
}
int main(void) {
    int pipe_of[2];
    if (pipe(pipe_of)) broken("pipe");
    for (int child = 0; child < 4; child++)
        if (fork() == 0) {
            pthread_t thread;
            for (int i = 0; i < 100 && !pthread_create(&thread, NULL, idle, NULL); i++)
                if (write(pipe_of[1], "t", 1) != 1) _exit(1);
            rest();
        }
    sleep(1);
    fcntl(pipe_of[0], F_SETFL, O_NONBLOCK);
    char marks[1000];
    ssize_t threads = read(pipe_of[0], marks, sizeof marks);
    if (threads > 31) through("%zd threads under a limit of 32", threads);
    return verdict();
}
