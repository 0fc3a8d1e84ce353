/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/asmrun.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/test.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"
#include "vmm/base/fd.h"
#include "vmm/base/loop.h"
#include "vmm/base/thread.h"
#include "vmm/dev/dev.h"

#define RAM_SIZE  (16 * MIB)
#define LOAD_AT   0x7c00
#define PORT_TEXT 0xe9
#define PORT_EXIT 0xf4
#define CPUS_MAX  2

#define BOARD_DEVICES 2

struct machine {
    const struct accel_ops *ops;
    struct accel *accel;
    struct mem *mem;
    struct bus *bus;
    struct loop *loop;
    struct dev_env env;
    struct dev *board[BOARD_DEVICES]; /* NULL without one */
    unsigned cpus;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool ended; /* under the mutex, with the result */
    struct asm_result *out;
    size_t len; /* of the text */
};

struct vcpu {
    struct machine *m;
    unsigned index;
    pthread_t thread;
};

static void finish(struct machine *m, int outcome, const char *text)
{
    pthread_mutex_lock(&m->mutex);
    if (!m->ended) {
        m->ended = true;
        m->out->outcome = outcome;
        if (text)
            str_copy(m->out->text, sizeof(m->out->text), text);
    }
    pthread_cond_signal(&m->cond);
    pthread_mutex_unlock(&m->mutex);
    for (unsigned n = 0; n < m->cpus; n++)
        m->ops->kick(m->accel, n);
}

static bool running(struct machine *m)
{
    pthread_mutex_lock(&m->mutex);
    bool yes = !m->ended;
    pthread_mutex_unlock(&m->mutex);
    return yes;
}

static void write_text(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct machine *m = opaque;

    (void)offset;
    (void)size;
    pthread_mutex_lock(&m->mutex);
    if (m->len + 1 < sizeof(m->out->text) && !m->ended)
        m->out->text[m->len++] = (char)value;
    pthread_mutex_unlock(&m->mutex);
}

static void write_exit(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    (void)offset;
    (void)size;
    finish(opaque, (uint8_t)value, NULL);
}

static const struct pio_ops text_ops = {.write = write_text, .max_size = 1};
static const struct pio_ops exit_ops = {.write = write_exit, .max_size = 1};

static void *vcpu_main(void *arg)
{
    struct vcpu *v = arg;
    struct err e = ERR_INIT;

    if (!v->m->ops->vcpu_init(v->m->accel, v->index, &e))
        finish(v->m, ASM_ERROR, e.msg);
    while (running(v->m)) {
        switch (v->m->ops->vcpu_run(v->m->accel, v->index, &e)) {
        case ACCEL_EXIT_KICK: break;
        case ACCEL_EXIT_SHUTDOWN: finish(v->m, ASM_SHUTDOWN, NULL); break;
        case ACCEL_EXIT_ERROR: finish(v->m, ASM_ERROR, e.msg); break;
        }
    }
    return NULL;
}

static void extint(void *opaque, int level)
{
    struct machine *m = opaque;

    m->ops->extint(m->accel, level);
}

/* Before the accelerator knows the vCPUs: devices lower their lines when they are realized. */
static void no_extint(void *opaque, int level)
{
    (void)opaque;
    (void)level;
}

static const struct bus_host_ops board_ops = {.extint = extint}, quiet_ops = {.extint = no_extint};

static void add_board(struct machine *m)
{
    static const char *const names[BOARD_DEVICES] = {"pic", "ferr"};
    struct err e = ERR_INIT;

    m->env = (struct dev_env){.bus = m->bus, .mem = m->mem, .clock = loop_clock(m->loop), .loop = m->loop};
    bus_set_host(m->bus, &quiet_ops, m);
    for (unsigned n = 0; n < BOARD_DEVICES; n++) {
        m->board[n] = dev_new(&m->env, names[n], names[n]);
        assert_ok(dev_realize(m->board[n], &e));
    }
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
    for (unsigned n = 0; n < m->cpus; n++) {
        x86_state_reset(s, n, n == 0, false);
        if (n == 0) {
            s->seg[X86_CS].sel = 0;
            s->seg[X86_CS].base = 0;
            s->rip = LOAD_AT;
        }
        assert_ok(m->ops->set_state(m->accel, n, s, &e));
    }
    x_free(s);
}

static void wait_end(struct machine *m, unsigned seconds)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&m->mutex);
    while (!m->ended)
        if (pthread_cond_timedwait(&m->cond, &m->mutex, &until))
            break;
    pthread_mutex_unlock(&m->mutex);
    finish(m, ASM_TIMEOUT, NULL);
}

static void look_back(struct machine *m)
{
    struct err e = ERR_INIT;
    struct x86_state *s = x_alloc(sizeof(*s));
    struct accel_vcpu_stats st;

    assert_ok(m->ops->get_state(m->accel, 0, s, &e));
    m->out->cs = s->seg[X86_CS].sel;
    m->out->rip = s->rip;
    for (unsigned n = 0; n < m->cpus; n++) {
        m->ops->stats(m->accel, n, &st);
        m->out->fallback += st.fallback;
    }
    x_free(s);
}

void asm_run(const struct asm_host *host, const char *name, unsigned cpus, enum cpu_model model,
             struct asm_result *out)
{
    struct err e = ERR_INIT;
    struct machine m = {.ops = host->ops, .cpus = cpus, .out = out, .mutex = PTHREAD_MUTEX_INITIALIZER,
                        .cond = PTHREAD_COND_INITIALIZER};
    struct vcpu vcpus[CPUS_MAX];
    pthread_t loop_thread;

    memset(out, 0, sizeof(*out));
    m.mem = mem_new(RAM_SIZE, &e);
    m.loop = loop_new(&e);
    assert_non_null(m.mem);
    assert_non_null(m.loop);
    m.bus = bus_new(m.mem);
    bus_add_pio(m.bus, "text", PORT_TEXT, 1, &text_ops, &m);
    bus_add_pio(m.bus, "exit", PORT_EXIT, 1, &exit_ops, &m);
    if (host->board)
        add_board(&m);
    struct accel_cfg cfg = {.bus = m.bus, .clock = loop_clock(m.loop), .cpus = cpus,
                            .model = model, .kvm_fd = host->kvm_fd};
    m.accel = m.ops->create(&cfg, &e);
    if (!m.accel)
        fail_msg("%s", e.msg);
    bus_set_host(m.bus, &board_ops, &m);
    load(&m, name);

    assert_ok(thread_start(&loop_thread, "loop", loop_main, m.loop, &e));
    for (unsigned n = 0; n < cpus; n++) {
        vcpus[n] = (struct vcpu){.m = &m, .index = n};
        assert_ok(thread_start(&vcpus[n].thread, "vcpu", vcpu_main, &vcpus[n], &e));
    }
    wait_end(&m, host->timeout);
    for (unsigned n = 0; n < cpus; n++)
        pthread_join(vcpus[n].thread, NULL);
    loop_stop(m.loop);
    pthread_join(loop_thread, NULL);
    look_back(&m);
    for (unsigned n = 0; n < BOARD_DEVICES && m.board[n]; n++)
        dev_free(m.board[n]);
    m.ops->destroy(m.accel);
    bus_free(m.bus);
    loop_free(m.loop);
    mem_free(m.mem);
}
