// technique: a socket of every family and type but UNIX
// layer: system-call policy; an empty network namespace beneath it
// needs: notify
// expect: status=ok refused=socket
#include "attack.h"
int main(void) {
    int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_RDM, SOCK_PACKET};
    for (int family = 0; family < 50; family++) {
        if (family == AF_UNIX) continue;
        for (size_t type = 0; type < sizeof types / sizeof *types; type++)
            if (socket(family, types[type], 0) >= 0) through("socket of family %d, type %d", family, types[type]);
        int pair[2];
        if (socketpair(family, SOCK_STREAM, 0, pair) == 0) through("socketpair of family %d", family);
    }
    return verdict();
}
