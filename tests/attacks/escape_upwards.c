// technique: goes up from every directory that it has, by every door that /proc knows
// layer: pivot_root and the detached old root
// expect: status=ok
#include "attack.h"
#include <dirent.h>
static void look(const char *how) {
    struct stat here, root;
    if (stat(".", &here) || stat("/", &root)) return;
    if (here.st_ino != root.st_ino || here.st_dev != root.st_dev) through("%s leads elsewhere than to /", how);
}
int main(void) {
    for (int i = 0; i < 200; i++)
        if (chdir("..")) break;
    look("going up");
    const char *doors[] = {"/proc/self/root", "/proc/self/task/self/root", "/proc/thread-self/root", "/proc/self/root/..",
                           "/proc/1/root", "/proc/1/cwd", "/proc/1/task/1/root"};
    for (size_t i = 0; i < sizeof doors / sizeof *doors; i++)
        if (chdir(doors[i]) == 0) look(doors[i]);
    const char *hosts[] = {"/root", "/home", "/boot", "/mnt", "/media", "/srv", "/var/log", "/run/systemd", "/lost+found",
                           "/var/run/docker.sock", "/etc/shadow", "/etc/ssh", "/etc/machine-id", "/etc/fstab", "/old", "/.old_root"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        DIR *dir = opendir(hosts[i]);
        int entries = 0;
        for (struct dirent *entry; dir && (entry = readdir(dir));)
            if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) entries++;
        if (entries) through("%s shows %d entries", hosts[i], entries);
        if (!dir && access(hosts[i], R_OK) == 0) through("%s is readable", hosts[i]);
    }
    return verdict();
}
