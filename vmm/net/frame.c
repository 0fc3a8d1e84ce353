/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/net/frame.h"

#include <string.h>

#include "vmm/base/bits.h"

#define IP_MIN    20u
#define IP_MORE   0x2000u
#define IP_OFFSET 0x1fffu
#define IP_TCP    6u
#define TYPE_IPV4 0x0800u
#define MTU_MIN   576u

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put_be16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* RFC 1071, the sum in memory's byte order. */
static uint16_t checksum(const uint8_t *p, size_t len)
{
    uint64_t sum = 0;

    for (; len >= 4; p += 4, len -= 4)
        sum += ld_le32(p);
    if (len >= 2)
        sum += ld_le16(p);
    if (len & 1)
        sum += p[len & 2];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

bool net_checksum_complete(uint8_t *frame, size_t len, size_t start, size_t offset)
{
    if (start > len || offset + 2 > len - start)
        return false;
    uint16_t sum = checksum(frame + start, len - start);
    st_le16(frame + start + offset,
            sum ? sum : 0xffff); /* zero means none in UDP, and the two are the same number */
    return true;
}

/* Length of the header of the IPv4 packet in the frame, and of the packet; 0: there is none. */
static size_t ip_header(const uint8_t *frame, size_t len, size_t *total)
{
    const uint8_t *ip = frame + NET_ETHERNET;

    if (len < NET_ETHERNET + IP_MIN || be16(frame + 12) != TYPE_IPV4 || ip[0] >> 4 != 4)
        return 0;
    size_t header = 4u * (ip[0] & 15u);
    *total = be16(ip + 2);
    return header >= IP_MIN && header <= *total && *total <= len - NET_ETHERNET ? header : 0;
}

bool net_is_tcp4(const uint8_t *frame, size_t len)
{
    const uint8_t *ip = frame + NET_ETHERNET;
    size_t total;

    return ip_header(frame, len, &total) && ip[9] == IP_TCP &&
           !(be16(ip + 6) & (IP_MORE | IP_OFFSET));
}

bool net_needs_fragments(const uint8_t *frame, size_t len, size_t mtu)
{
    size_t total;

    return mtu >= MTU_MIN && len > NET_ETHERNET + mtu && ip_header(frame, len, &total) &&
           total > mtu;
}

size_t net_fragment(const uint8_t *frame, size_t len, size_t mtu, size_t *at, uint8_t *out)
{
    size_t total = 0, header = ip_header(frame, len, &total), front = NET_ETHERNET + header;
    size_t left = total - header - *at;
    size_t n = MIN(left, (mtu - header) & ~(size_t)7);
    uint8_t *ip = out + NET_ETHERNET;

    memcpy(out, frame, front);
    memcpy(out + front, frame + front + *at, n);
    unsigned where = be16(ip + 6);
    put_be16(ip + 6,
             (where & IP_MORE) | (n < left ? IP_MORE : 0) | ((where + *at / 8) & IP_OFFSET));
    put_be16(ip + 2, (unsigned)(header + n));
    put_be16(ip + 10, 0);
    st_le16(ip + 10, checksum(ip, header));
    *at = n < left ? *at + n : 0;
    return front + n;
}
