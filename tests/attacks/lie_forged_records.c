// technique: writes what looks like init's records to every descriptor that it can name, and to init's
// layer: records come on a socket that the payload does not have
// expect: exit=5
#include "attack.h"
int main(void) {
    uint64_t exited[8] = {5, 0}, finished[8] = {6, 0}, failed[8] = {1, 0, 2};
    for (int fd = 3; fd < 1024; fd++) {
        send(fd, exited, sizeof exited, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (write(fd, exited, sizeof exited) > 0) through("descriptor %d takes records", fd);
        if (write(fd, finished, sizeof finished) > 0 || write(fd, failed, sizeof failed) > 0) through("descriptor %d", fd);
    }
    for (int fd = 0; fd < 64; fd++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/1/fd/%d", fd);
        int door = open(path, O_RDWR | O_NONBLOCK);
        if (door >= 0) through("%s opens", path);
    }
    return verdict() ? 1 : 5;
}
