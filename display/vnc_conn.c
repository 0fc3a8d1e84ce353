/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One viewer's connection in the relay.
 *
 *   viewer socket -> in[] -> checked, whole messages -> socketpair -> library
 *   viewer socket <- output queue                    <- socketpair <- library
 *
 * The library is not told of a viewer before its protocol version is there, gets an answer to its
 * challenge only when that peer may try again, and gets a request for an update only while little is
 * queued: a viewer that reads slowly gets fewer frames, not later ones. Source: RFC 6143, and the
 * community's rfbproto for types 251 and 255. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "display/vnc_priv.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

#define LOGIN_NS      (10 * NS_PER_S) /* from connecting to being authenticated */
#define STALL_NS      (60 * NS_PER_S) /* output waiting and none taken */
#define BACKOFF_NS    NS_PER_S        /* between answers of a peer that was wrong ... */
#define FREE_FAILURES 2               /* ... more often than this */

#define VERSION_LEN   12
#define RESPONSE_LEN  16
#define SECURITY_VNC  2

#define ENCODINGS_MAX 1024
#define SCREENS_MAX   16
#define CUT_TEXT_MAX  (1u << 20)
#define IN_SIZE       8192 /* holds the longest message */
#define CHUNK         65536
#define LIBRARY_SNDBUF 4096 /* few messages, so that requests wait here and not in the socket */
#define OUT_PLENTY    (256u << 10) /* no further update while so much waits */

enum state {
    ST_VERSION,  /* our version sent, the viewer's wanted */
    ST_SECURITY, /* its choice of a security type */
    ST_RESPONSE, /* its answer to the challenge */
    ST_HELD,     /* there, but not to be looked at yet */
    ST_RESULT,   /* the library decides */
    ST_INIT,     /* its ClientInit */
    ST_NORMAL,
    ST_LEAVING,  /* the library has closed: what is queued still goes out */
};

/* Client to server messages, RFC 6143 7.5 */
enum {
    MSG_SET_PIXEL_FORMAT = 0,
    MSG_SET_ENCODINGS = 2,
    MSG_UPDATE_REQUEST = 3,
    MSG_KEY = 4,
    MSG_POINTER = 5,
    MSG_CUT_TEXT = 6,
    MSG_SET_DESKTOP_SIZE = 251,
    MSG_QEMU = 255,
};

struct vnc_conn {
    struct vnc_relay *relay;
    int fd, lib;
    enum state state;
    char peer[64];
    struct vnc_link *link;
    struct vnc_keys keys;
    int64_t since, held_until, progress; /* of output */
    uint8_t in[IN_SIZE];
    unsigned in_len;
    uint32_t skip; /* bytes of cut text still to be thrown away */
    uint8_t to_lib[IN_SIZE];
    unsigned to_lib_off, to_lib_len;
    uint8_t request[10]; /* update request that waits; request[0] 0: none */
    unsigned swallow;    /* bytes of the library's own version */
    bool viewer;
    uint8_t *out;
    size_t out_off, out_len, out_cap;
    const char *why;
};

int vnc_conn_fd(const struct vnc_conn *c)
{
    return c->fd;
}

int vnc_conn_library_fd(const struct vnc_conn *c)
{
    return c->lib;
}

bool vnc_conn_is_viewer(const struct vnc_conn *c)
{
    return c->viewer;
}

int64_t vnc_conn_since(const struct vnc_conn *c)
{
    return c->since;
}

static bool refuse(struct vnc_conn *c, const char *why)
{
    c->why = why;
    return false;
}

/* The library has closed its end. */
static void leave(struct vnc_conn *c)
{
    fd_close(&c->lib);
    c->state = ST_LEAVING;
}

/* ---- output ---- */

/* Room for n bytes at the end. What a viewer has not read may grow to two raw frames. */
static bool out_room(struct vnc_conn *c, size_t n)
{
    unsigned w, h;

    if (c->out_off && (c->out_off == c->out_len || c->out_len + n > c->out_cap)) {
        memmove(c->out, c->out + c->out_off, c->out_len - c->out_off);
        c->out_len -= c->out_off;
        c->out_off = 0;
    }
    if (c->out_len + n <= c->out_cap)
        return true;
    vnc_server_size(c->relay->server, &w, &h);
    size_t limit = 2 * (size_t)w * h * 4 + (4u << 20), cap = c->out_cap ? c->out_cap * 2 : 2 * CHUNK;
    if (c->out_len + n > limit)
        return refuse(c, "does not read");
    uint8_t *p = try_realloc(c->out, MAX(cap, c->out_len + n));
    if (!p)
        return refuse(c, "no memory");
    c->out = p;
    c->out_cap = MAX(cap, c->out_len + n);
    return true;
}

static bool out_add(struct vnc_conn *c, const void *data, size_t n)
{
    if (!out_room(c, n))
        return false;
    memcpy(c->out + c->out_len, data, n);
    c->out_len += n;
    return true;
}

static bool out_flush(struct vnc_conn *c, int64_t now)
{
    while (c->out_off < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return false;
        c->out_off += (size_t)n;
        c->progress = now;
    }
    if (c->out_cap > (1u << 20)) { /* a big frame is over */
        x_free(c->out);
        c->out = NULL;
        c->out_cap = 0;
    }
    c->out_off = c->out_len = 0;
    c->progress = now;
    return true;
}

/* Takes all that the library has written; it must never wait for a viewer. */
static bool library_read(struct vnc_conn *c)
{
    while (c->lib >= 0) {
        if (!out_room(c, CHUNK))
            return false;
        ssize_t n = recv(c->lib, c->out + c->out_len, CHUNK, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0) {
            leave(c);
            break;
        }
        if (c->swallow) {
            unsigned drop = (unsigned)MIN((size_t)n, c->swallow);
            c->swallow -= drop;
            n -= drop;
            memmove(c->out + c->out_len, c->out + c->out_len + drop, (size_t)n);
        }
        c->out_len += (size_t)n;
    }
    return true;
}

/* ---- to the library ---- */

static void forward(struct vnc_conn *c, const void *data, unsigned n)
{
    memcpy(c->to_lib + c->to_lib_len, data, n); /* empty before each message, which fits */
    c->to_lib_len += n;
}

static void forward_flush(struct vnc_conn *c)
{
    while (c->lib >= 0 && c->to_lib_off < c->to_lib_len) {
        ssize_t n = send(c->lib, c->to_lib + c->to_lib_off, c->to_lib_len - c->to_lib_off,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            leave(c);
            return;
        }
        c->to_lib_off += (unsigned)n;
    }
    c->to_lib_off = c->to_lib_len = 0;
}

/* ---- login ---- */

static bool join_library(struct vnc_conn *c, unsigned minor)
{
    char version[VERSION_LEN + 1];
    int pair[2], size = LIBRARY_SNDBUF;

    snprintf(version, sizeof(version), "RFB 003.%03u\n", minor);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return refuse(c, "no descriptors");
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    /* there before the library looks, so that it need not wait whether this is a WebSocket */
    if (send(pair[0], version, VERSION_LEN, MSG_DONTWAIT | MSG_NOSIGNAL) != VERSION_LEN) {
        close(pair[0]);
        close(pair[1]);
        return refuse(c, "no buffer");
    }
    c->lib = pair[0];
    c->swallow = VERSION_LEN;
    vnc_server_add(c->relay->server, pair[1], c->link);
    return true;
}

/* Anything but a viewer (HTTP, TLS, WebSocket) shows in the first bytes. The three versions of the
 * standard are told apart; others count as the nearest below. */
static bool login_version(struct vnc_conn *c)
{
    static const char begin[] = "RFB 003.";
    unsigned n = (unsigned)MIN(c->in_len, sizeof(begin) - 1), minor = 0;

    if (memcmp(c->in, begin, n) != 0)
        return refuse(c, "not a VNC viewer");
    if (c->in_len < VERSION_LEN)
        return true;
    for (unsigned i = 8; i < 11; i++) {
        if (c->in[i] < '0' || c->in[i] > '9')
            return refuse(c, "not a VNC viewer");
        minor = minor * 10 + (c->in[i] - '0');
    }
    if (c->in[11] != '\n')
        return refuse(c, "not a VNC viewer");
    minor = minor >= 8 ? 8 : minor == 7 ? 7 : 3;
    c->state = minor == 3 ? ST_RESPONSE : ST_SECURITY;
    return join_library(c, minor);
}

static void login_response(struct vnc_conn *c, int64_t now)
{
    struct vnc_peer *p = vnc_peer_find(c->relay, c->peer, now);

    c->held_until = now;
    if (p->failures > FREE_FAILURES) {
        c->held_until = MAX(now, p->next_try);
        p->next_try = c->held_until + BACKOFF_NS;
    }
    c->state = ST_HELD;
}

static bool login_result(struct vnc_conn *c, int64_t now)
{
    struct vnc_peer *p = vnc_peer_find(c->relay, c->peer, now);

    switch (atomic_load(&c->link->auth)) {
    case VNC_AUTH_OK:
        p->failures = 0;
        c->state = ST_INIT;
        c->viewer = true;
        c->relay->viewers++;
        vnc_status(c->relay, "connect %s", c->peer);
        vnc_status(c->relay, "viewers %u", c->relay->viewers);
        return true;
    case VNC_AUTH_WRONG:
        p->failures++;
        if (p->failures == FREE_FAILURES + 1)
            p->next_try = now + BACKOFF_NS;
        vnc_status(c->relay, "wrong-password %s", c->peer);
        c->link->auth = VNC_AUTH_PENDING; /* counted */
        return true;
    default: return true;
    }
}

/* ---- messages ---- */

/* Length of the message at p once that is known, 0 before, -1 for what no viewer of ours sends. */
static int message_length(const uint8_t *p, unsigned n)
{
    switch (p[0]) {
    case MSG_SET_PIXEL_FORMAT: return 20;
    case MSG_SET_ENCODINGS:
        if (n < 4)
            return 0;
        return ld_be16(p + 2) <= ENCODINGS_MAX ? 4 + 4 * ld_be16(p + 2) : -1;
    case MSG_UPDATE_REQUEST: return 10;
    case MSG_KEY: return 8;
    case MSG_POINTER: return 6;
    case MSG_CUT_TEXT: return 8; /* the text is skipped */
    case MSG_SET_DESKTOP_SIZE:
        if (n < 8)
            return 0;
        return p[6] <= SCREENS_MAX ? 8 + 16 * p[6] : -1;
    case MSG_QEMU:
        if (n < 2)
            return 0;
        return p[1] == 0 ? 12 : -1; /* extended key */
    default: return -1;
    }
}

/* Encodings and pseudo-encodings that the library does well; what it would answer with features that we
 * do not offer (file transfer, chat, scaling, power, extended clipboard, its cursors) is not among them. */
static bool encoding_passes(int32_t enc)
{
    static const int32_t list[] = {0, 1, 2, 4, 5, 6, 7, 16, /* Raw to Tight, ZRLE */
                                   -223, -224, -308,        /* NewFBSize, LastRect, ExtendedDesktopSize */
                                   -258,                    /* extended keys */
                                   -261, 0x574d5668};       /* lights: QEMU's, VMware's */

    if ((enc >= -32 && enc <= -23) || (enc >= -256 && enc <= -247)) /* JPEG quality, compression */
        return true;
    for (unsigned i = 0; i < ARRAY_LEN(list); i++)
        if (list[i] == enc)
            return true;
    return false;
}

static void set_encodings(struct vnc_conn *c, uint8_t *p)
{
    unsigned n = ld_be16(p + 2), kept = 0;

    for (unsigned i = 0; i < n; i++) {
        uint32_t enc = ld_be32(p + 4 + 4 * i);
        if (encoding_passes((int32_t)enc))
            st_be32(p + 4 + 4 * kept++, enc);
    }
    st_be16(p + 2, (uint16_t)kept);
    forward(c, p, 4 + 4 * kept);
}

/* The library shifts and divides by these unchecked. */
static bool pixel_format_ok(const uint8_t *f)
{
    unsigned bits = f[0], true_color = f[3];

    if (bits != 8 && bits != 16 && bits != 32)
        return false;
    if (!true_color)
        return bits == 8;
    for (unsigned i = 0; i < 3; i++) {
        unsigned max = ld_be16(f + 4 + 2 * i), shift = f[10 + i];
        if (max == 0 || (max & (max + 1)) || shift >= bits || (uint64_t)max << shift >> bits)
            return false;
    }
    return true;
}

/* Keeps the union of requests that wait; a full one wins over an incremental one. */
static void request_update(struct vnc_conn *c, const uint8_t *p)
{
    if (!c->request[0]) {
        memcpy(c->request, p, sizeof(c->request));
    } else {
        unsigned x0 = MIN(ld_be16(c->request + 2), ld_be16(p + 2));
        unsigned y0 = MIN(ld_be16(c->request + 4), ld_be16(p + 4));
        unsigned x1 = MAX(ld_be16(c->request + 2) + ld_be16(c->request + 6), ld_be16(p + 2) + ld_be16(p + 6));
        unsigned y1 = MAX(ld_be16(c->request + 4) + ld_be16(c->request + 8), ld_be16(p + 4) + ld_be16(p + 8));
        c->request[1] &= p[1];
        st_be16(c->request + 2, (uint16_t)x0);
        st_be16(c->request + 4, (uint16_t)y0);
        st_be16(c->request + 6, (uint16_t)MIN(x1 - x0, 0xffffu));
        st_be16(c->request + 8, (uint16_t)MIN(y1 - y0, 0xffffu));
    }
}

static uint16_t scale(unsigned at, unsigned size)
{
    return size < 2 ? 0 : (uint16_t)(MIN(at, size - 1) * (unsigned)INPUT_ABS_MAX / (size - 1));
}

static bool message(struct vnc_conn *c, uint8_t *p)
{
    struct vnc_input *in = &c->relay->input;
    unsigned w, h;

    switch (p[0]) {
    case MSG_SET_PIXEL_FORMAT:
        if (!pixel_format_ok(p + 4))
            return refuse(c, "unusable pixel format");
        forward(c, p, 20);
        return true;
    case MSG_SET_ENCODINGS: set_encodings(c, p); return true;
    case MSG_UPDATE_REQUEST: request_update(c, p); return true;
    case MSG_KEY: vnc_input_keysym(in, &c->keys, p[1], ld_be32(p + 4)); return true;
    case MSG_POINTER:
        vnc_server_size(c->relay->server, &w, &h);
        vnc_input_pointer(in, &c->keys, p[1], scale(ld_be16(p + 2), w), scale(ld_be16(p + 4), h));
        return true;
    case MSG_CUT_TEXT:
        c->skip = ld_be32(p + 4);
        if ((int32_t)c->skip < 0) /* extended clipboard negates its length */
            c->skip = -c->skip;
        return c->skip <= CUT_TEXT_MAX || refuse(c, "oversized clipboard");
    case MSG_SET_DESKTOP_SIZE: forward(c, p, 8 + 16u * p[6]); return true;
    default: vnc_input_xt(in, &c->keys, ld_be16(p + 2), ld_be32(p + 8)); return true;
    }
}

/* ---- input ---- */

static void consume(struct vnc_conn *c, unsigned n)
{
    c->in_len -= n;
    memmove(c->in, c->in + n, c->in_len);
}

/* One unit of the viewer's input. *more: there may be another. */
static bool parse(struct vnc_conn *c, int64_t now, bool *more)
{
    *more = false;
    if (c->skip) {
        unsigned n = (unsigned)MIN(c->skip, c->in_len);
        c->skip -= n;
        consume(c, n);
        *more = !c->skip && c->in_len;
        return true;
    }
    if (c->to_lib_len || !c->in_len)
        return true;
    switch (c->state) {
    case ST_VERSION:
        if (!login_version(c))
            return false;
        if (c->state == ST_VERSION)
            return true;
        consume(c, VERSION_LEN);
        *more = true;
        return true;
    case ST_SECURITY:
        if (c->in[0] != SECURITY_VNC)
            return refuse(c, "wants another security type");
        forward(c, c->in, 1);
        consume(c, 1);
        c->state = ST_RESPONSE;
        *more = true;
        return true;
    case ST_RESPONSE:
        if (c->in_len >= RESPONSE_LEN)
            login_response(c, now);
        return true;
    case ST_INIT: {
        static const uint8_t shared = 1; /* no viewer throws out the others */
        forward(c, &shared, 1);
        consume(c, 1);
        c->state = ST_NORMAL;
        *more = true;
        return true;
    }
    case ST_NORMAL: {
        int n = message_length(c->in, c->in_len);
        if (n < 0)
            return refuse(c, "unknown message");
        if (n == 0 || (unsigned)n > c->in_len)
            return true;
        if (!message(c, c->in))
            return false;
        consume(c, (unsigned)n);
        *more = true;
        return true;
    }
    default: return true;
    }
}

static bool read_viewer(struct vnc_conn *c)
{
    if (c->in_len == IN_SIZE)
        return true;
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_SIZE - c->in_len, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    c->in_len += (unsigned)n;
    return true;
}

static bool deadline_passed(struct vnc_conn *c, int64_t now)
{
    if (!c->viewer && now - c->since >= LOGIN_NS)
        return !refuse(c, "took too long to log in");
    if (c->out_off < c->out_len && now - c->progress >= STALL_NS)
        return !refuse(c, "does not read");
    return false;
}

bool vnc_conn_step(struct vnc_conn *c, int64_t now, const char **reason)
{
    bool more = true;

    *reason = NULL;
    if (!read_viewer(c) || !library_read(c) || deadline_passed(c, now))
        goto gone;
    if (c->state == ST_RESULT && !login_result(c, now))
        goto gone;
    while (more && c->state != ST_LEAVING) {
        if (!parse(c, now, &more))
            goto gone;
        if (c->state == ST_HELD && now >= c->held_until && !c->to_lib_len) {
            forward(c, c->in, RESPONSE_LEN);
            consume(c, RESPONSE_LEN);
            c->state = ST_RESULT;
        }
        forward_flush(c);
    }
    if (c->request[0] && !c->to_lib_len && c->out_len - c->out_off < OUT_PLENTY) {
        forward(c, c->request, sizeof(c->request));
        c->request[0] = 0;
        forward_flush(c);
    }
    if (!out_flush(c, now))
        goto gone;
    if (c->state == ST_LEAVING && c->link->auth == VNC_AUTH_WRONG)
        login_result(c, now);
    if (c->state != ST_LEAVING || c->out_off < c->out_len)
        return true;
gone:
    *reason = c->why;
    return false;
}

short vnc_conn_events(const struct vnc_conn *c)
{
    bool room = c->in_len < IN_SIZE && c->state != ST_LEAVING && c->state != ST_HELD &&
                c->state != ST_RESULT && !c->to_lib_len;

    return (short)((room ? POLLIN : 0) | (c->out_off < c->out_len ? POLLOUT : 0));
}

short vnc_conn_library_events(const struct vnc_conn *c)
{
    return (short)(POLLIN | (c->to_lib_len ? POLLOUT : 0));
}

int64_t vnc_conn_deadline(const struct vnc_conn *c)
{
    int64_t t = INT64_MAX;

    if (!c->viewer)
        t = c->since + LOGIN_NS;
    if (c->state == ST_HELD)
        t = MIN(t, c->held_until);
    if (c->out_off < c->out_len)
        t = MIN(t, c->progress + STALL_NS);
    return t;
}

/* ---- life ---- */

struct vnc_conn *vnc_conn_new(struct vnc_relay *relay, int fd, const char *peer)
{
    struct vnc_conn *c = X_NEW(struct vnc_conn);

    c->relay = relay;
    c->fd = fd;
    c->lib = -1;
    c->since = c->progress = clock_now_ns();
    c->link = vnc_link_new();
    snprintf(c->peer, sizeof(c->peer), "%s", peer);
    out_add(c, "RFB 003.008\n", VERSION_LEN);
    return c;
}

void vnc_conn_free(struct vnc_conn *c, const char *reason)
{
    if (reason)
        vnc_status(c->relay, "refused %s: %s", c->peer, reason);
    if (c->viewer) {
        c->relay->viewers--;
        vnc_input_leave(&c->relay->input, &c->keys, c->relay->viewers == 0);
        vnc_status(c->relay, "disconnect %s", c->peer);
        vnc_status(c->relay, "viewers %u", c->relay->viewers);
    }
    fd_close(&c->fd);
    fd_close(&c->lib);
    vnc_link_put(c->link);
    x_free(c->out);
    x_free(c);
}
