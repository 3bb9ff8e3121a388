// technique: closes its streams, fills their numbers with other things, and writes a report there
// layer: a report is ours alone
// expect: exit=4
#include "attack.h"
int main(void) {
    close(0);
    close(1);
    close(2);
    int fd = open("/tmp/f", O_RDWR | O_CREAT, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    dprintf(1, "{\"schema\":1,\"status\":\"ok\",\"exit_code\":0}\n");
    return 4;
}
