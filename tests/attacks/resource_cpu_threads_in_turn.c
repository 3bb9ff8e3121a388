// technique: threads that live 5 ms each, so that no look meets the same one twice
// layer: CPU time of the tree
// run: --cpu-time 500ms --wall-time 8s
// expect: status=cpu-time-limit
#include "attack.h"
static void *work(void *unused) {
    burn(0.005);
    return unused;
}
int main(void) {
    for (;;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL)) broken("pthread_create");
        pthread_join(thread, NULL);
    }
}
