/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net between its rings and a frame socket. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/vdriver.h"
#include "vmm/net/netdev.h"

#define RX  0
#define TX  1
#define HDR 12
#define BUF 0x200000u

#define F_CSUM      (UINT64_C(1) << 0)
#define F_MRG_RXBUF (UINT64_C(1) << 15)

struct fixture {
    struct devtest t;
    struct loop *loop;
    struct netdev *nd;
    int peer;
    struct dev *dev;
    struct vdriver d;
};

static int setup(void **state)
{
    static struct fixture f;
    struct err e = ERR_INIT;
    int sv[2];

    dt_init(&f.t);
    f.loop = f.t.env.loop = loop_new(&e);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
    f.peer = sv[1];
    f.nd = netdev_open(sv[0], f.loop);
    f.dev = dt_new(&f.t, "virtio-net");
    dev_set_ptr(f.dev, "netdev", f.nd);
    dev_set_str(f.dev, "mac", "52:54:00:aa:bb:cc");
    dt_realize(f.dev);
    vd_init(&f.d, &f.t);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dev_free(f->dev);
    netdev_close(f->nd);
    close(f->peer);
    loop_free(f->loop);
    dt_fini(&f->t);
    return 0;
}

static void settle(struct fixture *f)
{
    for (unsigned i = 0; i < 4; i++)
        loop_step(f->loop, 1);
}

static ssize_t frame_from_guest(struct fixture *f, void *buf, size_t size)
{
    return recv(f->peer, buf, size, MSG_DONTWAIT);
}

static void send_to_guest(struct fixture *f, uint8_t fill, size_t len)
{
    uint8_t frame[4096];

    memset(frame, fill, sizeof(frame));
    assert_int_equal(send(f->peer, frame, len, 0), len);
}

static void configuration(void **state)
{
    static const uint8_t mac[] = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc};
    struct fixture *f = *state;

    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(dt_read(&f->t, f->d.config + i, 1), mac[i]);
    assert_int_equal(dt_read(&f->t, f->d.config + 6, 2), 1); /* link up */
    assert_int_equal(dt_read(&f->t, f->d.config + 10, 2), NET_MTU);
}

static void frames_out(void **state)
{
    struct fixture *f = *state;
    uint8_t pattern[200], got[4096];
    const struct vd_seg segs[] = {
        {BUF, HDR - 5, false}, {BUF + HDR - 5, 100, false}, {BUF + HDR + 95, 105, false}};
    uint32_t head, len;

    for (unsigned i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)i;
    assert_true(mem_write(f->t.mem, BUF + HDR, pattern, sizeof(pattern)));
    vd_start(&f->d, 0, 2);
    vd_chain(&f->d, TX, 0, segs, 3); /* the header does not end where a segment does */
    vd_kick(&f->d, TX);
    assert_true(vd_used(&f->d, TX, &head, &len));
    assert_int_equal(frame_from_guest(f, got, sizeof(got)), 200);
    assert_memory_equal(got, pattern, 200);
}

static void odd_frames_out(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg only_header = {BUF, HDR, false}, huge = {BUF, 100000, false},
                        half = {BUF, 5, false}, wrong_way = {BUF, 100, true};
    const struct vd_seg *all[] = {&only_header, &huge, &half, &wrong_way};
    uint8_t got[64];
    uint32_t head, len;

    vd_start(&f->d, 0, 2);
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        vd_chain(&f->d, TX, (uint16_t)i, all[i], 1);
        vd_kick(&f->d, TX);
        assert_true(vd_used(&f->d, TX, &head, &len));
        assert_int_equal(head, i);
        assert_int_equal(frame_from_guest(f, got, sizeof(got)), -1);
    }
    assert_false(vd_broken(&f->d));
}

static void frames_in(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg segs[] = {{BUF, 40, true}, {BUF + 0x1000, 2000, true}};
    uint8_t got[100];
    uint32_t head, len;

    vd_start(&f->d, 0, 2);
    vd_chain(&f->d, RX, 4, segs, 2);
    send_to_guest(f, 0x77, 60);
    settle(f);
    assert_true(vd_used(&f->d, RX, &head, &len));
    assert_int_equal(head, 4);
    assert_int_equal(len, 72);
    assert_true(mem_read(f->t.mem, BUF, got, 40));
    assert_int_equal(ld_le16(got + 10), 1); /* num_buffers */
    assert_int_equal(got[0], 0);
    assert_int_equal(got[12], 0x77);
    assert_true(mem_read(f->t.mem, BUF + 0x1000, got, 32));
    assert_int_equal(got[31], 0x77);
    assert_int_equal(dt_read(&f->t, f->d.isr, 1), 1);
}

/* A frame in as many buffers as it needs; the driver sees none of them before all are there. */
static void frames_in_several_buffers(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg[] = {
        {BUF, 100, true}, {BUF + 0x1000, 100, true}, {BUF + 0x2000, 100, true}};
    uint32_t head, len;
    uint8_t got[12];

    vd_start(&f->d, F_MRG_RXBUF, 2);
    vd_chain(&f->d, RX, 0, &seg[0], 1);
    vd_chain(&f->d, RX, 1, &seg[1], 1);
    send_to_guest(f, 0x77, 250);
    settle(f);
    assert_false(vd_used(&f->d, RX, &head, &len));
    vd_chain(&f->d, RX, 2, &seg[2], 1);
    vd_kick(&f->d, RX);
    settle(f);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(vd_used(&f->d, RX, &head, &len));
        assert_int_equal(head, i);
        assert_int_equal(len, i < 2 ? 100 : 62);
    }
    assert_true(mem_read(f->t.mem, BUF, got, sizeof(got)));
    assert_int_equal(ld_le16(got + 10), 3);
    assert_true(mem_read(f->t.mem, BUF + 0x2000 + 61, got, 1));
    assert_int_equal(got[0], 0x77);
}

/* What a checksum of the driver's choice asks for is done inside the frame or the frame is dropped.
 */
static void checksums_are_completed(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg = {BUF, HDR + 60, false};
    static const struct {
        uint16_t start, offset;
        bool good;
    } cases[] = {
        {34, 16, true}, {0, 58, true}, {34, 25, false}, {61, 0, false}, {65535, 65535, false}};
    uint8_t frame[HDR + 60] = {1}, got[64];
    uint32_t head, len;

    vd_start(&f->d, F_CSUM, 2);
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        st_le16(frame + 6, cases[i].start);
        st_le16(frame + 8, cases[i].offset);
        frame[HDR + 40] = 0x12;
        frame[HDR + 43] = 0x34;
        assert_true(mem_write(f->t.mem, BUF, frame, sizeof(frame)));
        vd_chain(&f->d, TX, (uint16_t)i, &seg, 1);
        vd_kick(&f->d, TX);
        assert_true(vd_used(&f->d, TX, &head, &len));
        assert_int_equal(frame_from_guest(f, got, sizeof(got)), cases[i].good ? 60 : -1);
        if (cases[i].good) {
            uint8_t *sum = got + cases[i].start + cases[i].offset;
            assert_int_equal(sum[0] << 8 | sum[1], 0xffff - 0x1234);
        }
    }
    assert_false(vd_broken(&f->d));
}

/* Without a buffer the frame waits, and what follows waits in the socket. */
static void frames_wait_for_buffers(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg = {BUF, 2000, true};
    uint32_t head, len;
    uint8_t byte;

    vd_start(&f->d, VD_F_EVENT_IDX, 2);
    for (unsigned i = 0; i < 3; i++)
        send_to_guest(f, (uint8_t)(i + 1), 60 + i);
    settle(f);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(vd_used(&f->d, RX, &head, &len));
        vd_chain(&f->d, RX, 0, &seg, 1);
        vd_kick(&f->d, RX);
        settle(f);
        assert_true(vd_used(&f->d, RX, &head, &len));
        assert_int_equal(len, HDR + 60 + i);
        assert_true(mem_read(f->t.mem, BUF + HDR, &byte, 1));
        assert_int_equal(byte, i + 1);
    }
}

static void a_small_buffer_drops_the_frame(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg small = {BUF, 50, true};
    uint32_t head, len;

    vd_start(&f->d, 0, 2);
    vd_chain(&f->d, RX, 0, &small, 1);
    send_to_guest(f, 1, 60);
    send_to_guest(f, 2, 38);
    settle(f);
    assert_true(vd_used(&f->d, RX, &head, &len)); /* the buffer is still good for what fits */
    assert_int_equal(len, 50);
}

static void no_driver_no_frames(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg = {BUF, 2000, true};
    uint32_t head, len;

    send_to_guest(f, 1, 60); /* lost */
    settle(f);
    vd_start(&f->d, 0, 2);
    vd_chain(&f->d, RX, 0, &seg, 1);
    vd_kick(&f->d, RX);
    settle(f);
    assert_false(vd_used(&f->d, RX, &head, &len));
    send_to_guest(f, 1, 61);
    settle(f);
    assert_true(vd_used(&f->d, RX, &head, &len));
    assert_int_equal(len, HDR + 61);
}

static void reset_with_a_frame_held(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg = {BUF, 2000, true};
    uint32_t head, len;

    vd_start(&f->d, 0, 2);
    send_to_guest(f, 1, 60);
    send_to_guest(f, 2, 61);
    settle(f);
    vd_start(&f->d, 0, 2); /* the driver comes again; it may find what waited */
    vd_chain(&f->d, RX, 0, &seg, 1);
    vd_kick(&f->d, RX);
    settle(f);
    assert_true(vd_used(&f->d, RX, &head, &len));
}

static void a_peer_that_does_not_read(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg = {BUF, 1500, false};
    uint32_t head, len, sent = 0, got = 0;
    uint8_t frame[2048];

    vd_start(&f->d, VD_F_EVENT_IDX, 2);
    do {
        vd_chain(&f->d, TX, 0, &seg, 1);
        vd_kick(&f->d, TX);
        assert_in_range(sent++, 0, 5000); /* then the socket is full */
    } while (vd_used(&f->d, TX, &head, &len));
    for (unsigned i = 0; got < sent && i < 5000;
         i++) { /* the last one waits in the ring and comes, too */
        got += frame_from_guest(f, frame, sizeof(frame)) > 0;
        loop_step(f->loop, 0);
    }
    assert_int_equal(got, sent);
    assert_true(vd_used(&f->d, TX, &head, &len));
}

static void the_peer_goes_away(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg = {BUF, 100, false};
    uint32_t head, len;

    vd_start(&f->d, 0, 2);
    close(f->peer);
    settle(f);
    vd_chain(&f->d, TX, 0, &seg, 1);
    vd_kick(&f->d, TX);
    assert_true(vd_used(&f->d, TX, &head, &len));
    f->peer = dup(0);
}

static void no_network_is_link_down(void **state)
{
    struct devtest t;
    struct vdriver d;
    struct err e = ERR_INIT;

    (void)state;
    dt_init(&t);
    struct dev *dev = dt_add(&t, "virtio-net");
    vd_init(&d, &t);
    assert_int_equal(dt_read(&t, d.config + 6, 2), 0);
    vd_start(&d, 0, 2);
    vd_kick(&d, RX);
    vd_kick(&d, TX);
    dev_free(dev);
    dev = dt_new(&t, "virtio-net");
    dev_set_str(dev, "mac", "52:54:00:12:34:5x");
    assert_false(dev_realize(dev, &e));
    dev_free(dev);
    dt_fini(&t);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(configuration),
        T(frames_out),
        T(odd_frames_out),
        T(frames_in),
        T(frames_in_several_buffers),
        T(checksums_are_completed),
        T(frames_wait_for_buffers),
        T(a_small_buffer_drops_the_frame),
        T(no_driver_no_frames),
        T(reset_with_a_frame_held),
        T(a_peer_that_does_not_read),
        T(the_peer_goes_away),
        cmocka_unit_test(no_network_is_link_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
