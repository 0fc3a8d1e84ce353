/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net (VIRTIO 1.1 5.1): one pair of queues, MAC address, link status, a large MTU, frames in
 * several receive buffers, checksums of sent frames. Segmentation is not offered: with such an MTU
 * there is little to segment. */
#include <stdio.h>
#include <string.h>

#include "vmm/dev/virtio/virtio.h"
#include "vmm/net/frame.h"
#include "vmm/net/netdev.h"

#define F_CSUM       (UINT64_C(1) << 0)
#define F_GUEST_CSUM (UINT64_C(1) << 1)
#define F_MTU        (UINT64_C(1) << 3)
#define F_MAC        (UINT64_C(1) << 5)
#define F_MRG_RXBUF  (UINT64_C(1) << 15)
#define F_STATUS     (UINT64_C(1) << 16)

#define RX 0
#define TX 1

#define HEADER_SIZE 12 /* with num_buffers, as VERSION_1 has it always */
#define H_NEEDS_CSUM  1u
#define H_DATA_VALID  2u
#define H_CSUM_START  6
#define H_CSUM_OFFSET 8
#define H_NUM_BUFFERS 10
#define CONFIG_SIZE   12
#define TX_BUDGET   256

struct virtio_net {
    struct dev dev;
    struct virtio v;
    struct netdev *netdev;
    char *mac_text;
    uint8_t mac[6];
    struct virtio_chain first, chain; /* of the frame at hand */
    uint8_t frame[NET_FRAME_MAX];     /* that needs a checksum */
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
    st_le16(c + 8, 1);                     /* pairs of queues */
    st_le16(c + 10, NET_MTU);
    return (uint32_t)ld_le(c + offset, size);
}

static void take_back(struct virtio_net *n, unsigned chains)
{
    while (chains-- > 0)
        virtio_unpop(&n->v, RX);
}

/* Checksums of TCP come from the network process and over a socket that loses nothing. */
static void put_header(struct virtio_net *n, const uint8_t *frame, size_t len, unsigned buffers)
{
    uint8_t header[HEADER_SIZE] = {0};

    if (virtio_has_feature(&n->v, F_GUEST_CSUM) && net_is_tcp4(frame, len))
        header[0] = H_DATA_VALID;
    st_le16(header + H_NUM_BUFFERS, (uint16_t)buffers);
    virtio_write_in(&n->first, 0, header, HEADER_SIZE);
}

static bool receive(void *opaque, const uint8_t *frame, size_t len)
{
    struct virtio_net *n = opaque;
    bool several = virtio_has_feature(&n->v, F_MRG_RXBUF);
    unsigned count = 0;

    if (!virtio_running(&n->v) || !n->v.s.q[RX].enabled)
        return true; /* nobody listens: the frame is lost, as on a wire */
    for (size_t done = 0; done < len; count++) {
        struct virtio_chain *c = count ? &n->chain : &n->first;
        size_t front = count ? 0 : HEADER_SIZE;
        bool full = count == n->v.s.q[RX].size; /* all the buffers there can be */

        if (!full && !virtio_pop(&n->v, RX, c)) {
            take_back(n, count);
            return !virtio_running(&n->v);
        }
        if (full || c->in_len < front + (several ? 1 : len)) {
            log_guest(n->dev.id, "frame of %zu bytes dropped: receive buffers too small", len);
            take_back(n, count + !full);
            return true;
        }
        size_t part = MIN(c->in_len - front, len - done);
        virtio_write_in(c, front, frame + done, part);
        virtio_fill(&n->v, RX, c, front + part, count);
        done += part;
    }
    if (count == 0)
        return true;
    put_header(n, frame, len, count);
    virtio_show(&n->v, RX, count);
    virtio_signal(&n->v, RX);
    return true;
}

/* The driver left a checksum to the hardware: it is completed in a copy. */
static bool send_summed(struct virtio_net *n, const uint8_t *header, size_t len)
{
    size_t start = ld_le16(header + H_CSUM_START), offset = ld_le16(header + H_CSUM_OFFSET);

    virtio_read_out(&n->chain, HEADER_SIZE, n->frame, len);
    return !net_checksum_complete(n->frame, len, start, offset) ||
           netdev_tx(n->netdev, &(struct iovec){n->frame, len}, 1);
}

/* False: the network has no room. What is no frame is done with. */
static bool send_frame(struct virtio_net *n)
{
    const struct virtio_chain *c = &n->chain;
    struct iovec iov[VIRTIO_QUEUE_SIZE];
    uint8_t header[HEADER_SIZE];
    uint64_t skip = HEADER_SIZE;
    unsigned count = 0;

    if (!n->netdev || c->out_len <= HEADER_SIZE || c->out_len - HEADER_SIZE > NET_FRAME_MAX)
        return true;
    virtio_read_out(c, 0, header, HEADER_SIZE);
    if ((header[0] & H_NEEDS_CSUM) && virtio_has_feature(&n->v, F_CSUM))
        return send_summed(n, header, c->out_len - HEADER_SIZE);
    for (unsigned i = 0; i < c->out_count; i++) {
        if (skip >= c->iov[i].iov_len) {
            skip -= c->iov[i].iov_len;
            continue;
        }
        iov[count++] = (struct iovec){(char *)c->iov[i].iov_base + skip, c->iov[i].iov_len - skip};
        skip = 0;
    }
    return netdev_tx(n->netdev, iov, count);
}

static void transmit(struct virtio_net *n)
{
    unsigned done = 0;

    while (done < TX_BUDGET && virtio_pop(&n->v, TX, &n->chain)) {
        if (!send_frame(n)) {
            virtio_unpop(&n->v, TX); /* goes on with room */
            break;
        }
        virtio_push(&n->v, TX, &n->chain, 0);
        done++;
    }
    if (done)
        virtio_signal(&n->v, TX);
    if (done == TX_BUDGET)
        virtio_kick_later(&n->v, TX);
}

static void room(void *opaque)
{
    virtio_queue_kick(&((struct virtio_net *)opaque)->v, TX);
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
    if (!on || !of(v)->netdev)
        return;
    netdev_set_mtu(of(v)->netdev, virtio_has_feature(v, F_MTU) ? NET_MTU : NET_MTU_PLAIN);
    netdev_resume(of(v)->netdev);
}

static const struct virtio_class net_class = {
    .id = 1,
    .class_code = 2,
    .queues = 2,
    .features = F_MAC | F_STATUS | F_MTU | F_MRG_RXBUF | F_CSUM | F_GUEST_CSUM,
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
        netdev_set_device(n->netdev, receive, room, n);
    return true;
}

static void net_unrealize(struct dev *d)
{
    struct virtio_net *n = container_of(d, struct virtio_net, dev);

    if (n->netdev)
        netdev_set_device(n->netdev, NULL, NULL, NULL);
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
