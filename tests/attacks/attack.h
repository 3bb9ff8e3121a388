// What the attack programs share. A program ends with `return verdict();`: 0 when every attempt was stopped.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int throughs;

// An attempt that succeeded.
__attribute__((format(printf, 1, 2), unused)) static void through(const char *format, ...) {
    va_list words;
    va_start(words, format);
    fputs("GOT THROUGH: ", stderr);
    vfprintf(stderr, format, words);
    fputc('\n', stderr);
    va_end(words);
    throughs++;
}

__attribute__((unused)) static int verdict(void) {
    return throughs ? 1 : 0;
}

// The call must fail, whatever its errno.
#define MUST_FAIL(call)                          \
    do {                                         \
        if ((long)(call) != -1) through("%s", #call); \
    } while (0)

// The program itself does not work here: no verdict.
__attribute__((unused, noreturn)) static void broken(const char *doing) {
    fprintf(stderr, "BROKEN: %s: %s\n", doing, strerror(errno));
    exit(99);
}

__attribute__((unused)) static void *map(size_t length, int flags) {
    void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) broken("mmap");
    return memory;
}

__attribute__((unused)) static void touch(char *memory, size_t length) {
    for (size_t at = 0; at < length; at += 4096) ((volatile char *)memory)[at] = 1;
}

__attribute__((unused)) static double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

__attribute__((unused, noreturn)) static void rest(void) {
    for (;;) sleep(1000);
}

// Burns CPU time of this thread.
__attribute__((unused)) static void burn(double seconds) {
    double end = now(CLOCK_THREAD_CPUTIME_ID) + seconds;
    volatile unsigned long work = 0;
    while (now(CLOCK_THREAD_CPUTIME_ID) < end)
        for (int i = 0; i < 10000; i++) work += i;
}
