// technique: executes itself again and again
// layer: CPU time of the tree
// run: --cpu-time 500ms --wall-time 8s
// expect: status=cpu-time-limit
#include "attack.h"
int main(int argc, char **argv) {
    (void)argc;
    burn(0.002);
    execv("/proc/self/exe", argv);
    execv(argv[0], argv);
    broken("execv");
}
