/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stand-ins until the NAT and VNC are in the tree: weak, so that the real ones take over. */
#if !__has_include("vmm/net/user.c")
#include <poll.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/net/netdev.h"
#include "vmm/net/user.h"

#pragma weak net_user_run
bool net_user_run(const struct net_user_cfg *cfg, int ready, struct err *e)
{
    (void)cfg, (void)e;
    if (write(ready, "", 1) < 0)
        return true;
    for (;;)
        poll(NULL, 0, -1);
}

#pragma weak netdev_open
struct netdev *netdev_open(int sock, struct loop *loop)
{
    (void)sock, (void)loop;
    return x_alloc(1);
}

#pragma weak netdev_close
void netdev_close(struct netdev *nd)
{
    x_free(nd);
}

#pragma weak netdev_set_rx
void netdev_set_rx(struct netdev *nd, netdev_rx_fn *rx, void *opaque)
{
    (void)nd, (void)rx, (void)opaque;
}

#pragma weak netdev_resume
void netdev_resume(struct netdev *nd)
{
    (void)nd;
}

#pragma weak netdev_tx
void netdev_tx(struct netdev *nd, const struct iovec *iov, unsigned iovcnt)
{
    (void)nd, (void)iov, (void)iovcnt;
}
#endif
