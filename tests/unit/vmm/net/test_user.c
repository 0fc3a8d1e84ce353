/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user-mode network from the guest's side: frames made by hand over the frame socket. */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/buf.h"
#include "vmm/net/netdev.h"
#include "vmm/net/user.h"

#define ETH  14
#define IP   20
#define WAIT 5000

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
#define GUEST   0x0a00020fu
#define GATEWAY 0x0a000202u

struct fixture {
    int sock; /* the guest's end */
    struct net_forward forwards[2];
    struct net_user_cfg cfg;
    int ready[2];
    pthread_t thread;
    bool ok;
    struct err e;
    uint8_t gateway_mac[6];
};

static void *run(void *arg)
{
    struct fixture *f = arg;

    f->ok = net_user_run(&f->cfg, f->ready[1], &f->e);
    return NULL;
}

static void start(struct fixture *f)
{
    int sv[2];
    char byte;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
    f->sock = sv[0];
    f->cfg.sock = sv[1];
    f->cfg.forwards = f->forwards;
    str_copy(f->cfg.hostname, sizeof(f->cfg.hostname), "guest");
    f->e = (struct err)ERR_INIT;
    assert_int_equal(pipe(f->ready), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
    assert_int_equal(read(f->ready[0], &byte, 1), 1);
}

static void stop(struct fixture *f)
{
    close(f->sock); /* ends it */
    pthread_join(f->thread, NULL);
    assert_true(f->ok);
    close(f->cfg.sock);
    close(f->ready[0]);
    close(f->ready[1]);
}

/* ---- frames ---- */

static uint16_t checksum(const uint8_t *p, size_t len, uint32_t sum)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += ld_be16(p + i);
    if (len % 2)
        sum += (uint32_t)p[len - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static uint8_t *ethernet(uint8_t *frame, const uint8_t *to, uint16_t type)
{
    memcpy(frame, to, 6);
    memcpy(frame + 6, guest_mac, 6);
    st_be16(frame + 12, type);
    return frame + ETH;
}

/* Header for len bytes of payload, which follow it. */
static uint8_t *ip(uint8_t *p, uint8_t protocol, uint32_t from, uint32_t to, size_t len)
{
    memset(p, 0, IP);
    p[0] = 0x45;
    st_be16(p + 2, (uint16_t)(IP + len));
    p[8] = 64;
    p[9] = protocol;
    st_be32(p + 12, from);
    st_be32(p + 16, to);
    st_be16(p + 10, checksum(p, IP, 0));
    return p + IP;
}

static void put(struct fixture *f, const void *frame, size_t len)
{
    assert_int_equal(send(f->sock, frame, len, 0), len);
}

/* Answers ARP requests for the guest on the way; false after ms without a frame. */
static bool get(struct fixture *f, uint8_t *frame, size_t size, size_t *len, int ms)
{
    for (;;) {
        struct pollfd p = {.fd = f->sock, .events = POLLIN};
        if (poll(&p, 1, ms) != 1)
            return false;
        ssize_t n = recv(f->sock, frame, size, 0);
        assert_true(n >= ETH);
        *len = (size_t)n;
        if (ld_be16(frame + 12) != 0x0806 || ld_be16(frame + ETH + 6) != 1)
            return true;
        uint8_t reply[ETH + 28];
        uint8_t *a = ethernet(reply, frame + 6, 0x0806);
        memcpy(a, frame + ETH, 28);
        st_be16(a + 6, 2);
        memcpy(a + 8, guest_mac, 6);
        memcpy(a + 14, frame + ETH + 24, 4);
        memcpy(a + 18, frame + ETH + 8, 10);
        put(f, reply, sizeof(reply));
    }
}

/* The next IP packet of a protocol; its payload. */
static uint8_t *get_ip(struct fixture *f, uint8_t *frame, size_t size, uint8_t protocol)
{
    size_t len;

    do {
        assert_true(get(f, frame, size, &len, WAIT));
    } while (ld_be16(frame + 12) != 0x0800 || frame[ETH + 9] != protocol);
    assert_int_equal(checksum(frame + ETH, IP, 0), 0);
    return frame + ETH + IP;
}

static void learn_gateway(struct fixture *f)
{
    static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
    uint8_t frame[2048] = {0};
    uint8_t *a = ethernet(frame, broadcast, 0x0806);
    size_t len;

    st_be16(a, 1);
    st_be16(a + 2, 0x0800);
    a[4] = 6;
    a[5] = 4;
    st_be16(a + 6, 1);
    memcpy(a + 8, guest_mac, 6);
    st_be32(a + 14, GUEST);
    st_be32(a + 24, GATEWAY);
    put(f, frame, ETH + 28);
    assert_true(get(f, frame, sizeof(frame), &len, WAIT));
    assert_int_equal(ld_be16(frame + 12), 0x0806);
    assert_int_equal(ld_be16(a + 6), 2);
    assert_int_equal(ld_be32(a + 14), GATEWAY);
    memcpy(f->gateway_mac, a + 8, 6);
}

static void put_tcp(struct fixture *f, uint16_t from, uint16_t to, uint32_t seq, uint32_t ack,
                    uint8_t flags)
{
    uint8_t frame[ETH + IP + 20] = {0};
    uint8_t *h = ethernet(frame, f->gateway_mac, 0x0800);
    uint8_t *t = ip(h, 6, GUEST, GATEWAY, 20);

    st_be16(t, from);
    st_be16(t + 2, to);
    st_be32(t + 4, seq);
    st_be32(t + 8, ack);
    t[12] = 5 << 4;
    t[13] = flags;
    st_be16(t + 14, 8192);
    st_be16(t + 16, checksum(t, 20,
                             (GUEST >> 16) + (GUEST & 0xffff) + (GATEWAY >> 16) +
                                 (GATEWAY & 0xffff) + 6 + 20));
    put(f, frame, sizeof(frame));
}

/* A listening socket on loopback; its port. */
static int listener(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(s, 4), 0);
    assert_int_equal(getsockname(s, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return s;
}

/* A port that nobody uses right now. */
static uint16_t free_port(void)
{
    uint16_t port;

    close(listener(&port));
    return port;
}

/* ---- tests ---- */

static void dhcp_offers_an_address(void **state)
{
    static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
    static const uint8_t options[] = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255}; /* DISCOVER */
    struct fixture f = {0};
    uint8_t frame[2048] = {0};

    (void)state;
    start(&f);
    uint8_t *u = ip(ethernet(frame, broadcast, 0x0800), 17, 0, UINT32_MAX, 8 + 300);
    st_be16(u, 68);
    st_be16(u + 2, 67);
    st_be16(u + 4, 8 + 300);
    uint8_t *b = u + 8;
    b[0] = 1;
    b[1] = 1;
    b[2] = 6;
    st_be32(b + 4, 0x12345678);
    memcpy(b + 28, guest_mac, 6);
    memcpy(b + 236, options, sizeof(options));
    put(&f, frame, ETH + IP + 8 + 300);
    u = get_ip(&f, frame, sizeof(frame), 17);
    b = u + 8;
    assert_int_equal(b[0], 2);
    assert_int_equal(ld_be32(b + 4), 0x12345678);
    assert_int_equal(ld_be32(b + 16), GUEST);
    bool router = false, dns = false;
    for (uint8_t *o = b + 240; *o != 255 && o < frame + sizeof(frame) - 6; o += 2 + o[1]) {
        router |= o[0] == 3 && ld_be32(o + 2) == GATEWAY;
        dns |= o[0] == 6 && ld_be32(o + 2) == 0x0a000203;
    }
    assert_true(router && dns);
    stop(&f);
}

static void the_gateway_answers_ping(void **state)
{
    struct fixture f = {0};
    uint8_t frame[2048] = {0};

    (void)state;
    start(&f);
    learn_gateway(&f);
    uint8_t *c = ip(ethernet(frame, f.gateway_mac, 0x0800), 1, GUEST, GATEWAY, 16);
    memset(c, 0, 16);
    c[0] = 8;
    st_be16(c + 4, 77);
    memcpy(c + 8, "vmdeck!!", 8);
    st_be16(c + 2, checksum(c, 16, 0));
    put(&f, frame, ETH + IP + 16);
    c = get_ip(&f, frame, sizeof(frame), 1);
    assert_int_equal(c[0], 0);
    assert_int_equal(ld_be16(c + 4), 77);
    assert_memory_equal(c + 8, "vmdeck!!", 8);
    stop(&f);
}

static void the_guest_reaches_the_host_at_the_gateway(void **state)
{
    struct fixture f = {0};
    uint8_t frame[2048];
    uint16_t port;
    int host = listener(&port);

    (void)state;
    start(&f);
    learn_gateway(&f);
    put_tcp(&f, 4000, port, 1000, 0, 2); /* SYN */
    uint8_t *t = get_ip(&f, frame, sizeof(frame), 6);
    assert_int_equal(t[13] & 0x3f, 0x12); /* SYN ACK */
    assert_int_equal(ld_be32(t + 8), 1001);
    put_tcp(&f, 4000, port, 1001, ld_be32(t + 4) + 1, 0x10);
    int c = accept(host, NULL, NULL);
    assert_true(c >= 0);
    assert_int_equal(write(c, "hello", 5), 5);
    do {
        t = get_ip(&f, frame, sizeof(frame), 6);
    } while (ld_be16(frame + ETH + 2) <= IP + (t[12] >> 4) * 4u);
    assert_memory_equal(t + (t[12] >> 4) * 4u, "hello", 5);
    close(c);
    close(host);
    stop(&f);
}

static void a_closed_port_is_refused(void **state)
{
    struct fixture f = {0};
    uint8_t frame[2048];

    (void)state;
    start(&f);
    learn_gateway(&f);
    put_tcp(&f, 4000, free_port(), 1000, 0, 2);
    uint8_t *t = get_ip(&f, frame, sizeof(frame), 6);
    assert_true(t[13] & 4); /* RST */
    stop(&f);
}

static void forwards_reach_the_guest(void **state)
{
    struct fixture f = {0};
    uint8_t frame[2048];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

    (void)state;
    f.forwards[0] = (struct net_forward){
        .host = {htonl(INADDR_LOOPBACK)}, .host_port = free_port(), .guest_port = 80};
    f.forwards[1] = (struct net_forward){
        .udp = true, .host = {htonl(INADDR_LOOPBACK)}, .host_port = free_port(), .guest_port = 53};
    f.cfg.forward_count = 2;
    start(&f);
    learn_gateway(&f);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    a.sin_port = htons(f.forwards[0].host_port);
    connect(s, (struct sockaddr *)&a, sizeof(a));
    uint8_t *t = get_ip(&f, frame, sizeof(frame), 6);
    assert_int_equal(ld_be16(t + 2), 80);
    assert_int_equal(t[13] & 0x3f, 2); /* SYN */
    assert_int_equal(ld_be32(frame + ETH + 16), GUEST);
    close(s);
    s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    a.sin_port = htons(f.forwards[1].host_port);
    assert_int_equal(sendto(s, "ask", 3, 0, (struct sockaddr *)&a, sizeof(a)), 3);
    t = get_ip(&f, frame, sizeof(frame), 17);
    assert_int_equal(ld_be16(t + 2), 53);
    assert_memory_equal(t + 8, "ask", 3);
    close(s);
    stop(&f);
}

static void a_taken_port_is_an_error(void **state)
{
    struct fixture f = {0};
    char want[32];
    uint16_t port;
    int taken = listener(&port), sv[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
    f.forwards[0] =
        (struct net_forward){.host = {htonl(INADDR_LOOPBACK)}, .host_port = port, .guest_port = 80};
    f.cfg = (struct net_user_cfg){.sock = sv[0], .forwards = f.forwards, .forward_count = 1};
    assert_false(net_user_run(&f.cfg, -1, &f.e));
    snprintf(want, sizeof(want), "127.0.0.1:%u", port);
    assert_non_null(strstr(f.e.msg, want));
    assert_non_null(strstr(f.e.msg, "in use"));
    assert_int_equal(f.e.code, ERR_BUSY);
    close(sv[0]);
    close(sv[1]);
    close(taken);
}

static void odd_frames_are_survived(void **state)
{
    struct fixture f = {0};
    uint8_t frame[65000];
    uint64_t seed = 0x853c49e6748fea9b;
    static const uint16_t sizes[] = {1, 13, 14, 15, 34, 42, 60, 1514, 1519, 9000, 65000};

    (void)state;
    start(&f);
    for (unsigned n = 0; n < 3000; n++) {
        size_t len = sizes[n % ARRAY_LEN(sizes)];
        for (size_t i = 0; i < len && i < 128; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            frame[i] = (uint8_t)(seed >> 56);
        }
        if (len > ETH)
            ethernet(frame, guest_mac, n & 1 ? 0x0800 : 0x0806);
        put(&f, frame, len);
        while (recv(f.sock, frame, sizeof(frame), MSG_DONTWAIT) > 0) {
        }
    }
    learn_gateway(&f);
    stop(&f);
}

/* A guest that never reads costs the NAT its frames and nothing else. */
static void a_guest_that_does_not_read(void **state)
{
    struct fixture f = {0};
    uint8_t frame[2048] = {0};

    (void)state;
    start(&f);
    learn_gateway(&f);
    uint8_t *c = ip(ethernet(frame, f.gateway_mac, 0x0800), 1, GUEST, GATEWAY, 1400);
    c[0] = 8;
    st_be16(c + 2, checksum(c, 1400, 0));
    for (unsigned n = 0; n < 2000; n++)
        put(&f, frame, ETH + IP + 1400);
    while (recv(f.sock, frame, sizeof(frame), MSG_DONTWAIT) > 0) {
    }
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dhcp_offers_an_address),
        cmocka_unit_test(the_gateway_answers_ping),
        cmocka_unit_test(the_guest_reaches_the_host_at_the_gateway),
        cmocka_unit_test(a_closed_port_is_refused),
        cmocka_unit_test(forwards_reach_the_guest),
        cmocka_unit_test(a_taken_port_is_an_error),
        cmocka_unit_test(odd_frames_are_survived),
        cmocka_unit_test(a_guest_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
