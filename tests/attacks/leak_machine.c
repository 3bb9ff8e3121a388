// technique: names of the machine and of the groups that the run is in
// layer: UTS and cgroup namespaces
// expect: status=ok
#include "attack.h"
#include <sys/utsname.h>
int main(void) {
    struct utsname names;
    if (uname(&names)) broken("uname");
    if (strcmp(names.nodename, "sandbox")) through("the host is called %s", names.nodename);
    FILE *groups = fopen("/proc/self/cgroup", "r");
    char line[4096];
    while (groups && fgets(line, sizeof line, groups)) {
        char *path = strrchr(line, ':');
        if (path && strcmp(path, ":/\n")) through("the group is shown: %s", line);
    }
    if (access("/etc/machine-id", F_OK) == 0) through("/etc/machine-id");
    if (access("/etc/hostname", F_OK) == 0) through("/etc/hostname");
    return verdict();
}
