/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What two viewers may send to the relay in front of libvncserver, in pieces of any size. In the library's place
 * stands a reader that accepts nothing but the whole, checked messages that the library is promised. What the VM gets
 * must be in range, and no key or button may stay down when the viewers are gone.
 *
 * The input is a list of pieces: a byte with the viewer (bit 7) and a length, then the data. Length 0 is another
 * byte: what the library or time does. */
#include <linux/input-event-codes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "display/vnc_priv.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VIEWERS 2
#define WIDTH   640
#define HEIGHT  480
#define ANSWER  16 /* bytes of a viewer's answer to the challenge */

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* ---- the library ---- */

struct library {
    int sock;
    struct vnc_link *link;
    enum { LIB_VERSION, LIB_SECURITY, LIB_ANSWER, LIB_INIT, LIB_NORMAL } state;
    uint8_t in[16384];
    unsigned len;
};

static struct viewer {
    struct vnc_conn *conn;
    int sock;
    struct library lib;
} viewers[VIEWERS], *joining;

struct vnc_link *vnc_link_new(void)
{
    struct vnc_link *link = calloc(1, sizeof(*link));

    must(link != NULL);
    link->refs = 1;
    return link;
}

void vnc_link_put(struct vnc_link *link)
{
    if (--link->refs == 0)
        free(link);
}

void vnc_server_add(struct vnc_server *srv, int sock, struct vnc_link *link)
{
    (void)srv;
    must(joining && joining->lib.sock < 0);
    link->refs++;
    joining->lib = (struct library){.sock = sock, .link = link};
    fd_set_nonblock(sock, true);
}

void vnc_server_size(const struct vnc_server *srv, unsigned *width, unsigned *height)
{
    (void)srv;
    *width = WIDTH;
    *height = HEIGHT;
}

struct vnc_peer *vnc_peer_find(struct vnc_relay *relay, const char *name, int64_t now)
{
    (void)name;
    (void)now;
    return &relay->peers[0];
}

void vnc_status(struct vnc_relay *relay, const char *fmt, ...)
{
    (void)relay;
    (void)fmt;
}

static void library_close(struct library *l)
{
    if (l->sock < 0)
        return;
    fd_close(&l->sock);
    vnc_link_put(l->link);
}

static void library_write(struct library *l, const void *p, size_t n)
{
    if (l->sock >= 0)
        (void)!send(l->sock, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The library divides and shifts by these. */
static void check_pixel_format(const uint8_t *f)
{
    must(f[0] == 8 || f[0] == 16 || f[0] == 32);
    for (unsigned i = 0; f[3] && i < 3; i++)
        must(ld_be16(f + 4 + 2 * i) > 0 && f[10 + i] < f[0]);
}

/* Length of the message, 0: not all there. */
static unsigned message(const uint8_t *p, unsigned n)
{
    unsigned len = 0;

    switch (p[0]) {
    case 0:
        if (n >= 20)
            check_pixel_format(p + 4);
        len = 20;
        break;
    case 2:
        if (n < 4)
            return 0;
        len = 4 + 4u * ld_be16(p + 2);
        for (unsigned i = 4; n >= len && i < len; i += 4)
            must(ld_be32(p + i) == 0x574d5668 ||
                 ((int32_t)ld_be32(p + i) > -310 && (int32_t)ld_be32(p + i) <= 16));
        break;
    case 3: len = 10; break;
    case 251:
        if (n < 8)
            return 0;
        len = 8 + 16u * p[6];
        break;
    default: abort();
    }
    must(len <= sizeof(((struct library *)0)->in));
    return n >= len ? len : 0;
}

static unsigned library_unit(struct library *l)
{
    switch (l->state) {
    case LIB_VERSION:
        if (l->len < 12)
            return 0;
        must(!memcmp(l->in, "RFB 003.00", 10) && strchr("378", l->in[10]) && l->in[11] == '\n');
        l->state = l->in[10] == '3' ? LIB_ANSWER : LIB_SECURITY;
        return 12;
    case LIB_SECURITY:
        must(l->in[0] == 2);
        l->state = LIB_ANSWER;
        return 1;
    case LIB_ANSWER:
        if (l->len < ANSWER)
            return 0;
        l->link->auth = l->in[0] & 1 ? VNC_AUTH_WRONG : VNC_AUTH_OK;
        l->state = LIB_INIT;
        return ANSWER;
    case LIB_INIT:
        must(l->in[0] == 1 && l->link->auth == VNC_AUTH_OK);
        l->state = LIB_NORMAL;
        return 1;
    default: return message(l->in, l->len);
    }
}

static void library_run(struct library *l)
{
    ssize_t n = l->sock < 0 ? 0 : read(l->sock, l->in + l->len, sizeof(l->in) - l->len);

    if (n > 0)
        l->len += (unsigned)n;
    while (l->sock >= 0 && l->len) {
        unsigned used = library_unit(l);
        if (!used)
            break;
        l->len -= used;
        memmove(l->in, l->in + used, l->len);
        if (l->state == LIB_INIT && l->link->auth == VNC_AUTH_WRONG)
            library_close(l);
    }
}

/* ---- the VM ---- */

static struct {
    int sock;
    bool down[KEY_MAX + 1];
    uint32_t buttons;
} vm;

static void vm_run(void)
{
    struct input_event ev;

    while (recv(vm.sock, &ev, sizeof(ev), MSG_DONTWAIT) == (ssize_t)sizeof(ev)) {
        switch (ev.type) {
        case INPUT_KEY:
            must(ev.code > 0 && ev.code < KEYMAP_CODES && ev.value <= 1);
            vm.down[ev.code] = ev.value;
            break;
        case INPUT_POINTER:
            must(ev.x <= INPUT_ABS_MAX && ev.y <= INPUT_ABS_MAX && ev.value < 32);
            vm.buttons = ev.value;
            break;
        case INPUT_RELEASE_ALL:
            memset(vm.down, 0, sizeof(vm.down));
            vm.buttons = 0;
            break;
        default: abort();
        }
    }
}

/* ---- the program ---- */

static void drain(int fd)
{
    char sink[4096];

    while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
        continue;
}

static void step(struct vnc_relay *relay, struct viewer *v, int64_t now)
{
    const char *reason;

    if (!v->conn)
        return;
    joining = v;
    if (!vnc_conn_step(v->conn, now, &reason)) {
        vnc_conn_free(v->conn, reason);
        v->conn = NULL;
    } else {
        must(vnc_conn_deadline(v->conn) > 0);
        vnc_conn_events(v->conn);
        vnc_conn_library_events(v->conn);
    }
    library_run(&v->lib);
    if (!v->conn)
        library_close(&v->lib);
    drain(v->sock);
    must(vnc_input_flush(&relay->input));
    vm_run();
}

static void happen(struct viewer *v, uint8_t what, int64_t *now)
{
    static const uint8_t frame[1024];

    switch (what & 3) {
    case 0: *now += (what >> 2) * 100 * NS_PER_MS; break;
    case 1: library_write(&v->lib, frame, 4u * (what >> 2)); break;
    case 2: library_close(&v->lib); break;
    default: shutdown(v->sock, SHUT_WR); break;
    }
}

static void arrive(struct vnc_relay *relay, struct viewer *v)
{
    int pair[2];

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    v->sock = pair[1];
    v->lib.sock = -1;
    v->conn = vnc_conn_new(relay, pair[0], "fuzz");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vnc_relay relay;
    int64_t now = clock_now_ns();
    int pair[2];

    log_init("fuzz", 2, LOG_ERROR);
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    memset(&relay, 0, sizeof(relay));
    relay.status_fd = -1;
    relay.input.fd = pair[0];
    relay.input.km = keymap_find(size && data[0] & 0x40 ? "de" : "us");
    vm.sock = pair[1];
    for (unsigned i = 0; i < VIEWERS; i++)
        arrive(&relay, &viewers[i]);
    for (size_t at = 0; at < size;) {
        struct viewer *v = &viewers[data[at] >> 7];
        size_t n = MIN(data[at] & 0x7fu, size - at - 1);

        at++;
        if (n == 0 && at < size)
            happen(v, data[at++], &now);
        else
            (void)!send(v->sock, data + at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        at += n;
        step(&relay, v, now);
    }
    for (unsigned i = 0; i < VIEWERS; i++) {
        struct viewer *v = &viewers[i];

        if (v->conn)
            vnc_conn_free(v->conn, NULL);
        v->conn = NULL;
        library_run(&v->lib);
        library_close(&v->lib);
        close(v->sock);
        must(vnc_input_flush(&relay.input));
        vm_run();
    }
    must(relay.viewers == 0 && relay.input.count == 0 && vm.buttons == 0);
    for (unsigned i = 0; i <= KEY_MAX; i++)
        must(!vm.down[i]);
    close(pair[0]);
    close(pair[1]);
    return 0;
}
