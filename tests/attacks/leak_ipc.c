// technique: System V objects and message queues of others
// layer: the IPC namespace; system-call policy
// expect: status=ok
#include "attack.h"
int main(void) {
    const char *files[] = {"/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg"};
    for (int i = 0; i < 3; i++) {
        FILE *file = fopen(files[i], "r");
        char line[512];
        int lines = 0;
        while (file && fgets(line, sizeof line, file)) lines++;
        if (lines > 1) through("%s lists %d objects", files[i], lines - 1);
    }
    MUST_FAIL(open("/dev/mqueue", O_RDONLY));
    return verdict();
}
