/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An IDE controller with up to four drives on images in memory, and the register accesses of a
 * driver. */
#ifndef TESTS_LIB_IDEDRIVER_H
#define TESTS_LIB_IDEDRIVER_H

#include "tests/lib/devtest.h"
#include "tests/lib/image.h"

#define IDE_BM       0xc000 /* bus master, BAR 4 */
#define IDE_DEVFN    (1 << 3 | 1)
#define IDE_PRD      0x100000u
#define IDE_DATA     0x200000u
#define IDE_BSY      0x80
#define IDE_DRDY     0x40
#define IDE_DRQ      0x08
#define IDE_ERR      0x01
#define IDE_BM_START 1
#define IDE_BM_READ  8 /* to memory */

enum {
    REG_DATA,
    REG_ERROR,
    REG_COUNT,
    REG_LBA_LOW,
    REG_LBA_MID,
    REG_LBA_HIGH,
    REG_DEVICE,
    REG_COMMAND
};

struct idetest {
    struct devtest t;
    struct loop *loop;
    struct image im[4];
    struct dev *dev;
    uint16_t base, control; /* of the channel in use */
    unsigned gsi;
};

struct ide_drive_spec {
    uint64_t size; /* 0: no image */
    bool cdrom, readonly;
};

/* Uses the primary channel; the bus master is mapped. */
void ide_start(struct idetest *i, const struct ide_drive_spec spec[4]);
void ide_stop(struct idetest *i);
void ide_channel(struct idetest *i, unsigned n);

static inline uint8_t ide_in(struct idetest *i, unsigned reg)
{
    return dt_inb(&i->t, (uint16_t)(i->base + reg));
}
static inline void ide_out(struct idetest *i, unsigned reg, uint8_t v)
{
    dt_outb(&i->t, (uint16_t)(i->base + reg), v);
}
static inline uint8_t ide_alt_status(struct idetest *i)
{
    return dt_inb(&i->t, i->control);
}
/* Steps the loop until BSY is clear; returns the status, read from the alternate register. */
uint8_t ide_wait(struct idetest *i);
void ide_read_data(struct idetest *i, void *buf, unsigned bytes);
void ide_write_data(struct idetest *i, const void *buf, unsigned bytes);
/* Device, 28-bit LBA, count, command. */
void ide_command(struct idetest *i, unsigned drive, uint8_t command, uint32_t lba, uint8_t count);
/* As ide_command with 48-bit LBA. */
void ide_command_ext(struct idetest *i, unsigned drive, uint8_t command, uint64_t lba,
                     uint16_t count);
/* Table of one or more entries that covers len bytes at IDE_DATA in pieces of at most piece bytes.
 */
void ide_prd(struct idetest *i, uint32_t len, uint32_t piece);
void ide_bm_start(struct idetest *i, bool to_memory);
uint8_t ide_bm_stop(struct idetest *i);
uint64_t ide_mem_word(struct idetest *i, uint64_t gpa);

#endif
