/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary stream has a writer thread, because standard output is shared with other programs and
 * must not be made non-blocking, and a blocked write must stop neither the loop nor a vCPU. Clients are
 * sockets of ours: non-blocking, served by the loop.
 *
 * Everything is under the machine lock but struct primary, which has its own. */
#include "vmm/chr/chr.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/thread.h"

#define CLIENTS_MAX   16
#define CLIENT_QUEUE  (CHR_SCROLLBACK + 256 * KIB) /* what a client may lag behind */
#define INPUT_QUEUE   4096
#define PRIMARY_HIGH  (64 * KIB)  /* the guest is asked to wait */
#define PRIMARY_LOW   (16 * KIB)  /* and may go on */
#define PRIMARY_MAX   (128 * KIB) /* beyond that bytes are lost */
#define BATCH_US      500         /* wait for more bytes before writing few */
#define DRAIN_S       3           /* at the end, for a reader that is slow */

struct client {
    struct chr *chr;
    int fd; /* -1: free slot */
    struct loop_fd *watch;
    struct buf out;
};

struct primary {
    int in, out; /* -1: none */
    struct loop_fd *watch;
    bool in_is_file; /* cannot be polled: read when the guest wants bytes */

    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t more, less;
    struct buf queue;
    bool writing, closing, broken;
    bool lagging; /* the device has been told to wait */
};

struct chr {
    struct loop *loop;
    size_t (*rx)(void *opaque, const uint8_t *p, size_t n);
    void *rx_opaque;
    void (*tx_ready)(void *opaque);
    void *tx_opaque;

    uint8_t *history; /* ring of CHR_SCROLLBACK bytes */
    uint64_t total;   /* bytes ever written by the guest */

    struct primary primary;
    struct client clients[CLIENTS_MAX];
    int log_fd;
    uint64_t log_len, log_max;

    uint8_t input[INPUT_QUEUE]; /* for the guest, not yet taken */
    size_t input_len;

    int posted; /* callbacks on their way (atomic): the memory stays until they have run */
    bool clients_posted, dead;
};

static void release(struct chr *c)
{
    if (__atomic_sub_fetch(&c->posted, 1, __ATOMIC_SEQ_CST) == 0 && c->dead)
        x_free(c);
}

static void post(struct chr *c, loop_post_fn *fn)
{
    if (!c->loop)
        return;
    __atomic_add_fetch(&c->posted, 1, __ATOMIC_SEQ_CST);
    loop_post(c->loop, fn, c);
}

struct chr *chr_new(struct loop *loop)
{
    struct chr *c = X_NEW(struct chr);

    c->loop = loop;
    c->history = x_alloc(CHR_SCROLLBACK);
    c->log_fd = -1;
    c->primary.in = c->primary.out = -1;
    pthread_mutex_init(&c->primary.mutex, NULL);
    pthread_cond_init(&c->primary.more, NULL);
    pthread_cond_init(&c->primary.less, NULL);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        c->clients[i].fd = -1;
    return c;
}

/* ---- bytes for the guest ---- */

static void watch_inputs(struct chr *c);

static void give_input(struct chr *c)
{
    size_t took = 0;

    if (c->rx && c->input_len)
        took = c->rx(c->rx_opaque, c->input, c->input_len);
    c->input_len -= took;
    memmove(c->input, c->input + took, c->input_len);
}

/* Reads what fits; false at end of file. */
static bool take_input(struct chr *c, int fd)
{
    size_t room = INPUT_QUEUE - c->input_len;
    ssize_t n;

    if (!room)
        return true;
    n = read(fd, c->input + c->input_len, room);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    c->input_len += (size_t)n;
    give_input(c);
    return n > 0;
}

static void end_primary_input(struct chr *c)
{
    struct primary *p = &c->primary;

    if (p->watch)
        loop_unwatch(p->watch);
    p->watch = NULL;
    p->in_is_file = false;
    if (p->in != p->out)
        fd_close(&p->in);
    p->in = -1;
}

static void primary_readable(void *opaque, unsigned events)
{
    struct chr *c = opaque;

    (void)events;
    if (!take_input(c, c->primary.in))
        end_primary_input(c);
    watch_inputs(c);
}

static void read_file(void *opaque)
{
    struct chr *c = opaque;

    if (!c->dead) {
        while (c->primary.in_is_file && c->input_len < INPUT_QUEUE / 2) {
            if (!take_input(c, c->primary.in))
                end_primary_input(c);
            if (c->input_len)
                break;
        }
        watch_inputs(c);
    }
    release(c);
}

static void apply_watches(void *opaque)
{
    struct chr *c = opaque;

    if (!c->dead)
        watch_inputs(c);
    release(c);
}

void chr_set_device(struct chr *c, size_t (*rx)(void *opaque, const uint8_t *p, size_t n), void *opaque)
{
    c->rx = rx;
    c->rx_opaque = opaque;
    give_input(c);
}

void chr_rx_ready(struct chr *c)
{
    bool full = c->input_len == INPUT_QUEUE;

    give_input(c);
    if (c->primary.in_is_file)
        post(c, read_file);
    else if (full && c->input_len < INPUT_QUEUE)
        post(c, apply_watches); /* this may be a vCPU's thread */
}

/* ---- primary stream ---- */

static void tell_device(void *opaque)
{
    struct chr *c = opaque;

    if (!c->dead && c->tx_ready)
        c->tx_ready(c->tx_opaque);
    release(c);
}

/* Called with the mutex held. */
static void no_longer_lagging(struct chr *c)
{
    if (!c->primary.lagging)
        return;
    c->primary.lagging = false;
    post(c, tell_device);
}

static void *primary_main(void *arg)
{
    struct chr *c = arg;
    struct primary *p = &c->primary;

    pthread_mutex_lock(&p->mutex);
    for (;;) {
        while (!p->queue.len && !p->closing)
            pthread_cond_wait(&p->more, &p->mutex);
        if (!p->queue.len)
            break;
        if (p->queue.len < 256 && !p->closing) { /* bytes come one by one: collect some */
            pthread_mutex_unlock(&p->mutex);
            nanosleep(&(struct timespec){.tv_nsec = BATCH_US * 1000}, NULL);
            pthread_mutex_lock(&p->mutex);
        }
        struct buf batch = p->queue;
        p->queue = (struct buf)BUF_INIT;
        p->writing = true;
        pthread_mutex_unlock(&p->mutex);
        bool ok = fd_write_all(p->out, batch.data, batch.len);
        buf_free(&batch);
        pthread_mutex_lock(&p->mutex);
        p->writing = false;
        if (!ok) { /* nobody reads any more: the guest goes on without */
            p->broken = true;
            buf_clear(&p->queue);
        }
        if (p->queue.len <= PRIMARY_LOW)
            no_longer_lagging(c);
        pthread_cond_signal(&p->less);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

void chr_set_primary(struct chr *c, int in, int out)
{
    struct primary *p = &c->primary;
    struct err e = ERR_INIT;

    p->in = in;
    p->out = out;
    if (out >= 0) {
        p->started = thread_start(&p->thread, "console", primary_main, c, &e);
        if (!p->started)
            log_error("console", "%s", e.msg);
    }
    if (in >= 0 && c->loop) {
        p->watch = loop_watch(c->loop, in, LOOP_READ, primary_readable, c);
        p->in_is_file = !p->watch;
        if (p->in_is_file)
            post(c, read_file);
    }
}

/* False when the device shall wait. */
static bool primary_write(struct chr *c, const uint8_t *bytes, size_t n)
{
    struct primary *p = &c->primary;
    bool ok;

    if (!p->started)
        return true;
    pthread_mutex_lock(&p->mutex);
    if (!p->broken) {
        size_t room = PRIMARY_MAX - MIN(p->queue.len, PRIMARY_MAX);
        bool idle = p->queue.len == 0 && !p->writing;
        buf_add(&p->queue, bytes, MIN(n, room));
        if (p->queue.len >= PRIMARY_HIGH)
            p->lagging = true;
        if (idle)
            pthread_cond_signal(&p->more);
    }
    ok = !p->lagging;
    pthread_mutex_unlock(&p->mutex);
    return ok;
}

static void close_primary(struct chr *c)
{
    struct primary *p = &c->primary;

    end_primary_input(c);
    if (p->started) {
        struct timespec until;
        int rc = 0;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += DRAIN_S;
        pthread_mutex_lock(&p->mutex);
        p->closing = true;
        pthread_cond_signal(&p->more);
        while ((p->queue.len || p->writing) && rc == 0)
            rc = pthread_cond_timedwait(&p->less, &p->mutex, &until);
        pthread_mutex_unlock(&p->mutex);
        if (rc) { /* stuck in write(), a cancellation point, with no lock held */
            log_warn("console", "the reader of the serial port does not read, output is lost");
            pthread_cancel(p->thread);
        }
        pthread_join(p->thread, NULL);
    }
    fd_close(&p->out);
    buf_free(&p->queue);
    pthread_cond_destroy(&p->more);
    pthread_cond_destroy(&p->less);
    pthread_mutex_destroy(&p->mutex);
}

/* ---- clients ---- */

static void drop_client(struct client *cl)
{
    if (cl->watch)
        loop_unwatch(cl->watch);
    cl->watch = NULL;
    fd_close(&cl->fd);
    buf_free(&cl->out);
}

static void flush_client(struct client *cl)
{
    while (cl->out.len) {
        ssize_t n = send(cl->fd, cl->out.data, cl->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            drop_client(cl);
            return;
        }
        if (n <= 0)
            return;
        buf_consume(&cl->out, (size_t)n);
    }
}

static void client_ready(void *opaque, unsigned events)
{
    struct client *cl = opaque;
    struct chr *c = cl->chr;

    if (events & LOOP_WRITE)
        flush_client(cl);
    if (cl->fd >= 0 && (events & (LOOP_READ | LOOP_HUP)) && !take_input(c, cl->fd))
        drop_client(cl);
    watch_inputs(c);
}

static void serve_clients(void *opaque)
{
    struct chr *c = opaque;

    c->clients_posted = false;
    if (!c->dead) {
        for (unsigned i = 0; i < CLIENTS_MAX; i++)
            if (c->clients[i].fd >= 0)
                flush_client(&c->clients[i]);
        watch_inputs(c);
    }
    release(c);
}

/* Loop thread: asks for what can be handled now. */
static void watch_inputs(struct chr *c)
{
    unsigned in = c->input_len < INPUT_QUEUE ? LOOP_READ : 0;

    if (c->primary.watch)
        loop_watch_set(c->primary.watch, in);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *cl = &c->clients[i];
        if (cl->watch)
            loop_watch_set(cl->watch, in | (cl->out.len ? LOOP_WRITE : 0));
    }
}

static void clients_write(struct chr *c, const uint8_t *p, size_t n)
{
    bool any = false;

    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *cl = &c->clients[i];
        if (cl->fd < 0)
            continue;
        any = true;
        if (cl->out.len + n <= CLIENT_QUEUE)
            buf_add(&cl->out, p, n);
    }
    if (any && !c->clients_posted && c->loop) {
        c->clients_posted = true;
        post(c, serve_clients);
    }
}

size_t chr_scrollback(const struct chr *c, uint8_t *dst, size_t max)
{
    size_t n = (size_t)MIN(MIN(c->total, CHR_SCROLLBACK), max);

    for (size_t i = 0; i < n; i++)
        dst[i] = c->history[(c->total - n + i) % CHR_SCROLLBACK];
    return n;
}

void chr_attach(struct chr *c, int fd)
{
    struct client *cl = NULL;

    for (unsigned i = 0; i < CLIENTS_MAX && !cl; i++)
        if (c->clients[i].fd < 0)
            cl = &c->clients[i];
    if (!cl || !c->loop) {
        fd_close(&fd);
        return;
    }
    fd_set_nonblock(fd, true);
    *cl = (struct client){.chr = c, .fd = fd};
    uint8_t *past = x_alloc(CHR_SCROLLBACK);
    buf_add(&cl->out, past, chr_scrollback(c, past, CHR_SCROLLBACK));
    x_free(past);
    cl->watch = loop_watch(c->loop, fd, LOOP_READ, client_ready, cl);
    if (!cl->watch) {
        drop_client(cl);
        return;
    }
    flush_client(cl);
    watch_inputs(c);
}

/* ---- bytes from the guest ---- */

static void log_write(struct chr *c, const uint8_t *p, size_t n)
{
    if (c->log_fd < 0)
        return;
    if (c->log_len + n > c->log_max) {
        if (ftruncate(c->log_fd, 0) < 0 || lseek(c->log_fd, 0, SEEK_SET) < 0)
            return;
        c->log_len = 0;
    }
    if (write(c->log_fd, p, n) < 0)
        log_guest("console", "cannot write to the log of the serial port");
    c->log_len += n;
}

bool chr_write(struct chr *c, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        c->history[(c->total + i) % CHR_SCROLLBACK] = p[i];
    c->total += n;
    log_write(c, p, n);
    clients_write(c, p, n);
    return primary_write(c, p, n);
}

void chr_set_tx_ready(struct chr *c, void (*fn)(void *opaque), void *opaque)
{
    c->tx_ready = fn;
    c->tx_opaque = opaque;
}

void chr_set_log(struct chr *c, int log_fd, uint64_t max)
{
    struct stat st;

    c->log_fd = log_fd;
    c->log_max = max;
    c->log_len = fstat(log_fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void chr_free(struct chr *c)
{
    if (!c)
        return;
    close_primary(c);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *cl = &c->clients[i];
        if (cl->fd >= 0)
            flush_client(cl);
        if (cl->fd >= 0)
            drop_client(cl);
    }
    fd_close(&c->log_fd);
    x_free(c->history);
    c->history = NULL;
    c->dead = true;
    __atomic_add_fetch(&c->posted, 1, __ATOMIC_SEQ_CST);
    release(c);
}
