// technique: looks for bytes that somebody else left: new memory, the stack's far end, uninitialised files
// layer: exec and the kernel give zeros
// expect: status=ok
#include "attack.h"
int main(void) {
    size_t length = 8 << 20;
    char *memory = map(length, MAP_PRIVATE);
    for (size_t at = 0; at < length; at++)
        if (memory[at]) {
            through("new memory holds %d", memory[at]);
            break;
        }
    int fd = open("/tmp/f", O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, 1 << 20)) broken("/tmp/f");
    static char block[1 << 20];
    if (read(fd, block, sizeof block) != sizeof block) broken("read");
    for (size_t at = 0; at < sizeof block; at++)
        if (block[at]) {
            through("a new file holds %d", block[at]);
            break;
        }
    return verdict();
}
