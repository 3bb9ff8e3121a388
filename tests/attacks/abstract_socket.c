// Not an attack by itself: `abstract_socket listen|connect NAME`, for runs side by side.
#include "attack.h"
#include <sys/un.h>
int main(int argc, char **argv) {
    if (argc < 3) broken("arguments");
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path + 1, argv[2], sizeof name.sun_path - 2);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[2]);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0) {
        puts("refused");
        return 0;
    }
    if (!strcmp(argv[1], "listen")) {
        if (bind(fd, (struct sockaddr *)&name, length) || listen(fd, 8)) puts("refused");
        else puts("listening");
        fflush(stdout);
        sleep(3);
        return 0;
    }
    if (connect(fd, (struct sockaddr *)&name, length) == 0) through("connected to %s", argv[2]);
    puts("refused");
    return verdict();
}
