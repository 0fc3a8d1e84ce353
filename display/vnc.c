/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The relay's loop: listening sockets, connections, deadlines. See vnc.h for the shape. */
#include "display/vnc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "display/vnc_priv.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define CONNS_MAX   32
#define VIEWERS_MAX 16
#define LOGINS_MAX  16 /* at once; then the oldest gives way once it has had a moment */
#define LOGIN_GRACE_NS (2 * NS_PER_S)
#define NOFILE_MAX  256 /* far from FD_SETSIZE, at which libvncserver aborts */

struct loop_state {
    struct vnc_relay relay;
    struct vnc_conn *conns[CONNS_MAX];
    unsigned count;
    int listen_fds[VNC_LISTEN_MAX];
    unsigned listen_count;
    bool accept_paused; /* no descriptors left: until a connection ends */
};

void vnc_status(struct vnc_relay *relay, const char *fmt, ...)
{
    char line[160];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line) - 1, fmt, ap);
    va_end(ap);
    log_info("vnc", "%s", line);
    if (relay->status_fd < 0)
        return;
    size_t len = strlen(line);
    line[len++] = '\n';
    if (write(relay->status_fd, line, len) < 0 && errno != EAGAIN) /* a full pipe drops records */
        fd_close(&relay->status_fd);
}

struct vnc_peer *vnc_peer_find(struct vnc_relay *relay, const char *name, int64_t now)
{
    struct vnc_peer *oldest = &relay->peers[0];

    for (unsigned i = 0; i < VNC_PEERS; i++) {
        struct vnc_peer *p = &relay->peers[i];
        if (strcmp(p->name, name) == 0) {
            p->used = now;
            return p;
        }
        if (p->used < oldest->used)
            oldest = p;
    }
    memset(oldest, 0, sizeof(*oldest));
    snprintf(oldest->name, sizeof(oldest->name), "%s", name);
    oldest->used = now;
    return oldest;
}

static void peer_name(int fd, char *out, size_t size)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    struct ucred cred;
    socklen_t cred_len = sizeof(cred);

    snprintf(out, size, "unknown");
    if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0)
        return;
    if (ss.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&ss)->sin_addr, out, (socklen_t)size);
    else if (ss.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&ss)->sin6_addr, out, (socklen_t)size);
    else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len) == 0)
        snprintf(out, size, "uid %u", (unsigned)cred.uid);
}

static void drop(struct loop_state *s, unsigned i, const char *reason)
{
    vnc_conn_free(s->conns[i], reason);
    s->conns[i] = s->conns[--s->count];
    s->accept_paused = false;
}

/* Makes room for one more login; false when all that are under way are too young to be thrown out. */
static bool make_room(struct loop_state *s, int64_t now)
{
    unsigned logins = 0, oldest = 0;

    for (unsigned i = 0; i < s->count; i++) {
        if (vnc_conn_is_viewer(s->conns[i]))
            continue;
        if (logins++ == 0 || vnc_conn_since(s->conns[i]) < vnc_conn_since(s->conns[oldest]))
            oldest = i;
    }
    if (logins < LOGINS_MAX && s->count < CONNS_MAX && s->relay.viewers < VIEWERS_MAX)
        return true;
    if (s->relay.viewers >= VIEWERS_MAX || !logins ||
        now - vnc_conn_since(s->conns[oldest]) < LOGIN_GRACE_NS)
        return false;
    drop(s, oldest, "too many connections");
    return true;
}

static void accept_one(struct loop_state *s, int listener, int64_t now)
{
    char peer[64];
    int one = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE)
            s->accept_paused = true;
        return;
    }
    if (!make_room(s, now)) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails on Unix sockets: fine */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    peer_name(fd, peer, sizeof(peer));
    s->conns[s->count++] = vnc_conn_new(&s->relay, fd, peer);
}

/* p: what poll said, two entries per connection. From the last, because drop moves the last. */
static void step_all(struct loop_state *s, const struct pollfd *p)
{
    int64_t now = clock_now_ns();

    for (unsigned i = s->count; i-- > 0;) {
        const char *reason = NULL;
        if (!vnc_conn_step(s->conns[i], now, &reason) || (p[2 * i].revents & (POLLHUP | POLLERR)))
            drop(s, i, reason);
    }
}

static int timeout_ms(const struct loop_state *s)
{
    int64_t next = INT64_MAX, now = clock_now_ns();

    for (unsigned i = 0; i < s->count; i++)
        next = MIN(next, vnc_conn_deadline(s->conns[i]));
    if (next == INT64_MAX)
        return -1;
    return next <= now ? 0 : (int)MIN((next - now) / NS_PER_MS + 1, INT64_C(60000));
}

/* False: the other end of a socket that we live for is gone. */
static bool turn(struct loop_state *s)
{
    struct pollfd p[2 + VNC_LISTEN_MAX + 2 * CONNS_MAX];
    unsigned n = 0, conns;

    p[n++] = (struct pollfd){.fd = s->relay.input.fd,
                             .events = (short)(s->relay.input.count ? POLLOUT : 0)};
    p[n++] = (struct pollfd){.fd = s->relay.status_fd};
    for (unsigned i = 0; i < s->listen_count; i++)
        p[n++] = (struct pollfd){.fd = s->accept_paused ? -1 : s->listen_fds[i], .events = POLLIN};
    conns = n;
    for (unsigned i = 0; i < s->count; i++) {
        p[n++] = (struct pollfd){.fd = vnc_conn_fd(s->conns[i]), .events = vnc_conn_events(s->conns[i])};
        p[n++] = (struct pollfd){.fd = vnc_conn_library_fd(s->conns[i]),
                                 .events = vnc_conn_library_events(s->conns[i])};
    }
    if (poll(p, n, timeout_ms(s)) < 0)
        return errno == EINTR || errno == EAGAIN;
    step_all(s, p + conns);
    for (unsigned i = 0; i < s->listen_count; i++)
        if (p[2 + i].revents & POLLIN)
            accept_one(s, s->listen_fds[i], clock_now_ns());
    if ((p[0].revents | p[1].revents) & (POLLHUP | POLLERR | POLLNVAL))
        return false;
    return vnc_input_flush(&s->relay.input);
}

static bool start(struct loop_state *s, const struct vnc_cfg *cfg, struct surface **surface,
                  struct err *e)
{
    struct rlimit files = {.rlim_cur = NOFILE_MAX, .rlim_max = NOFILE_MAX};

    *surface = surface_open(cfg->surface_fd, e);
    if (!*surface)
        return false;
    if (!cfg->password || !cfg->password[0])
        return err_set(e, ERR_INVALID, "VNC needs a password");
    s->relay.input.km = keymap_find(cfg->layout);
    if (!s->relay.input.km)
        return err_set(e, ERR_INVALID, "unknown keyboard layout \"%s\": %s", cfg->layout,
                       keymap_layouts());
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        return err_errno(e, errno, "cannot limit descriptors");
    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < s->listen_count; i++)
        fd_set_nonblock(s->listen_fds[i], true);
    if (s->relay.status_fd >= 0)
        fd_set_nonblock(s->relay.status_fd, true);
    s->relay.server = vnc_server_new(cfg, *surface, e);
    return s->relay.server != NULL;
}

int vnc_run(const struct vnc_cfg *cfg)
{
    struct loop_state *s = X_NEW(struct loop_state);
    struct surface *surface = NULL;
    struct err e = ERR_INIT;

    s->relay.status_fd = cfg->status_fd;
    s->relay.input.fd = cfg->input_fd;
    s->listen_count = MIN(cfg->listen_count, (unsigned)VNC_LISTEN_MAX);
    memcpy(s->listen_fds, cfg->listen_fds, sizeof(s->listen_fds));
    bool ok = start(s, cfg, &surface, &e);
    if (!ok)
        log_error("vnc", "%s", e.msg);
    while (ok && turn(s))
        continue;
    while (s->count)
        drop(s, s->count - 1, NULL);
    vnc_input_flush(&s->relay.input);
    vnc_server_free(s->relay.server);
    surface_free(surface);
    for (unsigned i = 0; i < s->listen_count; i++)
        fd_close(&s->listen_fds[i]);
    fd_close(&s->relay.input.fd);
    fd_close(&s->relay.status_fd);
    x_free(s);
    return ok ? 0 : 1;
}
