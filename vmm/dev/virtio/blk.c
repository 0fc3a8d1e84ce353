/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk (VIRTIO 1.1 5.2): one queue, flush, discard, write zeroes. Data goes between guest
 * memory and the image without a copy; ENOSPC and other errors are told to the guest as I/O errors.
 */
#include <string.h>

#include "vmm/base/alloc.h"
#include "vmm/block/blk.h"
#include "vmm/dev/virtio/virtio.h"

#define F_SEG_MAX      (UINT64_C(1) << 2)
#define F_RO           (UINT64_C(1) << 5)
#define F_BLK_SIZE     (UINT64_C(1) << 6)
#define F_FLUSH        (UINT64_C(1) << 9)
#define F_DISCARD      (UINT64_C(1) << 13)
#define F_WRITE_ZEROES (UINT64_C(1) << 14)

#define T_IN           0u
#define T_OUT          1u
#define T_FLUSH        4u
#define T_GET_ID       8u
#define T_DISCARD      11u
#define T_WRITE_ZEROES 13u

#define S_OK     0
#define S_IOERR  1
#define S_UNSUPP 2

#define HEADER_SIZE   16
#define CONFIG_SIZE   60
#define RANGE_SECTORS (4u << 20 >> 9)
#define AT_ONCE_BYTES (1u << 20) /* in one notification, by the vCPU that rings */

struct request {
    struct virtio_blk *dev;
    struct request *next_free;
    struct virtio_chain chain;
    struct blk_req req;
    struct iovec iov[VIRTIO_QUEUE_SIZE + 1];
};

struct virtio_blk {
    struct dev dev;
    struct virtio v;
    struct blk *blk;
    struct blk_info info;
    struct request *requests, *free;
    unsigned in_flight;
    uint64_t at_once; /* bytes that may still be read on the spot */
    bool notified;    /* in notify, which signals at its end */
};

static struct virtio_blk *of(struct virtio *v)
{
    return container_of(v, struct virtio_blk, v);
}

static uint32_t config_read(struct virtio *v, unsigned offset, unsigned size)
{
    struct virtio_blk *b = of(v);
    uint8_t c[CONFIG_SIZE] = {0};

    st_le64(c, b->info.size / BLK_SECTOR);
    st_le32(c + 12, VIRTIO_QUEUE_SIZE - 2); /* seg_max */
    st_le32(c + 20, BLK_SECTOR);
    st_le32(c + 36, RANGE_SECTORS); /* discard */
    st_le32(c + 40, 1);
    st_le32(c + 44, 1);
    st_le32(c + 48, RANGE_SECTORS); /* write zeroes */
    st_le32(c + 52, 1);
    c[56] = 1;
    return (uint32_t)ld_le(c + offset, size);
}

/* The status byte is the last writable one. All of the writable part counts as written, as it may
 * be when an access failed half-way. */
static void finish(struct request *r, uint8_t status)
{
    struct virtio_blk *b = r->dev;

    virtio_write_in(&r->chain, r->chain.in_len - 1, &status, 1);
    virtio_push(&b->v, 0, &r->chain, r->chain.in_len);
    if (!b->notified)
        virtio_signal(&b->v, 0);
    r->next_free = b->free;
    b->free = r;
}

static void on_done(struct blk_req *req, int err)
{
    struct request *r = req->opaque;

    r->dev->in_flight--;
    finish(r, err ? S_IOERR : S_OK);
}

static void submit(struct request *r, enum blk_op op, uint64_t offset, uint64_t len)
{
    r->req = (struct blk_req){.op = op,
                              .offset = offset,
                              .len = len,
                              .iov = r->iov,
                              .iovcnt = r->req.iovcnt,
                              .done = on_done,
                              .opaque = r};
    struct virtio_blk *b = r->dev;
    if (op == BLK_READ && len <= b->at_once && blk_at_once(b->blk, &r->req)) {
        b->at_once -= len;
        finish(r, S_OK);
        return;
    }
    b->in_flight++;
    blk_submit(b->blk, &r->req);
}

/* The data part of the chain: segments without the first skip bytes and the last drop bytes. */
static unsigned data_iov(const struct iovec *iov, unsigned count, uint64_t skip, uint64_t len,
                         struct iovec *out)
{
    unsigned n = 0;

    for (unsigned i = 0; i < count && len > 0; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t take = MIN(iov[i].iov_len - skip, len);
        out[n++] = (struct iovec){(char *)iov[i].iov_base + skip, take};
        skip = 0;
        len -= take;
    }
    return n;
}

static void range_request(struct request *r, enum blk_op op)
{
    uint8_t seg[16];

    if (r->chain.out_len != HEADER_SIZE + sizeof(seg) ||
        virtio_read_out(&r->chain, HEADER_SIZE, seg, sizeof(seg)) != sizeof(seg)) {
        finish(r, S_UNSUPP); /* one range at a time is what we offered */
        return;
    }
    uint64_t sector = ld_le64(seg), count = ld_le32(seg + 8);
    if (count > RANGE_SECTORS || sector > UINT64_MAX / BLK_SECTOR - count) {
        finish(r, S_IOERR);
        return;
    }
    r->req.iovcnt = 0;
    submit(r, op, sector * BLK_SECTOR, count * BLK_SECTOR);
}

static void get_id(struct request *r)
{
    char id[20] = {0};

    memcpy(id, r->dev->dev.id, MIN(strlen(r->dev->dev.id), sizeof(id)));
    virtio_write_in(&r->chain, 0, id, MIN(sizeof(id), r->chain.in_len - 1));
    finish(r, S_OK);
}

static void start(struct virtio_blk *b, struct request *r)
{
    struct virtio_chain *c = &r->chain;
    uint8_t header[HEADER_SIZE];

    if (virtio_read_out(c, 0, header, sizeof(header)) != sizeof(header) || c->in_len < 1) {
        virtio_break(&b->v, "request without header or status");
        r->next_free = b->free;
        b->free = r;
        return;
    }
    uint32_t type = ld_le32(header);
    uint64_t sector = ld_le64(header + 8);
    uint64_t len = type == T_IN ? c->in_len - 1 : c->out_len - HEADER_SIZE;

    switch (type) {
    case T_IN:
    case T_OUT:
        if (len % BLK_SECTOR || sector > (UINT64_MAX - len) / BLK_SECTOR) {
            finish(r, S_IOERR);
            break;
        }
        r->req.iovcnt = type == T_IN ? data_iov(c->iov + c->out_count, c->in_count, 0, len, r->iov)
                                     : data_iov(c->iov, c->out_count, HEADER_SIZE, len, r->iov);
        submit(r, type == T_IN ? BLK_READ : BLK_WRITE, sector * BLK_SECTOR, len);
        break;
    case T_FLUSH:
        r->req.iovcnt = 0;
        submit(r, BLK_FLUSH, 0, 0);
        break;
    case T_GET_ID: get_id(r); break;
    case T_DISCARD: range_request(r, BLK_DISCARD); break;
    case T_WRITE_ZEROES: range_request(r, BLK_WRITE_ZEROES); break;
    default: finish(r, S_UNSUPP); break;
    }
}

/* False when the ring had more. */
static bool take_requests(struct virtio_blk *b)
{
    for (unsigned budget = VIRTIO_QUEUE_SIZE; budget > 0; budget--) {
        struct request *r =
            b->free; /* as many as the ring is long: short only of what the driver adds twice */

        if (!r || !virtio_pop(&b->v, 0, &r->chain))
            return true;
        b->free = r->next_free;
        start(b, r);
    }
    return false;
}

static void notify(struct virtio *v, unsigned q)
{
    struct virtio_blk *b = of(v);
    uint16_t used = v->s.q[0].used_idx;

    b->notified = true;
    b->at_once = AT_ONCE_BYTES;
    bool all = take_requests(b);
    b->notified = false;
    if (v->s.q[0].used_idx != used)
        virtio_signal(v, 0);
    if (!all)
        virtio_kick_later(v, q);
}

static void drop_all(struct virtio *v)
{
    struct virtio_blk *b = of(v);

    if (b->in_flight)
        blk_drain(b->blk); /* no write into guest memory after the reset */
}

static const struct virtio_class blk_class = {
    .id = 2,
    .class_code = 1,
    .queues = 1,
    .features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_DISCARD | F_WRITE_ZEROES,
    .config_size = CONFIG_SIZE,
    .config_read = config_read,
    .notify = notify,
    .reset = drop_all,
};

static const struct virtio_class blk_ro_class = {
    .id = 2,
    .class_code = 1,
    .queues = 1,
    .features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_RO,
    .config_size = CONFIG_SIZE,
    .config_read = config_read,
    .notify = notify,
    .reset = drop_all,
};

static bool blk_realize(struct dev *d, struct err *e)
{
    struct virtio_blk *b = container_of(d, struct virtio_blk, dev);

    if (!b->blk)
        return err_set(e, ERR_INVALID, "no image");
    blk_get_info(b->blk, &b->info);
    b->requests = x_calloc(VIRTIO_QUEUE_SIZE, sizeof(b->requests[0]));
    for (unsigned i = 0; i < VIRTIO_QUEUE_SIZE; i++) {
        b->requests[i].dev = b;
        b->requests[i].next_free = b->free;
        b->free = &b->requests[i];
    }
    return virtio_init(&b->v, d, b->info.readonly ? &blk_ro_class : &blk_class, e);
}

static void blk_unrealize(struct dev *d)
{
    struct virtio_blk *b = container_of(d, struct virtio_blk, dev);

    if (b->v.pci)
        drop_all(&b->v);
    virtio_fini(&b->v);
    x_free(b->requests);
}

static void blk_reset(struct dev *d)
{
    virtio_reset(&container_of(d, struct virtio_blk, dev)->v);
}

static void blk_quiesce(struct dev *d)
{
    blk_drain(container_of(d, struct virtio_blk, dev)->blk);
}

static const struct dev_prop blk_props[] = {
    DEV_PROP("blk", PROP_PTR, struct virtio_blk, blk, 0, "the disk image"),
    {0},
};

const struct dev_class virtio_blk_class = {
    .name = "virtio-blk",
    .summary = "virtio disk",
    .size = sizeof(struct virtio_blk),
    .props = blk_props,
    .realize = blk_realize,
    .unrealize = blk_unrealize,
    .reset = blk_reset,
    .quiesce = blk_quiesce,
};
