/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk image in a memfd for device tests, with a loop that its completions arrive on. */
#ifndef TESTS_LIB_IMAGE_H
#define TESTS_LIB_IMAGE_H

#include <stdint.h>
#include <unistd.h>

#include "vmm/block/blk.h"

struct image {
    int fd; /* the test's own; the back end has a copy */
    struct blk *blk;
};

/* Sector n begins with n as 8 bytes, the rest is n % 251. */
void image_new(struct image *im, uint64_t size, bool readonly, struct loop *loop);
void image_free(struct image *im);
/* From now on writes fail. */
void image_break_writes(struct image *im);
uint64_t image_word(const struct image *im, uint64_t offset);

#endif
