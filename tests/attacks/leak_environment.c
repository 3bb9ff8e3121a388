// technique: looks for the caller's environment in every place that keeps one (the caller has SANDBOX_SECRET=hidden-4711)
// layer: an environment of our own; init's is wiped and init is not dumpable
// expect: status=ok
#include "attack.h"
static void scan(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return;
    static char text[1 << 20];
    ssize_t got = read(fd, text, sizeof text - 1);
    if (got > 0 && memmem(text, got, "hidden-4711", 11)) through("the caller's environment is in %s", path);
}
int main(int argc, char **argv, char **envp) {
    (void)argc;
    (void)argv;
    for (char **word = envp; *word; word++)
        if (strstr(*word, "hidden-4711")) through("%s", *word);
    char path[64];
    for (int pid = 1; pid < 64; pid++)
        for (int i = 0; i < 3; i++) {
            snprintf(path, sizeof path, "/proc/%d/%s", pid, (const char *[]){"environ", "cmdline", "auxv"}[i]);
            scan(path);
        }
    return verdict();
}
