// technique: exec of a program that its user may not read drops an inherited perf clock; SIGCHLD ignored blinds wait4
// layer: CPU time of the tree, by another of its clocks
// run: --cpu-time 500ms --wall-time 8s
// expect: status=cpu-time-limit
#include "attack.h"
int main(int argc, char **argv) {
    if (argc > 1) {
        burn(30);
        return 0;
    }
    signal(SIGCHLD, SIG_IGN);
    char block[65536];
    int from = open(argv[0], O_RDONLY), to = open("/tmp/x", O_WRONLY | O_CREAT, 0700);
    for (ssize_t n; (n = read(from, block, sizeof block)) > 0;)
        if (write(to, block, n) != n) broken("write");
    close(to);
    if (chmod("/tmp/x", 0111)) broken("chmod");
    if (fork() == 0) {
        execl("/tmp/x", "/tmp/x", "burn", NULL);
        _exit(99);
    }
    rest();
}
