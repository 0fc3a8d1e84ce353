/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The net process: user-mode NAT by libslirp between a SOCK_SEQPACKET of Ethernet frames and the
 * host's sockets. Guest network 10.0.2.0/24: gateway 10.0.2.2, DNS 10.0.2.3, first lease 10.0.2.15.
 */
#ifndef VMDECK_NET_USER_H
#define VMDECK_NET_USER_H

#include <netinet/in.h>
#include <stdbool.h>

#include "vmm/base/err.h"

struct net_forward {
    bool udp;
    struct in_addr host;
    uint16_t host_port, guest_port;
};

struct net_user_cfg {
    int sock;
    char hostname[64]; /* what DHCP tells the guest */
    const struct net_forward *forwards;
    unsigned forward_count;
    bool restrict_; /* guest reaches nothing but forwards */
};

/* Runs until sock closes. False when it could not start: a forward's port is taken, say. ready (an
 * fd, or -1) gets one byte when the forwards stand. */
bool net_user_run(const struct net_user_cfg *cfg, int ready, struct err *e);

#endif
