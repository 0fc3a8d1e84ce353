/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network back end seen by a device: Ethernet frames over a SOCK_SEQPACKET socket pair whose other
 * end is the net process (user-mode NAT). One frame a packet, without FCS, no offload headers. */
#ifndef VMDECK_NET_NETDEV_H
#define VMDECK_NET_NETDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/base/loop.h"

#define NET_FRAME_MAX 65550
#define NET_MTU                                                                                    \
    16384u /* what the user-mode network takes and sends: an eighth of the frames of an Ethernet's \
            */
#define NET_MTU_PLAIN 1500u

struct netdev;
/* A frame arrived (loop thread, guard held). Return false when the device has no buffer: the back
 * end keeps the frame and stops reading until netdev_resume. */
typedef bool netdev_rx_fn(void *opaque, const uint8_t *frame, size_t len);

/* sock becomes the back end's. */
struct netdev *netdev_open(int sock, struct loop *loop);
void netdev_close(struct netdev *nd);
/* There is room for frames to send again (loop thread, guard held). */
typedef void netdev_room_fn(void *opaque);
/* NULL for both when the device goes. */
void netdev_set_device(struct netdev *nd, netdev_rx_fn *rx, netdev_room_fn *room, void *opaque);
void netdev_resume(struct netdev *nd);
/* From now on longer IPv4 packets come in fragments. NET_MTU_PLAIN at first. Machine lock. */
void netdev_set_mtu(struct netdev *nd, size_t mtu);
/* Any size to NET_FRAME_MAX. False: the socket is full, the frame was not taken; room will be
 * called. */
bool netdev_tx(struct netdev *nd, const struct iovec *iov, unsigned iovcnt);

#endif
