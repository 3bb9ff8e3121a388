// technique: makes a set-user-id program of itself and executes it
// layer: nosuid, no_new_privs, one id in the map
// expect: status=ok
#include "attack.h"
#include <sys/auxv.h>
int main(int argc, char **argv) {
    if (argc > 1) {
        if (getauxval(AT_SECURE)) through("the program runs with raised rights");
        if (geteuid() != getuid()) through("uid %d runs as %d", getuid(), geteuid());
        return verdict();
    }
    char block[65536];
    int from = open(argv[0], O_RDONLY), to = open("/tmp/s", O_WRONLY | O_CREAT, 0700);
    for (ssize_t n; (n = read(from, block, sizeof block)) > 0;)
        if (write(to, block, n) != n) broken("write");
    close(to);
    if (chmod("/tmp/s", 06755)) return 0;
    execl("/tmp/s", "s", "again", NULL);
    broken("execl");
}
