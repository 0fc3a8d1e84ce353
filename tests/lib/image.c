/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/image.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/lib/test.h"
#include "vmm/base/bits.h"

void image_new(struct image *im, uint64_t size, bool readonly, struct loop *loop)
{
    struct err e = ERR_INIT;

    im->fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(im->fd >= 0);
    for (uint64_t n = 0; n < size / BLK_SECTOR; n++) {
        uint8_t sector[BLK_SECTOR];

        memset(sector, (int)(n % 251), sizeof(sector));
        st_le64(sector, n);
        assert_int_equal(pwrite(im->fd, sector, sizeof(sector), (off_t)(n * BLK_SECTOR)),
                         BLK_SECTOR);
    }
    im->blk = blk_open("raw", dup(im->fd), readonly, loop, &e);
    if (!im->blk)
        fail_msg("%s", e.msg);
}

void image_free(struct image *im)
{
    blk_close(im->blk);
    close(im->fd);
}

void image_break_writes(struct image *im)
{
    assert_int_equal(fcntl(im->fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
}

uint64_t image_word(const struct image *im, uint64_t offset)
{
    uint8_t raw[8];

    assert_int_equal(pread(im->fd, raw, sizeof(raw), (off_t)offset), sizeof(raw));
    return ld_le64(raw);
}
