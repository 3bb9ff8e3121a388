// technique: a fifo where a file is collected: opening it would wait for ever
// layer: the collector opens regular files only
// run: --out result
// takes: 3s
// expect: status=ok
#include "attack.h"
int main(void) {
    unlink("result");
    if (mkfifo("result", 0600)) broken("mkfifo");
    return 0;
}
