/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net (VIRTIO 1.1 5.1): one pair of queues, MAC address and link status, no offloads: a
 * frame is a buffer. */
#include <stdio.h>
#include <string.h>

#include "vmm/dev/virtio/virtio.h"
#include "vmm/net/netdev.h"

#define F_MAC    (UINT64_C(1) << 5)
#define F_STATUS (UINT64_C(1) << 16)

#define RX 0
#define TX 1

#define HEADER_SIZE 12 /* with num_buffers, as VERSION_1 has it always */
#define CONFIG_SIZE 8
#define TX_BUDGET   256

struct virtio_net {
    struct dev dev;
    struct virtio v;
    struct netdev *netdev;
    char *mac_text;
    uint8_t mac[6];
    struct virtio_chain chain; /* of the frame at hand */
};

static struct virtio_net *of(struct virtio *v)
{
    return container_of(v, struct virtio_net, v);
}

static uint32_t config_read(struct virtio *v, unsigned offset, unsigned size)
{
    uint8_t c[CONFIG_SIZE];

    memcpy(c, of(v)->mac, 6);
    st_le16(c + 6, of(v)->netdev ? 1 : 0); /* link up */
    return (uint32_t)ld_le(c + offset, size);
}

static bool receive(void *opaque, const uint8_t *frame, size_t len)
{
    struct virtio_net *n = opaque;
    uint8_t header[HEADER_SIZE] = {0};

    if (!virtio_running(&n->v) || !n->v.s.q[RX].enabled)
        return true; /* nobody listens: the frame is lost, as on a wire */
    if (!virtio_pop(&n->v, RX, &n->chain))
        return !virtio_running(&n->v);
    if (n->chain.in_len < HEADER_SIZE + len) {
        log_guest(n->dev.id, "frame of %zu bytes dropped: receive buffer too small", len);
        virtio_unpop(&n->v, RX);
        return true;
    }
    st_le16(header + 10, 1);
    virtio_write_in(&n->chain, 0, header, HEADER_SIZE);
    virtio_write_in(&n->chain, HEADER_SIZE, frame, len);
    virtio_push(&n->v, RX, &n->chain, HEADER_SIZE + len);
    virtio_signal(&n->v, RX);
    return true;
}

static void transmit(struct virtio_net *n)
{
    unsigned done = 0;

    while (done < TX_BUDGET && virtio_pop(&n->v, TX, &n->chain)) {
        struct virtio_chain *c = &n->chain;
        struct iovec iov[VIRTIO_QUEUE_SIZE];
        uint64_t skip = HEADER_SIZE;
        unsigned count = 0;

        for (unsigned i = 0; i < c->out_count; i++) {
            if (skip >= c->iov[i].iov_len) {
                skip -= c->iov[i].iov_len;
                continue;
            }
            iov[count++] =
                (struct iovec){(char *)c->iov[i].iov_base + skip, c->iov[i].iov_len - skip};
            skip = 0;
        }
        if (n->netdev && c->out_len > HEADER_SIZE && c->out_len - HEADER_SIZE <= NET_FRAME_MAX)
            netdev_tx(n->netdev, iov, count);
        virtio_push(&n->v, TX, c, 0);
        done++;
    }
    if (done)
        virtio_signal(&n->v, TX);
    if (done == TX_BUDGET)
        virtio_kick_later(&n->v, TX);
}

static void notify(struct virtio *v, unsigned q)
{
    if (q == TX)
        transmit(of(v));
    else if (of(v)->netdev)
        netdev_resume(of(v)->netdev);
}

static void drop_all(struct virtio *v)
{
    (void)v; /* nothing is in flight between two calls */
}

static void ready(struct virtio *v, bool on)
{
    if (on && of(v)->netdev)
        netdev_resume(of(v)->netdev);
}

static const struct virtio_class net_class = {
    .id = 1,
    .class_code = 2,
    .queues = 2,
    .features = F_MAC | F_STATUS,
    .config_size = CONFIG_SIZE,
    .config_read = config_read,
    .notify = notify,
    .reset = drop_all,
    .ready = ready,
};

static bool net_realize(struct dev *d, struct err *e)
{
    struct virtio_net *n = container_of(d, struct virtio_net, dev);
    unsigned m[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    char end;

    if (n->mac_text && sscanf(n->mac_text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &m[0], &m[1], &m[2], &m[3],
                              &m[4], &m[5], &end) != 6)
        return err_set(e, ERR_INVALID, "\"%s\" is no MAC address", n->mac_text);
    for (unsigned i = 0; i < 6; i++)
        n->mac[i] = (uint8_t)m[i];
    if (!virtio_init(&n->v, d, &net_class, e))
        return false;
    if (n->netdev)
        netdev_set_rx(n->netdev, receive, n);
    return true;
}

static void net_unrealize(struct dev *d)
{
    struct virtio_net *n = container_of(d, struct virtio_net, dev);

    if (n->netdev)
        netdev_set_rx(n->netdev, NULL, NULL);
    virtio_fini(&n->v);
}

static void net_reset(struct dev *d)
{
    virtio_reset(&container_of(d, struct virtio_net, dev)->v);
}

static const struct dev_prop net_props[] = {
    DEV_PROP("netdev", PROP_PTR, struct virtio_net, netdev, 0, "the network; none: link down"),
    DEV_PROP("mac", PROP_STR, struct virtio_net, mac_text, 0, "MAC address"),
    {0},
};

const struct dev_class virtio_net_class = {
    .name = "virtio-net",
    .summary = "virtio network interface",
    .size = sizeof(struct virtio_net),
    .props = net_props,
    .realize = net_realize,
    .unrealize = net_unrealize,
    .reset = net_reset,
};
