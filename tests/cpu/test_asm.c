/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs the system tests of tests/cpu/asm on the software CPU. asm/lib.inc describes the protocol: loaded
 * at 7C00h, text to port E9h, result to port F4h, 16 MiB of RAM, local APICs and nothing else. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"
#include "vmm/base/fd.h"
#include "vmm/base/loop.h"
#include "vmm/base/thread.h"
#include "vmm/cpu/cpu.h"

#define RAM_SIZE  (16 * MIB)
#define LOAD_AT   0x7c00
#define PORT_TEXT 0xe9
#define PORT_EXIT 0xf4
#define TIMEOUT_S 30

enum outcome { RUNNING = -1, SHUTDOWN = 0x100 /* else the byte written to PORT_EXIT */ };

struct machine {
    struct mem *mem;
    struct cpu_set *set;
    struct loop *loop;
    unsigned cpus;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int outcome; /* under the mutex */
    struct buf text;
};

struct vcpu {
    struct machine *m;
    unsigned index;
    pthread_t thread;
};

static void finish(struct machine *m, int outcome)
{
    pthread_mutex_lock(&m->mutex);
    if (m->outcome == RUNNING)
        m->outcome = outcome;
    pthread_cond_signal(&m->cond);
    pthread_mutex_unlock(&m->mutex);
}

static bool running(struct machine *m)
{
    pthread_mutex_lock(&m->mutex);
    bool yes = m->outcome == RUNNING;
    pthread_mutex_unlock(&m->mutex);
    return yes;
}

static void stop_all(struct machine *m)
{
    for (unsigned n = 0; n < m->cpus; n++)
        cpu_kick(cpu_get(m->set, n));
}

static uint64_t pio_read(void *opaque, uint16_t port, unsigned size)
{
    (void)opaque;
    (void)port;
    return mask_bytes(size);
}

static void pio_write(void *opaque, uint16_t port, uint64_t value, unsigned size)
{
    struct machine *m = opaque;
    char c = (char)value;

    (void)size;
    if (port == PORT_TEXT) {
        pthread_mutex_lock(&m->mutex);
        if (m->text.len < 4096)
            buf_add(&m->text, &c, 1);
        pthread_mutex_unlock(&m->mutex);
    } else if (port == PORT_EXIT) {
        finish(m, (uint8_t)value);
        stop_all(m);
    }
}

static uint64_t mmio_read(void *opaque, uint64_t gpa, unsigned size)
{
    (void)opaque;
    (void)gpa;
    return mask_bytes(size);
}

static void mmio_write(void *opaque, uint64_t gpa, uint64_t value, unsigned size)
{
    (void)opaque;
    (void)gpa;
    (void)value;
    (void)size;
}

static const struct cpu_io_ops io_ops = {.pio_read = pio_read, .pio_write = pio_write,
                                         .mmio_read = mmio_read, .mmio_write = mmio_write};

static void *vcpu_main(void *arg)
{
    struct vcpu *v = arg;

    while (running(v->m)) {
        if (cpu_run(cpu_get(v->m->set, v->index)) == CPU_EXIT_SHUTDOWN) {
            finish(v->m, SHUTDOWN);
            stop_all(v->m);
        }
    }
    return NULL;
}

static void *loop_main(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void load(struct machine *m, const char *name)
{
    struct err e = ERR_INIT;
    struct x86_state *s = x_alloc(sizeof(*s));
    char exe[PATH_MAX] = "", path[PATH_MAX];
    size_t len = 0;

    assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
    *strrchr(exe, '/') = 0;
    assert_true(snprintf(path, sizeof(path), "%s/asm/%s.bin", exe, name) < (int)sizeof(path));
    char *image = fd_read_file(AT_FDCWD, path, MIB, &len, &e);
    if (!image)
        fail_msg("%s", e.msg);
    assert_true(mem_write(m->mem, LOAD_AT, image, len));
    x_free(image);
    cpu_get_state(cpu_get(m->set, 0), s);
    s->seg[X86_CS].sel = 0;
    s->seg[X86_CS].base = 0;
    s->rip = LOAD_AT;
    cpu_set_state(cpu_get(m->set, 0), s);
    x_free(s);
}

static void wait_end(struct machine *m)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TIMEOUT_S;
    pthread_mutex_lock(&m->mutex);
    while (m->outcome == RUNNING)
        if (pthread_cond_timedwait(&m->cond, &m->mutex, &until))
            break;
    pthread_mutex_unlock(&m->mutex);
}

static void run(const char *name, unsigned cpus, enum cpu_model model, int expected)
{
    struct err e = ERR_INIT;
    struct machine m = {.cpus = cpus, .outcome = RUNNING, .mutex = PTHREAD_MUTEX_INITIALIZER,
                        .cond = PTHREAD_COND_INITIALIZER};
    struct vcpu vcpus[2];
    pthread_t loop_thread;

    m.mem = mem_new(RAM_SIZE, &e);
    m.loop = loop_new(&e);
    assert_non_null(m.mem);
    assert_non_null(m.loop);
    struct cpu_set_cfg cfg = {.mem = m.mem, .clock = loop_clock(m.loop), .io = &io_ops,
                              .io_opaque = &m, .count = cpus, .model = model};
    m.set = cpu_set_new(&cfg, &e);
    if (!m.set)
        fail_msg("%s", e.msg);
    load(&m, name);

    assert_true(thread_start(&loop_thread, "loop", loop_main, m.loop, &e));
    for (unsigned n = 0; n < cpus; n++) {
        vcpus[n] = (struct vcpu){.m = &m, .index = n};
        assert_true(thread_start(&vcpus[n].thread, "vcpu", vcpu_main, &vcpus[n], &e));
    }
    wait_end(&m);
    int outcome = m.outcome;
    finish(&m, SHUTDOWN);
    stop_all(&m);
    for (unsigned n = 0; n < cpus; n++)
        pthread_join(vcpus[n].thread, NULL);
    loop_stop(m.loop);
    pthread_join(loop_thread, NULL);

    char *text = buf_steal(&m.text);
    if (outcome != expected) {
        struct x86_state *s = x_alloc(sizeof(*s));

        cpu_get_state(cpu_get(m.set, 0), s);
        fail_msg("%s: result %d, expected %d, stopped at %x:%llx: %s", name, outcome, expected,
                 s->seg[X86_CS].sel, (unsigned long long)s->rip, text ? text : "");
    }
    x_free(text);
    cpu_set_free(m.set);
    loop_free(m.loop);
    mem_free(m.mem);
}

#define ASM_TEST(name, cpus, model, expected)                                                      \
    static void test_##name##_##cpus(void **state)                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run(#name, cpus, model, expected);                                                         \
    }
#define ASM_TESTS(X)                                                                               \
    X(real, 1, CPU_X86_64_V2, 0)                                                                   \
    X(prot, 1, CPU_X86_64_V2, 0)                                                                   \
    X(v86, 1, CPU_X86_64_V2, 0)                                                                    \
    X(task, 1, CPU_X86_64_V2, 0)                                                                   \
    X(paging, 1, CPU_X86_64_V2, 0)                                                                 \
    X(long, 1, CPU_MAX, 0)                                                                         \
    X(long2, 1, CPU_MAX, 0)                                                                        \
    X(debug, 1, CPU_X86_64_V2, 0)                                                                  \
    X(triple, 1, CPU_X86_64_V2, SHUTDOWN)                                                          \
    X(apic, 1, CPU_X86_64_V2, 0)                                                                   \
    X(apic, 2, CPU_X86_64_V2, 0)

ASM_TESTS(ASM_TEST)

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ROW(name, cpus, model, expected) cmocka_unit_test(test_##name##_##cpus),
        ASM_TESTS(ROW)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
