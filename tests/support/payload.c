// One program of many talents, run inside by the behaviour tests: payload TALENT [ARGUMENT]…
// Talents that end at a refusal print "COUNT ERRNO-NAME" and exit 0, so that the test judges.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *doing) {
    fprintf(stderr, "%s: %s\n", doing, strerror(errno));
    exit(3);
}

static double cpu_now(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void burn(clockid_t clock, double seconds) {
    double end = cpu_now(clock) + seconds;
    volatile unsigned long work = 0;
    while (cpu_now(clock) < end)
        for (int i = 0; i < 20000; i++) work += i;
}

static void *burn_thread(void *seconds) {
    burn(CLOCK_THREAD_CPUTIME_ID, *(double *)seconds);
    return NULL;
}

// Writes every page, slowly enough that a watcher of any kind gets a word in.
static void touch(char *memory, size_t length) {
    for (size_t at = 0; at < length; at += 4096) memory[at] = (char)(at >> 12) | 1;
}

static void allocate(const char *kind, size_t mib) {
    size_t length = mib << 20;
    char *memory = MAP_FAILED;
    if (!strcmp(kind, "anon")) {
        memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    } else if (!strcmp(kind, "shared")) {
        memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    } else if (!strncmp(kind, "/", 1)) {
        int fd = open(kind, O_RDWR | O_CREAT, 0600);
        if (fd < 0) die(kind);
        static char block[1 << 16];
        memset(block, 'x', sizeof block);
        for (size_t done = 0; done < length; done += sizeof block)
            if (write(fd, block, sizeof block) != sizeof block) die(kind);
        return;
    }
    if (memory == MAP_FAILED) die("mmap");
    touch(memory, length);
}

static void refused(long count) {
    printf("%ld %s\n", count, errno ? strerrorname_np(errno) : "0");
    exit(0);
}

static void *rest(void *unused) {
    for (;;) sleep(1000);
    return unused;
}

static int recurse(int kib) {
    volatile char frame[1024];
    frame[0] = (char)kib;
    frame[1023] = (char)kib;
    return kib <= 0 ? frame[0] : recurse(kib - 1) + frame[1023];
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    const char *talent = argv[1];
    const char *first = argc > 2 ? argv[2] : "";
    const char *second = argc > 3 ? argv[3] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);

    if (!strcmp(talent, "allocate")) { // KIND MIB
        allocate(first, strtoul(second, NULL, 0));
        puts("allocated");
        return 0;
    }
    if (!strcmp(talent, "allocate-in-children")) { // COUNT MIB: all at once, then all end
        int count = atoi(first), ready[2];
        if (pipe(ready)) die("pipe");
        for (int i = 0; i < count; i++) {
            pid_t child = fork();
            if (child < 0) die("fork");
            if (child == 0) {
                allocate("anon", strtoul(second, NULL, 0));
                if (write(ready[1], "x", 1) != 1) _exit(1);
                sleep(20);
                _exit(0);
            }
        }
        char byte;
        for (int i = 0; i < count; i++)
            if (read(ready[0], &byte, 1) != 1) die("read");
        puts("allocated");
        return 0;
    }
    if (!strcmp(talent, "allocate-in-a-child")) { // MIB: whatever becomes of it, exits 0
        pid_t child = fork();
        if (child == 0) {
            allocate("anon", strtoul(first, NULL, 0));
            _exit(0);
        }
        waitpid(child, NULL, 0);
        return 0;
    }
    if (!strcmp(talent, "burn")) { // SECONDS
        burn(CLOCK_PROCESS_CPUTIME_ID, atof(first));
        return 0;
    }
    if (!strcmp(talent, "burn-threads")) { // COUNT SECONDS, each
        int count = atoi(first);
        double seconds = atof(second);
        pthread_t threads[64];
        for (int i = 0; i < count; i++)
            if (pthread_create(&threads[i], NULL, burn_thread, &seconds)) die("pthread_create");
        for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
        return 0;
    }
    if (!strcmp(talent, "burn-children")) { // COUNT SECONDS, each, together
        int count = atoi(first);
        for (int i = 0; i < count; i++)
            if (fork() == 0) {
                burn(CLOCK_PROCESS_CPUTIME_ID, atof(second));
                _exit(0);
            }
        while (wait(NULL) > 0) {
        }
        return 0;
    }
    if (!strcmp(talent, "burn-orphan")) { // SECONDS: in a grandchild that nobody here waits for
        int done[2];
        if (pipe(done)) die("pipe");
        if (fork() == 0) {
            if (fork() == 0) {
                close(done[0]);
                burn(CLOCK_PROCESS_CPUTIME_ID, atof(first));
                _exit(0);
            }
            _exit(0);
        }
        wait(NULL);
        close(done[1]);
        char byte;
        while (read(done[0], &byte, 1) > 0) {
        }
        return 0;
    }
    if (!strcmp(talent, "stop")) {
        raise(SIGSTOP);
        return 0;
    }
    if (!strcmp(talent, "raise")) { // SIGNAL
        signal(atoi(first), SIG_DFL);
        raise(atoi(first));
        return 0;
    }
    if (!strcmp(talent, "exit")) return atoi(first); // CODE
    if (!strcmp(talent, "fork")) { // until refused
        long count = 0;
        for (pid_t child; (child = fork()) >= 0; count++) {
            if (child == 0) rest(NULL);
            if (count > 5000) break;
        }
        refused(count);
    }
    if (!strcmp(talent, "threads")) { // until refused
        long count = 0;
        pthread_t thread;
        errno = 0;
        while (count <= 5000 && !(errno = pthread_create(&thread, NULL, rest, NULL))) count++;
        refused(count);
    }
    if (!strcmp(talent, "bomb")) { // every process forks for ever
        for (;;) fork();
    }
    if (!strcmp(talent, "fill")) { // FILE: until refused, then frees it
        int fd = open(first, O_WRONLY | O_CREAT, 0600);
        if (fd < 0) refused(0);
        static char block[4096];
        long count = 0;
        while (count < 262144 && write(fd, block, sizeof block) == sizeof block) count++;
        refused(count);
    }
    if (!strcmp(talent, "create")) { // DIRECTORY: files until refused
        char name[4096];
        for (long count = 0;; count++) {
            snprintf(name, sizeof name, "%s/file-%ld", first, count);
            int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
            if (fd < 0 || count > 1000000) refused(count);
            close(fd);
        }
    }
    if (!strcmp(talent, "open")) { // until refused
        for (long count = 0;; count++)
            if (open("/dev/null", O_RDONLY) < 0 || count > 2000000) refused(count);
    }
    if (!strcmp(talent, "recurse")) return recurse(atoi(first)) == 12345; // KIB
    if (!strcmp(talent, "grow")) { // FILE BYTES [ignore]
        if (argc > 4) signal(SIGXFSZ, SIG_IGN);
        int fd = open(first, O_WRONLY | O_CREAT, 0600);
        if (fd < 0) die(first);
        errno = 0;
        ssize_t put = pwrite(fd, "x", 1, strtol(second, NULL, 0));
        refused(put);
    }
    if (!strcmp(talent, "nonblock")) { // on 0, 1 and 2
        for (int fd = 0; fd < 3; fd++)
            if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK | O_APPEND)) die("fcntl");
        return 0;
    }
    if (!strcmp(talent, "reopen")) { // FD: with the right to write
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%s", first);
        int fd = open(path, O_WRONLY);
        if (fd < 0) refused(-1);
        errno = 0;
        ssize_t put = write(fd, "broken in", 9);
        refused(put);
    }
    if (!strcmp(talent, "descriptors")) { // those open above 2
        long count = 0;
        for (int fd = 3; fd < 65536; fd++)
            if (fcntl(fd, F_GETFD) >= 0) count++;
        printf("%ld\n", count);
        return 0;
    }
    if (!strcmp(talent, "socket")) {
        errno = 0;
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        refused(fd < 0 ? -1 : 0);
    }
    if (!strcmp(talent, "ordinary")) { // calls that any program may make: names those that are refused
        signal(SIGALRM, (void (*)(int))getpid);
        alarm(1);
        if (pause() != -1 || errno != EINTR) puts("pause");
        int fd = open("/tmp/ordinary", O_RDWR | O_CREAT, 0600);
        if (chmod("/tmp/ordinary", 0640) || link("/tmp/ordinary", "/tmp/second")) puts("chmod or link");
        if (symlink("ordinary", "/tmp/link") || utimes("/tmp/ordinary", NULL)) puts("symlink or utimes");
        if (mkfifo("/tmp/fifo", 0600)) puts("mkfifo");
        if (truncate("/tmp/ordinary", 4) || fsync(fd) || flock(fd, LOCK_SH)) puts("truncate, fsync or flock");
        if (getgroups(0, NULL) < 0) puts("getgroups");
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) || setrlimit(RLIMIT_NOFILE, &limit)) puts("setrlimit");
        return 0;
    }
    if (!strcmp(talent, "argument")) { // WORD: how long
        printf("%zu\n", strlen(first));
        return 0;
    }
    if (!strcmp(talent, "nice")) {
        char line[1024], *end;
        FILE *stat = fopen("/proc/self/stat", "r");
        if (!stat || !fgets(line, sizeof line, stat) || !(end = strrchr(line, ')'))) die("/proc/self/stat");
        long nice;
        // Field 19; the name, which may hold anything, is field 2.
        if (sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %ld", &nice) != 1) die("sscanf");
        printf("%ld\n", nice);
        return 0;
    }
    if (!strcmp(talent, "rlimit")) { // RESOURCE: soft and hard
        struct rlimit limit;
        if (getrlimit(atoi(first), &limit)) die("getrlimit");
        printf("%llu %llu\n", (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
        return 0;
    }
    fprintf(stderr, "no such talent: %s\n", talent);
    return 2;
}
