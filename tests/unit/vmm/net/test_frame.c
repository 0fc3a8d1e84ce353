/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums and fragments of frames. */
#include "tests/lib/test.h"

#include <string.h>

#include "vmm/net/frame.h"

#define IP      20u
#define PAYLOAD 5000u

/* The sum of RFC 1071 word by word; 0 over what has its checksum in it. */
static unsigned sum(const uint8_t *p, size_t len)
{
    uint32_t s = 0;

    for (size_t i = 0; i < len; i++)
        s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return ~s & 0xffff;
}

static void fill(uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 7 + i / 251);
}

static size_t udp_frame(uint8_t *f, size_t payload)
{
    uint8_t *ip = f + NET_ETHERNET;

    fill(f, NET_ETHERNET + IP + payload);
    f[12] = 8;
    f[13] = 0;
    memset(ip, 0, IP);
    ip[0] = 0x45;
    ip[2] = (uint8_t)((IP + payload) >> 8);
    ip[3] = (uint8_t)(IP + payload);
    ip[9] = 17;
    return NET_ETHERNET + IP + payload;
}

static void checksums(void **state)
{
    uint8_t f[100];

    (void)state;
    for (size_t len = 20; len <= sizeof(f); len++) {
        fill(f, len);
        f[16] = f[17] = 0;
        assert_true(net_checksum_complete(f, len, 10, 6));
        assert_int_equal(sum(f + 10, len - 10), 0);
    }
    assert_true(net_checksum_complete(f, 20, 18, 0));
    assert_false(net_checksum_complete(f, 20, 18, 1));
    assert_false(net_checksum_complete(f, 20, 21, 0));
    assert_false(net_checksum_complete(f, 20, SIZE_MAX, 0));
    assert_false(net_checksum_complete(f, 20, 0, 65535));
}

static void fragments_put_together_are_the_packet(void **state)
{
    static uint8_t frame[NET_ETHERNET + IP + PAYLOAD], out[NET_ETHERNET + 1500], all[PAYLOAD];
    size_t len = udp_frame(frame, PAYLOAD), at = 0, done = 0;
    const uint8_t *ip = out + NET_ETHERNET;

    (void)state;
    assert_true(net_needs_fragments(frame, len, 1500));
    do {
        assert_int_equal(done, at);
        size_t n = net_fragment(frame, len, 1500, &at, out) - NET_ETHERNET - IP;
        unsigned where = (unsigned)(ip[6] << 8 | ip[7]);

        assert_in_range(n, 1, 1480);
        assert_memory_equal(out, frame, NET_ETHERNET);
        assert_int_equal(ip[2] << 8 | ip[3], IP + n);
        assert_int_equal(sum(ip, IP), 0);
        assert_int_equal((where & 0x1fff) * 8, done);
        assert_int_equal(!!(where & 0x2000), at != 0);
        memcpy(all + done, ip + IP, n);
        done += n;
    } while (at);
    assert_int_equal(done, PAYLOAD);
    assert_memory_equal(all, frame + NET_ETHERNET + IP, PAYLOAD);
}

static void what_is_no_long_ipv4_packet_stays_whole(void **state)
{
    static uint8_t frame[NET_ETHERNET + IP + PAYLOAD];
    size_t len = udp_frame(frame, PAYLOAD);
    uint8_t *ip = frame + NET_ETHERNET;

    (void)state;
    assert_false(net_needs_fragments(frame, len, IP + PAYLOAD));
    assert_false(net_needs_fragments(frame, len, 20)); /* no room for a payload */
    assert_false(net_needs_fragments(frame, len - 1, 1500));
    assert_false(net_needs_fragments(frame, 10, 1500));
    ip[0] = 0x44; /* header too short */
    assert_false(net_needs_fragments(frame, len, 1500));
    ip[0] = 0x65;
    assert_false(net_needs_fragments(frame, len, 1500));
    ip[0] = 0x45;
    frame[13] = 6;
    assert_false(net_needs_fragments(frame, len, 1500));
    assert_false(net_is_tcp4(frame, len));
    frame[13] = 0;
    assert_false(net_is_tcp4(frame, len));
    ip[9] = 6;
    assert_true(net_is_tcp4(frame, len));
    ip[6] = 0x20; /* a fragment has no checksum of its own */
    assert_false(net_is_tcp4(frame, len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums),
        cmocka_unit_test(fragments_put_together_are_the_packet),
        cmocka_unit_test(what_is_no_long_ipv4_packet_stays_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
