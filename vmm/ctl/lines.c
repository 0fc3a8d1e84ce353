/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/ctl/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"
#include "vmm/base/fd.h"

#define READ_SIZE 65536
#define READ_ROUNDS 16 /* then other connections get their turn */

/* A descriptor waiting to go out, with the place in the queue where its line begins. */
struct out_fd {
    struct out_fd *next;
    size_t offset;
    int fd;
};

struct lines {
    struct loop *loop;
    struct loop_fd *watch;
    int sock;
    const struct lines_ops *ops;
    void *opaque;
    struct buf in, out;
    size_t scanned; /* of in: holds no line end */
    int in_fd;
    struct out_fd *out_fds, **out_fds_end;
    const char *broken; /* why the connection ends, once it does */
    bool paused, over;
    unsigned depth; /* callbacks under way */
    bool freed;
};

static void ready(void *opaque, unsigned events);

static void update_watch(struct lines *l)
{
    if (l->watch)
        loop_watch_set(l->watch, (l->paused ? 0 : LOOP_READ) | (l->out.len || l->broken ? LOOP_WRITE : 0));
}

struct lines *lines_new(struct loop *loop, int sock, const struct lines_ops *ops, void *opaque)
{
    struct lines *l = X_NEW(struct lines);

    l->loop = loop;
    l->sock = sock;
    l->ops = ops;
    l->opaque = opaque;
    l->in_fd = -1;
    l->out_fds_end = &l->out_fds;
    fd_set_nonblock(sock, true);
    l->watch = loop_watch(loop, sock, LOOP_READ, ready, l);
    if (!l->watch) {
        lines_free(l);
        return NULL;
    }
    return l;
}

static void destroy(struct lines *l)
{
    while (l->out_fds) {
        struct out_fd *f = l->out_fds;
        l->out_fds = f->next;
        close(f->fd);
        x_free(f);
    }
    fd_close(&l->in_fd);
    fd_close(&l->sock);
    buf_free(&l->in);
    buf_free(&l->out);
    x_free(l);
}

void lines_free(struct lines *l)
{
    if (!l)
        return;
    l->freed = true;
    if (l->watch)
        loop_unwatch(l->watch);
    l->watch = NULL;
    if (l->depth == 0)
        destroy(l);
}

static void enter(struct lines *l)
{
    l->depth++;
}

/* False when the connection was freed meanwhile. */
static bool leave(struct lines *l)
{
    if (--l->depth > 0 || !l->freed)
        return !l->freed;
    destroy(l);
    return false;
}

/* Tells the owner once; l may be gone afterwards. */
static void end(struct lines *l, const char *why)
{
    if (l->over)
        return;
    l->over = true;
    if (l->watch)
        loop_unwatch(l->watch);
    l->watch = NULL;
    l->ops->closed(l->opaque, why);
}

/* ---- output ---- */

void lines_send(struct lines *l, const char *text, size_t len, int fd)
{
    if (l->broken || l->over) {
        fd_close(&fd);
        return;
    }
    if (l->out.len + len + 1 > LINES_MAX_QUEUE) {
        l->broken = "the peer reads too slowly";
        buf_clear(&l->out);
        fd_close(&fd);
        update_watch(l);
        return;
    }
    if (fd >= 0) {
        struct out_fd *f = X_NEW(struct out_fd);
        f->offset = l->out.len;
        f->fd = fd;
        *l->out_fds_end = f;
        l->out_fds_end = &f->next;
    }
    buf_add(&l->out, text, len);
    buf_add(&l->out, "\n", 1);
    update_watch(l);
}

size_t lines_queued(const struct lines *l)
{
    return l->out.len;
}

/* Sends up to the next descriptor's place, so that each goes with the first byte of its line. */
static ssize_t send_some(struct lines *l)
{
    struct out_fd *f = l->out_fds;
    bool attach = f && f->offset == 0;
    struct out_fd *bound = attach ? f->next : f;
    struct iovec iov = {.iov_base = l->out.data,
                        .iov_len = bound ? MIN(bound->offset, l->out.len) : l->out.len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    union {
        struct cmsghdr hdr;
        char space[CMSG_SPACE(sizeof(int))];
    } ctl;

    if (attach) {
        memset(&ctl, 0, sizeof(ctl));
        msg.msg_control = ctl.space;
        msg.msg_controllen = sizeof(ctl.space);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &f->fd, sizeof(int));
    }
    ssize_t n = sendmsg(l->sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0)
        return n;
    if (attach) {
        l->out_fds = f->next;
        if (!l->out_fds)
            l->out_fds_end = &l->out_fds;
        close(f->fd);
        x_free(f);
    }
    for (f = l->out_fds; f; f = f->next)
        f->offset -= (size_t)n;
    buf_consume(&l->out, (size_t)n);
    return n;
}

static bool write_queue(struct lines *l)
{
    while (l->out.len > 0)
        if (send_some(l) < 0) {
            if (errno == EINTR)
                continue;
            return errno == EAGAIN;
        }
    return true;
}

void lines_flush(struct lines *l, int timeout_ms)
{
    int64_t until = clock_now_ns() + timeout_ms * NS_PER_MS;

    while (!l->broken && write_queue(l) && l->out.len > 0) {
        int64_t left = (until - clock_now_ns()) / NS_PER_MS;
        struct pollfd pfd = {.fd = l->sock, .events = POLLOUT};

        if (left <= 0 || poll(&pfd, 1, (int)left) <= 0)
            return;
    }
}

/* ---- input ---- */

/* False when the connection is over or gone. */
static bool deliver(struct lines *l)
{
    for (;;) {
        char *nl = l->in.len > l->scanned ? memchr(l->in.data + l->scanned, '\n', l->in.len - l->scanned) : NULL;

        if (!nl) {
            l->scanned = l->in.len;
            if (l->in.len <= LINES_MAX_LINE)
                return true;
            end(l, "a line is longer than 1 MiB");
            return false;
        }
        size_t len = (size_t)(nl - l->in.data), used = len + 1;
        if (len > LINES_MAX_LINE) {
            end(l, "a line is longer than 1 MiB");
            return false;
        }
        if (len > 0 && l->in.data[len - 1] == '\r')
            len--;
        if (memchr(l->in.data, '\0', len)) {
            end(l, "a NUL byte in a line");
            return false;
        }
        l->in.data[len] = '\0';
        if (len > 0) {
            int fd = l->in_fd;
            l->in_fd = -1;
            l->ops->line(l->opaque, l->in.data, len, fd);
            if (l->freed || l->over)
                return false;
        }
        buf_consume(&l->in, used);
        l->scanned = 0;
        if (l->paused)
            return true;
    }
}

/* False when the connection is over or gone. */
static bool read_some(struct lines *l, bool *more)
{
    char data[READ_SIZE];
    int fds[FD_PASS_MAX];
    unsigned nfds;
    ssize_t n = fd_recv(l->sock, data, sizeof(data), fds, &nfds);

    *more = n > 0;
    if (n < 0 && errno == EAGAIN)
        return true;
    for (unsigned i = 0; i < nfds; i++) {
        if (l->in_fd < 0)
            l->in_fd = fds[i];
        else
            close(fds[i]); /* one a line */
    }
    if (n <= 0) {
        end(l, n < 0 ? strerror(errno) : NULL);
        return false;
    }
    buf_add(&l->in, data, (size_t)n);
    return deliver(l);
}

void lines_drain(struct lines *l)
{
    bool more = true, open = true;

    enter(l);
    while (more && open && !l->freed && !l->over)
        open = read_some(l, &more);
    leave(l);
}

static void ready(void *opaque, unsigned events)
{
    struct lines *l = opaque;
    bool more = true, open = true;

    enter(l);
    if (l->broken) {
        end(l, l->broken);
        open = false;
    }
    if (open && (events & LOOP_WRITE) && !write_queue(l)) {
        end(l, strerror(errno));
        open = false;
    }
    if (open && (events & (LOOP_READ | LOOP_HUP)))
        for (unsigned i = 0; i < READ_ROUNDS && more && open && !l->paused; i++)
            open = read_some(l, &more);
    if (leave(l) && !l->over)
        update_watch(l);
}

static void deliver_posted(void *opaque)
{
    struct lines *l = opaque;

    if (!l->freed && !l->over && !l->paused)
        deliver(l);
    if (leave(l) && !l->over)
        update_watch(l);
}

void lines_pause(struct lines *l, bool paused)
{
    if (l->paused == paused || l->over)
        return;
    l->paused = paused;
    update_watch(l);
    if (!paused && l->in.len > 0) { /* lines that were read before the pause */
        enter(l);
        loop_post(l->loop, deliver_posted, l);
    }
}
