/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block back end: asynchronous reads, writes, flushes and discards of one disk image on an fd that
 * somebody else opened. Sees host iovecs, never guest memory.
 *
 * Requests are submitted on the loop's thread or a vCPU thread (machine lock held); work runs on
 * the image's worker threads; done is called on the loop's thread with its guard (the machine
 * lock). A request belongs to the caller until done is called; nothing is allocated per request.
 *
 * Errors: err is 0 or a positive errno. The format is what the configuration says, never probed. */
#ifndef VMDECK_BLOCK_BLK_H
#define VMDECK_BLOCK_BLK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/base/err.h"
#include "vmm/base/loop.h"

#define BLK_SECTOR 512u

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_WRITE_ZEROES };

struct blk;
struct blk_req {
    enum blk_op op;
    uint64_t offset;         /* bytes; a multiple of BLK_SECTOR */
    uint64_t len;            /* bytes; for READ and WRITE the sum of the iovecs */
    const struct iovec *iov; /* READ, WRITE; stays valid until done */
    unsigned iovcnt;
    void (*done)(struct blk_req *req, int err);
    void *opaque;         /* the submitter's */
    struct blk_req *next; /* the back end's, as is err_ */
    int err_;
};

struct blk_info {
    uint64_t size; /* bytes, whole sectors */
    bool readonly;
    const char *format;
};

struct blk_stats {
    uint64_t reads, writes, flushes, read_bytes, write_bytes, errors;
};

/* fd becomes the back end's. format: "raw". Open and close: loop thread, or before the loop runs.
 */
struct blk *blk_open(const char *format, int fd, bool readonly, struct loop *loop, struct err *e);
/* Waits for what is in flight, flushes, closes. */
void blk_close(struct blk *blk);
void blk_get_info(const struct blk *blk, struct blk_info *out);
void blk_get_stats(const struct blk *blk, struct blk_stats *out);
/* Does the request on the spot when that needs no wait for the disk, as a read of what the host has in its cache;
 * done is not called. False: nothing is known of it, submit it. Machine lock. */
bool blk_at_once(struct blk *blk, struct blk_req *req);
/* Out-of-range requests complete with EIO. */
void blk_submit(struct blk *blk, struct blk_req *req);
/* Waits until nothing is in flight; completions have been delivered (calls done itself). Machine
 * lock; not from done. */
void blk_drain(struct blk *blk);

/* Image locks in QEMU's OFD byte layout (bytes 100 and 200 up), so that QEMU's tools and vmdeck
 * respect each other. On the open fd; held as long as the open file description lives. path is for
 * the message. */
bool blk_lock(int fd, bool readonly, const char *path, struct err *e);

#endif
