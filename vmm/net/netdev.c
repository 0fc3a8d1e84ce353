/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device's end of the frame socket. A frame that the device cannot take is kept, and reading
 * stops; one that the socket cannot take stays in the device's ring: nothing grows here. */
#include "vmm/net/netdev.h"

#include <errno.h>
#include <sys/socket.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/net/frame.h"

#define RX_BUDGET 64 /* frames a wake-up */

struct netdev {
    int sock;
    struct loop *loop;
    struct loop_event *again; /* the device has room */
    struct loop_fd *watch;
    netdev_rx_fn *rx;
    netdev_room_fn *room;
    void *opaque;
    bool full;    /* the device refused a frame: not reading until netdev_resume */
    bool waiting; /* for room in the socket */
    size_t held; /* length of the frame in buf that the device did not take; 0: none */
    size_t mtu;
    size_t at; /* where the next fragment of that frame begins */
    uint64_t dropped;
    uint8_t buf[NET_FRAME_MAX], fragment[NET_ETHERNET + NET_MTU];
};

/* False: the device has no room for the rest. */
static bool deliver(struct netdev *nd)
{
    if (!net_needs_fragments(nd->buf, nd->held, nd->mtu))
        return nd->rx(nd->opaque, nd->buf, nd->held);
    do {
        size_t at = nd->at, n = net_fragment(nd->buf, nd->held, nd->mtu, &at, nd->fragment);

        if (!nd->rx(nd->opaque, nd->fragment, n))
            return false;
        nd->at = at;
    } while (nd->at);
    return true;
}

static void watch(struct netdev *nd)
{
    if (nd->watch)
        loop_watch_set(nd->watch, (nd->full ? 0 : LOOP_READ) | (nd->waiting ? LOOP_WRITE : 0));
}

static void tell_room(struct netdev *nd)
{
    if (!nd->waiting)
        return;
    nd->waiting = false;
    watch(nd);
    if (nd->room)
        nd->room(nd->opaque);
}

static void pump(struct netdev *nd)
{
    for (unsigned budget = RX_BUDGET; budget > 0 && nd->rx; budget--) {
        if (!nd->held) {
            ssize_t n = recv(nd->sock, nd->buf, sizeof(nd->buf), MSG_DONTWAIT);
            if (n < 0)
                return;
            if (n == 0) { /* the other end is gone for good */
                if (nd->watch)
                    loop_unwatch(nd->watch);
                nd->watch = NULL;
                tell_room(nd); /* for frames that nobody will read */
                return;
            }
            nd->held = (size_t)n;
        }
        if (!deliver(nd)) {
            nd->full = true;
            watch(nd);
            return;
        }
        nd->held = 0;
    }
}

static void on_ready(void *opaque, unsigned events)
{
    struct netdev *nd = opaque;

    if (events & (LOOP_WRITE | LOOP_HUP))
        tell_room(nd);
    if (events & (LOOP_READ | LOOP_HUP))
        pump(nd);
}

/* What a vCPU thread asked for: watches are the loop's business. */
static void resume(void *opaque)
{
    struct netdev *nd = opaque;

    nd->full = false;
    watch(nd);
    pump(nd);
}

struct netdev *netdev_open(int sock, struct loop *loop)
{
    struct netdev *nd = X_NEW(struct netdev);

    nd->sock = sock;
    nd->loop = loop;
    nd->mtu = NET_MTU_PLAIN;
    nd->again = loop_event_new(loop, resume, nd);
    return nd;
}

void netdev_close(struct netdev *nd)
{
    if (!nd)
        return;
    netdev_set_device(nd, NULL, NULL, NULL);
    loop_event_free(nd->again);
    fd_close(&nd->sock);
    x_free(nd);
}

void netdev_set_device(struct netdev *nd, netdev_rx_fn *rx, netdev_room_fn *room, void *opaque)
{
    nd->rx = rx;
    nd->room = room;
    nd->opaque = opaque;
    nd->waiting = nd->full = false;
    if (rx && !nd->watch)
        nd->watch = loop_watch(nd->loop, nd->sock, LOOP_READ, on_ready, nd);
    if (!rx && nd->watch) {
        loop_unwatch(nd->watch);
        nd->watch = NULL;
    }
}

void netdev_resume(struct netdev *nd)
{
    if (nd->held)
        loop_event_signal(nd->again);
}

void netdev_set_mtu(struct netdev *nd, size_t mtu)
{
    nd->mtu = MIN(mtu, NET_MTU);
    nd->at = 0; /* a frame that was half delivered begins again */
}

bool netdev_tx(struct netdev *nd, const struct iovec *iov, unsigned iovcnt)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = iovcnt};

    if (sendmsg(nd->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return true;
    if (errno != EAGAIN && errno != ENOBUFS) {
        nd->dropped++; /* nobody is there */
        return true;
    }
    nd->waiting = true;
    loop_event_signal(nd->again);
    return false;
}
