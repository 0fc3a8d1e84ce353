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
#define FRAME_MAX   (NET_MTU + 18) /* Ethernet header with a VLAN tag */

struct user {
    int sock;
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

static ssize_t send_packet(const void *frame, size_t len, void *opaque)
{
    struct user *u = opaque;
    ssize_t n = send(u->sock, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL);

    return n < 0 ? (ssize_t)len : n; /* the guest is not reading: lost, as on a wire */
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
    add_poll(u->sock, SLIRP_POLL_IN, u);
    int ready = poll(u->fds, u->count, (int)MIN(timeout, (uint32_t)POLL_MAX_MS));
    bool frames = u->fds[stack_fds].revents;

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
    clock_free(u->clock);
    x_free(u->fds);
    x_free(u);
    return ok;
}
