// technique: reads one byte in every 2 MiB: the zero page costs nothing, its page table 4 KiB each
// layer: memory limit counts page tables
// run: --mem 64M --wall-time 20s --cpu-time 15s
// expect: status=memory-limit
#include "attack.h"
int main(void) {
    size_t length = 1ul << 40, step = 2ul << 20;
    char *memory = mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) broken("mmap");
    madvise(memory, length, MADV_NOHUGEPAGE);
    unsigned sum = 0;
    // 160 MiB of page tables.
    for (size_t page = 0; page < 40960; page++) sum += ((volatile char *)memory)[page * step];
    through("160 MiB of page tables under a limit of 64 MiB (%u)", sum);
    return verdict();
}
