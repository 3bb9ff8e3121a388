// technique: traces a child of its own, to change the system calls of a program that passed the filter
// layer: system-call policy
// needs: notify
// expect: status=ok refused=ptrace
#include "attack.h"
#include <sys/ptrace.h>
int main(void) {
    pid_t child = fork();
    if (child == 0) _exit(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 ? 1 : 0);
    int status;
    waitpid(child, &status, 0);
    if (status != 0) through("PTRACE_TRACEME, wait status %#x", status);
    return verdict();
}
