/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device's end of the frame socket. A frame that the device cannot take is kept, and reading
 * stops, so that the socket's buffer fills and the other end drops: nothing grows here. */
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
    void *opaque;
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
                return;
            }
            nd->held = (size_t)n;
        }
        if (!deliver(nd)) {
            if (nd->watch)
                loop_watch_set(nd->watch, 0); /* until netdev_resume */
            return;
        }
        nd->held = 0;
    }
}

static void on_readable(void *opaque, unsigned events)
{
    (void)events;
    pump(opaque);
}

static void resume(void *opaque)
{
    struct netdev *nd = opaque;

    if (nd->watch)
        loop_watch_set(nd->watch, LOOP_READ);
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
    netdev_set_rx(nd, NULL, NULL);
    loop_event_free(nd->again);
    fd_close(&nd->sock);
    x_free(nd);
}

void netdev_set_rx(struct netdev *nd, netdev_rx_fn *rx, void *opaque)
{
    nd->rx = rx;
    nd->opaque = opaque;
    if (rx && !nd->watch)
        nd->watch = loop_watch(nd->loop, nd->sock, LOOP_READ, on_readable, nd);
    if (!rx && nd->watch) {
        loop_unwatch(nd->watch);
        nd->watch = NULL;
    }
}

/* Called on vCPU threads, too: watches are the loop's business. */
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

void netdev_tx(struct netdev *nd, const struct iovec *iov, unsigned iovcnt)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = iovcnt};

    if (sendmsg(nd->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        nd->dropped++;
}
