/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libslirp between the frame socket and the host's sockets, on a poll loop of its own (the whole
 * process is this).
 *
 * What the guest can reach: the host's networks by outgoing TCP, UDP and ping, and the host itself
 * as 10.0.2.2, where its loopback services answer (disable_host_loopback off, as users of such NATs
 * expect). Frames of more than the MTU are dropped. */
#include "vmm/net/user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/net/netdev.h"

#define POLL_MAX_MS 1000
#define RX_BUDGET   64
#define WAITING_MAX (1u << 20)     /* the windows of sixteen connections */
#define FRAME_MAX   (NET_MTU + 18) /* Ethernet header with a VLAN tag */

/* A frame for a guest whose socket is full. */
struct waiting {
    struct waiting *next;
    size_t len;
    uint8_t data[];
};

struct user {
    int sock;
    struct waiting *first, **last;
    size_t waiting_bytes;
    Slirp *slirp;
    struct clock *clock; /* timers of the stack, on host time */
    struct pollfd *fds;
    unsigned count, cap;
    uint8_t frame[NET_FRAME_MAX];
};

struct user_timer {
    struct timer timer;
    SlirpTimerCb cb;
    void *opaque;
};

/* ---- callbacks of the stack ---- */

/* Beyond WAITING_MAX frames are lost, as on a wire. */
static void keep(struct user *u, const void *frame, size_t len)
{
    if (u->waiting_bytes + len > WAITING_MAX)
        return;
    struct waiting *w = x_alloc(sizeof(*w) + len);
    w->next = NULL;
    w->len = len;
    memcpy(w->data, frame, len);
    *u->last = w;
    u->last = &w->next;
    u->waiting_bytes += len;
}

static void drop_first(struct user *u)
{
    struct waiting *w = u->first;

    u->first = w->next;
    if (!u->first)
        u->last = &u->first;
    u->waiting_bytes -= w->len;
    x_free(w);
}

static void send_waiting(struct user *u)
{
    while (u->first) {
        if (send(u->sock, u->first->data, u->first->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
            errno == EAGAIN)
            return;
        drop_first(u);
    }
}

static ssize_t send_packet(const void *frame, size_t len, void *opaque)
{
    struct user *u = opaque;

    if (u->first || (send(u->sock, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN))
        keep(u, frame, len);
    return (ssize_t)len;
}

static void guest_error(const char *msg, void *opaque)
{
    (void)opaque;
    log_guest("net", "%s", msg);
}

static int64_t clock_get_ns(void *opaque)
{
    (void)opaque;
    return clock_now_ns();
}

static void fire(void *opaque)
{
    struct user_timer *t = opaque;

    t->cb(t->opaque);
}

static void *timer_make(SlirpTimerCb cb, void *cb_opaque, void *opaque)
{
    struct user *u = opaque;
    struct user_timer *t = X_NEW(struct user_timer);

    t->cb = cb;
    t->opaque = cb_opaque;
    timer_init(&t->timer, u->clock, fire, t);
    return t;
}

static void timer_drop(void *timer, void *opaque)
{
    struct user_timer *t = timer;

    (void)opaque;
    timer_cancel(&t->timer);
    x_free(t);
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    (void)opaque;
    timer_arm(&((struct user_timer *)timer)->timer, expire_ms * NS_PER_MS);
}

static void ignore_fd(int fd, void *opaque)
{
    (void)fd;
    (void)opaque;
}

static void ignore(void *opaque)
{
    (void)opaque; /* the loop polls again anyway */
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_new = timer_make,
    .timer_free = timer_drop,
    .timer_mod = timer_mod,
    .register_poll_fd = ignore_fd,
    .unregister_poll_fd = ignore_fd,
    .notify = ignore,
};

/* ---- polling ---- */

static int add_poll(int fd, int events, void *opaque)
{
    struct user *u = opaque;
    short want = 0;

    if (u->count == u->cap) {
        u->cap = u->cap ? u->cap * 2 : 64;
        u->fds = x_realloc(u->fds, u->cap * sizeof(u->fds[0]));
    }
    if (events & SLIRP_POLL_IN)
        want |= POLLIN;
    if (events & SLIRP_POLL_OUT)
        want |= POLLOUT;
    if (events & SLIRP_POLL_PRI)
        want |= POLLPRI;
    u->fds[u->count] = (struct pollfd){.fd = fd, .events = want};
    return (int)u->count++;
}

static int get_revents(int index, void *opaque)
{
    struct user *u = opaque;
    short got = u->fds[index].revents;
    int events = 0;

    if (got & POLLIN)
        events |= SLIRP_POLL_IN;
    if (got & POLLOUT)
        events |= SLIRP_POLL_OUT;
    if (got & POLLPRI)
        events |= SLIRP_POLL_PRI;
    if (got & POLLERR)
        events |= SLIRP_POLL_ERR;
    if (got & POLLHUP)
        events |= SLIRP_POLL_HUP;
    return events;
}

/* False at the end of the frame socket. */
static bool read_frames(struct user *u)
{
    for (unsigned budget = RX_BUDGET; budget > 0; budget--) {
        ssize_t n = recv(u->sock, u->frame, sizeof(u->frame), MSG_DONTWAIT);

        if (n == 0)
            return false;
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n >= 14 && n <= FRAME_MAX)
            slirp_input(u->slirp, u->frame, (int)n);
    }
    return true;
}

static bool poll_once(struct user *u)
{
    uint32_t timeout = POLL_MAX_MS;

    u->count = 0;
    slirp_pollfds_fill(u->slirp, &timeout, add_poll, u);
    unsigned stack_fds = u->count;
    add_poll(u->sock, SLIRP_POLL_IN | (u->first ? SLIRP_POLL_OUT : 0), u);
    int ready = poll(u->fds, u->count, (int)MIN(timeout, (uint32_t)POLL_MAX_MS));
    bool frames = u->fds[stack_fds].revents & ~POLLOUT;

    send_waiting(u);
    slirp_pollfds_poll(u->slirp, ready < 0 && errno != EINTR, get_revents, u);
    clock_run(u->clock);
    return !frames || read_frames(u);
}

/* ---- life ---- */

static bool add_forwards(struct user *u, const struct net_user_cfg *cfg, struct err *e)
{
    struct in_addr guest = {.s_addr = htonl(0x0a00020f)};

    for (unsigned i = 0; i < cfg->forward_count; i++) {
        const struct net_forward *f = &cfg->forwards[i];

        if (slirp_add_hostfwd(u->slirp, f->udp, f->host, f->host_port, guest, f->guest_port) < 0) {
            char host[INET_ADDRSTRLEN];
            int why = errno;

            inet_ntop(AF_INET, &f->host, host, sizeof(host));
            err_errno(e, why, "cannot forward %s port %s:%u", f->udp ? "UDP" : "TCP", host,
                      f->host_port);
            return err_hint(e, "choose another host port in networks[].forwards or with --forward");
        }
    }
    return true;
}

static SlirpConfig config(const struct net_user_cfg *cfg)
{
    SlirpConfig c = {
        .version = 4,
        .restricted = cfg->restrict_,
        .in_enabled = true,
        .vnetwork = {htonl(0x0a000200)},
        .vnetmask = {htonl(0xffffff00)},
        .vhost = {htonl(0x0a000202)},
        .vhostname = cfg->hostname[0] ? cfg->hostname : NULL,
        .vdhcp_start = {htonl(0x0a00020f)},
        .vnameserver = {htonl(0x0a000203)},
        .if_mtu = NET_MTU,
        .if_mru = NET_MTU,
    };

    return c;
}

bool net_user_run(const struct net_user_cfg *cfg, int ready, struct err *e)
{
    SlirpConfig c = config(cfg);
    struct user *u = X_NEW(struct user);
    bool ok = false;

    u->sock = cfg->sock;
    u->last = &u->first;
    u->clock = clock_new(NULL, NULL, false);
    u->slirp = slirp_new(&c, &callbacks, u);
    if (!u->slirp) {
        err_set(e, ERR_FAILED, "cannot start the user-mode network");
        goto out;
    }
    if (!add_forwards(u, cfg, e))
        goto out;
    if (ready >= 0 && write(ready, "", 1) < 0) {
        err_errno(e, errno, "cannot say that the network is ready");
        goto out;
    }
    while (poll_once(u)) {
    }
    ok = true;
out:
    if (u->slirp)
        slirp_cleanup(u->slirp);
    while (u->first)
        drop_first(u);
    clock_free(u->clock);
    x_free(u->fds);
    x_free(u);
    return ok;
}
