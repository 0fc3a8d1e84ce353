/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The init process of the guests that tests/perf boots: loads the modules that /modules/order names, does what the
 * kernel command line's perf=WORD[,WORD...] says, prints "RESULT NAME VALUE" for each and powers off.
 *   seq      MiB/s of 1 MiB O_DIRECT reads over the whole disk       seqbuf   the same through the page cache
 *   rand     O_DIRECT reads of 4 KiB a second at random places       rand4    the same by four processes
 *   up:PORT  MiB/s over TCP to 10.0.2.2:PORT                         down:PORT  from there
 *   rtt:PORT round trips of a byte a second
 *   spin:N   seconds for N processes of a fixed amount of work
 *   wake:N   worst lateness in ms of a 10 ms timer while N such processes run
 *   stay     does nothing until the machine is ended */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <net/if.h>
#include <net/route.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB     (1u << 20)
#define SECONDS 2.0

static char buf[MIB] __attribute__((aligned(4096)));

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void result(const char *name, double value)
{
    printf("RESULT %s %.3f\n", name, value);
    fflush(stdout);
}

static void fail(const char *what)
{
    printf("FAIL %s: %s\n", what, strerror(errno));
    fflush(stdout);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- disk ---- */

static int open_disk(int flags, uint64_t *size)
{
    int fd = open("/dev/vda", O_RDONLY | flags);

    if (fd < 0 || ioctl(fd, BLKGETSIZE64, size) < 0) {
        fail("/dev/vda");
        return -1;
    }
    return fd;
}

static void sequential(const char *name, int flags)
{
    uint64_t size, total = 0;
    int fd = open_disk(flags, &size);
    double start = now(), end;

    if (fd < 0)
        return;
    do {
        ioctl(fd, BLKFLSBUF, 0);
        lseek(fd, 0, SEEK_SET);
        for (ssize_t n; (n = read(fd, buf, sizeof(buf))) > 0;)
            total += (uint64_t)n;
        end = now();
    } while (end - start < SECONDS);
    result(name, (double)total / MIB / (end - start));
    close(fd);
}

static uint64_t random_reads(unsigned seed)
{
    uint64_t size, count = 0, state = 0x9e3779b97f4a7c15u + seed;
    int fd = open_disk(O_DIRECT, &size);
    double start = now();

    while (fd >= 0 && now() - start < SECONDS) {
        for (int i = 0; i < 32; i++)
            if (pread(fd, buf, 4096, (off_t)(next_random(&state) % (size / 4096) * 4096)) != 4096) {
                fail("read");
                return 0;
            }
        count += 32;
    }
    close(fd);
    return count;
}

static void random4(const char *name)
{
    uint64_t sum = 0, n;
    int p[2];

    if (pipe(p) < 0)
        return;
    for (unsigned i = 0; i < 4; i++)
        if (fork() == 0) {
            n = random_reads(i);
            _exit(write(p[1], &n, sizeof(n)) != sizeof(n));
        }
    for (unsigned i = 0; i < 4 && read(p[0], &n, sizeof(n)) == sizeof(n); i++)
        sum += n;
    while (wait(NULL) > 0) {
    }
    result(name, (double)sum / SECONDS);
}

/* ---- network ---- */

static struct sockaddr_in ipv4(const char *text, unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    inet_pton(AF_INET, text, &a.sin_addr);
    return a;
}

static int interface_up(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in own = ipv4("10.0.2.15", 0), mask = ipv4("255.255.255.0", 0), gw = ipv4("10.0.2.2", 0);
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
    struct ifreq r = {.ifr_name = "eth0"};
    int ok;

    memcpy(&r.ifr_addr, &own, sizeof(own));
    ok = ioctl(fd, SIOCSIFADDR, &r) == 0;
    memcpy(&r.ifr_netmask, &mask, sizeof(mask));
    ok = ok && ioctl(fd, SIOCSIFNETMASK, &r) == 0;
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    ok = ok && ioctl(fd, SIOCSIFFLAGS, &r) == 0;
    memcpy(&route.rt_gateway, &gw, sizeof(gw));
    struct sockaddr_in any = {.sin_family = AF_INET};
    memcpy(&route.rt_dst, &any, sizeof(any));
    memcpy(&route.rt_genmask, &any, sizeof(any));
    ok = ok && (ioctl(fd, SIOCADDRT, &route) == 0 || errno == EEXIST);
    close(fd);
    return ok;
}

static void network(const char *name, unsigned port)
{
    struct sockaddr_in to = ipv4("10.0.2.2", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    uint64_t total = 0;

    if (!interface_up() || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        fail(name);
        return;
    }
    double start = now(), end = start;
    if (*name == 'u') {
        for (ssize_t n; end - start < SECONDS && (n = write(fd, buf, sizeof(buf) / 8)) > 0; end = now())
            total += (uint64_t)n;
        shutdown(fd, SHUT_WR);
        if (read(fd, buf, 1) < 0) /* the other end closes when it has all */
            fail(name);
        end = now();
    } else if (*name == 'd') {
        for (ssize_t n; (n = read(fd, buf, sizeof(buf) / 8)) > 0;)
            total += (uint64_t)n;
        end = now();
    } else {
        for (; end - start < SECONDS && write(fd, buf, 1) == 1 && read(fd, buf, 1) == 1; end = now())
            total += MIB;
    }
    close(fd);
    result(name, (double)total / MIB / (end - start));
}

/* ---- processors ---- */

static void work(void)
{
    uint64_t state = 88172645463325252u;

    for (unsigned i = 0; i < 1000u * 1000 * 1000; i++)
        next_random(&state);
    __asm__ volatile("" : : "r"(state));
}

static void start_workers(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (fork() == 0) {
            work();
            _exit(0);
        }
}

static void spin(unsigned n)
{
    char name[24];
    double start = now();

    start_workers(n);
    while (wait(NULL) > 0) {
    }
    snprintf(name, sizeof(name), "spin%u", n);
    result(name, now() - start);
}

static void wake(unsigned n)
{
    double worst = 0;

    start_workers(n);
    for (int left = (int)n; left > 0;) {
        double start = now();

        usleep(10000);
        double late = (now() - start) * 1e3 - 10;
        worst = late > worst ? late : worst;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            left--;
    }
    result("wake", worst);
}

/* ---- the machine ---- */

static void load_modules(void)
{
    FILE *f = fopen("/modules/order", "r");
    char name[64], path[96];

    while (f && fscanf(f, "%63s", name) == 1) {
        snprintf(path, sizeof(path), "/modules/%s", name);
        int fd = open(path, O_RDONLY);
        if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
            fail(name);
        close(fd);
    }
    if (f)
        fclose(f);
}

static void do_word(const char *word)
{
    const char *colon = strchr(word, ':');
    unsigned arg = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
    char name[16];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, ":"), word);
    if (!strcmp(name, "seq"))
        sequential(name, O_DIRECT);
    else if (!strcmp(name, "seqbuf"))
        sequential(name, 0);
    else if (!strcmp(name, "rand"))
        result(name, (double)random_reads(0) / SECONDS);
    else if (!strcmp(name, "rand4"))
        random4(name);
    else if (!strcmp(name, "up") || !strcmp(name, "down") || !strcmp(name, "rtt"))
        network(name, arg);
    else if (!strcmp(name, "spin"))
        spin(arg);
    else if (!strcmp(name, "wake"))
        wake(arg);
    else if (!strcmp(name, "stay")) {
        puts("GUEST-STAYS");
        fflush(stdout);
        pause();
    }
}

int main(void)
{
    char line[2048] = "", *save = NULL;

    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    mount("none", "/proc", "proc", 0, NULL);
    mount("none", "/dev", "devtmpfs", 0, NULL);
    puts("GUEST-UP");
    fflush(stdout);
    load_modules();
    FILE *f = fopen("/proc/cmdline", "r");
    char *words = f && fgets(line, sizeof(line), f) ? strstr(line, "perf=") : NULL;
    if (words) {
        words[strcspn(words, " \n")] = '\0';
        for (char *w = strtok_r(words + 5, ",", &save); w; w = strtok_r(NULL, ",", &save))
            do_word(w);
    }
    puts("GUEST-DONE");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 0;
}
