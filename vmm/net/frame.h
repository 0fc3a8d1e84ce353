/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to Ethernet frames on their way: checksums left to the hardware, and IPv4 fragments
 * for drivers that take no long frames. Contents are the guest's or the network's: any bytes are
 * allowed. */
#ifndef VMDECK_NET_FRAME_H
#define VMDECK_NET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_ETHERNET 14u /* bytes in front of a packet */

/* Stores the Internet checksum of the bytes from start on at start + offset, where the sum of the
 * pseudo-header is. False: the field is not inside. */
bool net_checksum_complete(uint8_t *frame, size_t len, size_t start, size_t offset);
bool net_is_tcp4(const uint8_t *frame, size_t len);
/* An IPv4 packet that does not fit an MTU of at least 576. */
bool net_needs_fragments(const uint8_t *frame, size_t len, size_t mtu);
/* Of such a frame, makes the fragment that begins with byte *at of the payload in out (NET_ETHERNET
 * + mtu bytes) and sets *at to where the next one begins, 0 after the last. Returns its length. */
size_t net_fragment(const uint8_t *frame, size_t len, size_t mtu, size_t *at, uint8_t *out);

#endif
