// technique: every process forks for ever
// layer: process limit, then the time limits; the whole tree dies at once
// run: --pids 64 --cpu-time 1s --wall-time 4s
// expect: status=cpu-time-limit|wall-time-limit
#include "attack.h"
int main(void) {
    for (;;) fork();
}
