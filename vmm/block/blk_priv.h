/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the block layer: what a format implements. */
#ifndef VMDECK_BLOCK_BLK_PRIV_H
#define VMDECK_BLOCK_BLK_PRIV_H

#include "vmm/block/blk.h"

/* A format does the work of one request, synchronously, on a worker thread; several at once.
 * Returns 0 or errno. at_once (optional) is blk_at_once for a request that was checked; machine lock, and worker
 * threads may be at work on others. */
struct blk_format {
    const char *name;
    bool (*open)(struct blk *blk, struct err *e);
    void (*close)(struct blk *blk);
    int (*execute)(struct blk *blk, const struct blk_req *req);
    bool (*at_once)(struct blk *blk, const struct blk_req *req);
};

struct blk {
    const struct blk_format *format;
    int fd;
    bool readonly;
    bool always_waits; /* the file system does not say whether a read would wait */
    uint64_t size;
    struct blk_stats stats; /* machine lock */
    struct blk_queue *queue;
    void *priv; /* the format's */
};

extern const struct blk_format blk_raw;

#endif
