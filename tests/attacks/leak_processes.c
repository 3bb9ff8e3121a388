// technique: looks for processes of others by signal 0, by /proc, by scheduler and priority calls
// layer: the PID namespace and a /proc of its own
// expect: status=ok
#include "attack.h"
#include <dirent.h>
int main(void) {
    int seen = 0;
    for (pid_t pid = 1; pid < 100000; pid++)
        if (kill(pid, 0) == 0 || errno == EPERM) seen++;
    if (seen > 3) through("%d processes can be signalled", seen);
    seen = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') seen++;
    if (seen > 3) through("%d processes are in /proc", seen);
    if (getppid() > 1) through("the parent is process %d", getppid());
    if (kill(-1, 0) == 0 && seen < 2) through("kill of all reaches somebody");
    return verdict();
}
