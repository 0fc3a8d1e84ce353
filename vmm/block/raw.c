/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw images: a byte of the disk is a byte of the file. A file that ends in the middle of a sector
 * is read as if zeros followed. Discards punch holes where the file system can and are dropped
 * where not, as a discard is a hint. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/block/blk_priv.h"

#define IOV_BATCH 256

static bool raw_open(struct blk *b, struct err *e)
{
    struct stat st;

    if (fstat(b->fd, &st) < 0)
        return err_errno(e, errno, "cannot look at the image");
    if (S_ISREG(st.st_mode)) {
        b->size = ALIGN_UP((uint64_t)st.st_size, (uint64_t)BLK_SECTOR);
    } else if (S_ISBLK(st.st_mode)) {
        if (ioctl(b->fd, BLKGETSIZE64, &b->size) < 0)
            return err_errno(e, errno, "cannot ask for the size of the block device");
    } else {
        return err_set(e, ERR_INVALID, "the image is neither a file nor a block device");
    }
    if (!b->size)
        return err_set(e, ERR_INVALID, "the image is empty");
    return true;
}

static void raw_close(struct blk *b)
{
    (void)b;
}

/* The iovecs behind the first `skip` bytes, at most IOV_BATCH of them. */
static unsigned rest_of(const struct blk_req *r, uint64_t skip, struct iovec *out)
{
    unsigned n = 0;

    for (unsigned i = 0; i < r->iovcnt && n < IOV_BATCH; i++) {
        if (skip >= r->iov[i].iov_len) {
            skip -= r->iov[i].iov_len;
            continue;
        }
        out[n].iov_base = (char *)r->iov[i].iov_base + skip;
        out[n++].iov_len = r->iov[i].iov_len - skip;
        skip = 0;
    }
    return n;
}

static void zero_rest(const struct blk_req *r, uint64_t skip)
{
    struct iovec iov[IOV_BATCH];
    unsigned n;

    while ((n = rest_of(r, skip, iov)) > 0)
        for (unsigned i = 0; i < n; i++) {
            memset(iov[i].iov_base, 0, iov[i].iov_len);
            skip += iov[i].iov_len;
        }
}

static int transfer(struct blk *b, const struct blk_req *r)
{
    struct iovec iov[IOV_BATCH];
    uint64_t done = 0;

    while (done < r->len) {
        unsigned n = rest_of(r, done, iov);
        off_t at = (off_t)(r->offset + done);
        ssize_t got =
            r->op == BLK_READ ? preadv(b->fd, iov, (int)n, at) : pwritev(b->fd, iov, (int)n, at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0) {
            if (r->op == BLK_WRITE)
                return EIO;
            zero_rest(r, done); /* behind the end of the file */
            return 0;
        }
        done += (uint64_t)got;
    }
    return 0;
}

static bool read_cached(struct blk *b, const struct blk_req *r)
{
    if (r->op != BLK_READ || r->iovcnt > IOV_BATCH || b->always_waits)
        return false;
    ssize_t got = preadv2(b->fd, r->iov, (int)r->iovcnt, (off_t)r->offset, RWF_NOWAIT);
    if (got < 0 && errno == EOPNOTSUPP)
        b->always_waits = true;
    return got >= 0 && (uint64_t)got == r->len;
}

static int write_zeros(struct blk *b, const struct blk_req *r)
{
    static const char zeros[65536];

    if (fallocate(b->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)r->offset,
                  (off_t)r->len) == 0)
        return 0;
    for (uint64_t done = 0; done < r->len;) {
        ssize_t n =
            pwrite(b->fd, zeros, MIN(sizeof(zeros), r->len - done), (off_t)(r->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        done += (uint64_t)n;
    }
    return 0;
}

static int raw_execute(struct blk *b, const struct blk_req *r)
{
    switch (r->op) {
    case BLK_READ:
    case BLK_WRITE: return transfer(b, r);
    case BLK_FLUSH: return fdatasync(b->fd) < 0 && errno != EINVAL && errno != EROFS ? errno : 0;
    case BLK_DISCARD:
        if (fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)r->offset,
                      (off_t)r->len) < 0 &&
            errno != EOPNOTSUPP && errno != ENODEV)
            return errno;
        return 0;
    case BLK_WRITE_ZEROES: return write_zeros(b, r);
    }
    return EINVAL;
}

const struct blk_format blk_raw = {
    .name = "raw", .open = raw_open, .close = raw_close, .execute = raw_execute, .at_once = read_cached};
