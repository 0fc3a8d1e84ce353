/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the IDE controller: drives, channels, and the packet device (atapi.c). */
#ifndef VMDECK_DEV_STORAGE_IDE_H
#define VMDECK_DEV_STORAGE_IDE_H

#include "vmm/block/blk.h"
#include "vmm/dev/dev.h"

#define IDE_CHANNELS 2
#define IDE_DRIVES   4
#define IDE_BUFFER   (64 * 1024u) /* one transfer of READ MULTIPLE or of a packet command */

#define ATA_BSY  0x80u
#define ATA_DRDY 0x40u
#define ATA_DF   0x20u
#define ATA_DSC  0x10u
#define ATA_DRQ  0x08u
#define ATA_ERR  0x01u

#define ATA_E_ABRT 0x04u
#define ATA_E_IDNF 0x10u
#define ATA_E_UNC  0x40u

/* What the data port is about. */
enum ide_phase { IDE_IDLE, IDE_PIO_IN, IDE_PIO_OUT, IDE_PACKET, IDE_DMA_WAIT, IDE_BLOCK_WAIT };

struct ide_drive_state {
    uint8_t error, features, status, device;
    uint16_t count; /* two-deep: previous value in the high byte, for LBA48 */
    uint16_t lba_low, lba_mid, lba_high;
    uint8_t multiple; /* sectors a block of READ MULTIPLE */
    uint8_t mode;     /* transfer mode of SET FEATURES */
    uint8_t phase;    /* enum ide_phase */
    uint8_t command;
    uint8_t sense, asc, ascq; /* ATAPI */
    uint8_t media_changed, locked, tray_open;
    uint8_t write, dma;
    uint64_t lba;
    uint32_t left;     /* sectors (ATA) or bytes (ATAPI) still to be moved behind the buffer */
    uint32_t pos, len; /* in the buffer, and how much of it counts */
    uint32_t chunk;    /* ATAPI: bytes before the next interrupt */
};

struct ide;
struct ide_channel;

struct ide_drive {
    struct ide_channel *ch;
    unsigned unit; /* 0-3 */
    bool cdrom;
    struct blk *blk; /* NULL: no drive, or no medium in a CD drive */
    struct blk_info info;
    uint64_t sectors; /* of 512, or of 2048 for a CD */
    struct ide_drive_state s;
    struct blk_req req;
    struct iovec iov;
    bool busy;  /* req is under way */
    bool stale; /* and its result is not wanted any more */
    void (*after)(struct ide_drive *d, int err);
    uint8_t *buf; /* IDE_BUFFER bytes */
};

/* The drive's parts that ide.c gives atapi.c. */
static inline bool ide_present(const struct ide_drive *d)
{
    return d->blk || d->cdrom;
}
void ide_irq(struct ide_drive *d);
void ide_done(struct ide_drive *d, uint8_t status); /* command over, with interrupt */
void ide_abort(struct ide_drive *d);                /* command over with ABRT */
/* Starts an asynchronous image access of the buffer; after is called unless the drive is reset. */
void ide_block(struct ide_drive *d, enum blk_op op, uint64_t offset, uint32_t len,
               void (*after)(struct ide_drive *d, int err));
/* Waits for that access, whose after is not called any more. */
void ide_cancel(struct ide_drive *d);
/* Moves the buffer to or from memory by the bus master's table; false: table too short or bad. */
bool ide_dma(struct ide_drive *d, uint32_t len, bool to_memory);
/* Whether the guest has started the bus master for this channel. */
bool ide_dma_ready(const struct ide_drive *d);
void ide_dma_finish(struct ide_drive *d, bool error);

/* atapi.c */
void atapi_identify(struct ide_drive *d, uint16_t *words);
void atapi_signature(struct ide_drive *d);
void atapi_packet(struct ide_drive *d);    /* PACKET: wants 12 bytes */
void atapi_command(struct ide_drive *d);   /* they are in buf */
void atapi_data_done(struct ide_drive *d); /* the guest has read the buffer */
void atapi_dma_start(struct ide_drive *d);

/* ide_ata.c */
void ata_command(struct ide_drive *d, uint8_t command);
void ata_data_done(struct ide_drive *d);
void ata_dma_start(struct ide_drive *d);
void ata_signature(struct ide_drive *d);
void ide_string(uint16_t *words, unsigned count, const char *text);

#endif
