/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CD drive: packet commands (ATA/ATAPI-6 ch. 8.23, SCSI MMC-3 and SPC-3) on an image of 2,048-byte
 * sectors, by PIO and DMA. */
#include <string.h>

#include "vmm/dev/storage/ide.h"

#define CD_SECTOR 2048u
#define PACKET    12
#define READY     (ATA_DRDY | ATA_DSC)

#define SENSE_NONE      0
#define SENSE_NOT_READY 2
#define SENSE_MEDIUM    3
#define SENSE_ILLEGAL   5
#define SENSE_ATTENTION 6

/* Interrupt reason, in the sector count register. */
#define REASON_COMMAND 1u
#define REASON_TO_HOST 2u

void atapi_signature(struct ide_drive *d)
{
    d->s.count = 1;
    d->s.lba_low = 1;
    d->s.lba_mid = 0x14;
    d->s.lba_high = 0xeb;
    d->s.status = 0;
    d->s.media_changed = d->blk != NULL;
}

void atapi_identify(struct ide_drive *d, uint16_t *w)
{
    w[0] = 0x85c0; /* CD drive, removable, 12-byte packets, fast DRQ */
    ide_string(w + 10, 10, "VMDECKCD");
    ide_string(w + 23, 4, VMDECK_VERSION);
    ide_string(w + 27, 20, "VMDECK CD-ROM");
    w[49] = 0x0f00;
    w[53] = 7;
    w[63] = (uint16_t)(7 | (d->s.mode >> 3 == 4 ? 0x100u << (d->s.mode & 7) : 0));
    w[64] = 3;
    w[65] = w[66] = w[67] = w[68] = 120;
    w[80] = 0x1e;
    w[82] = 0x4010;
    w[83] = 0x4000;
    w[84] = 0x4000;
    w[85] = 0x0010;
    w[87] = 0x4000;
    w[88] = (uint16_t)(0x3f | (d->s.mode >> 3 == 8 ? 0x100u << (d->s.mode & 7) : 0));
}

static void set_reason(struct ide_drive *d, uint8_t reason)
{
    d->s.count = reason;
}

static void good(struct ide_drive *d)
{
    set_reason(d, REASON_COMMAND | REASON_TO_HOST);
    d->s.error = 0;
    d->s.sense = SENSE_NONE;
    d->s.asc = d->s.ascq = 0;
    ide_dma_finish(d, false);
    ide_done(d, READY);
}

static void check_condition(struct ide_drive *d, uint8_t sense, uint8_t asc)
{
    d->s.sense = sense;
    d->s.asc = asc;
    d->s.ascq = 0;
    d->s.error = (uint8_t)(sense << 4);
    set_reason(d, REASON_COMMAND | REASON_TO_HOST);
    ide_dma_finish(d, false);
    ide_done(d, READY | ATA_ERR);
}

void atapi_packet(struct ide_drive *d)
{
    d->s.dma = d->s.features & 1;
    d->s.pos = 0;
    d->s.len = PACKET;
    d->s.left = 0;
    d->s.phase = IDE_PACKET;
    d->s.status = READY | ATA_DRQ;
    set_reason(d, REASON_COMMAND);
}

/* ---- data to the host: the buffer holds len bytes, left more follow from the image ---- */

/* Announces the next chunk of the buffer: as much as the guest's byte count allows. */
static void present(struct ide_drive *d)
{
    uint32_t limit = (uint32_t)(d->s.lba_high & 0xff) << 8 | (d->s.lba_mid & 0xff);
    uint32_t have = d->s.chunk - d->s.pos; /* chunk: end of the valid data */

    if (limit < 2 || limit == 0xffff)
        limit = 0xfffe;
    if (have > limit)
        have = limit & ~1u;
    d->s.len = d->s.pos + have;
    d->s.lba_mid = have & 0xff;
    d->s.lba_high = (uint16_t)(have >> 8);
    set_reason(d, REASON_TO_HOST);
    d->s.phase = IDE_PIO_IN;
    d->s.status = READY | ATA_DRQ;
    ide_irq(d);
}

static void next_read(struct ide_drive *d);

static void moved(struct ide_drive *d)
{
    if (d->s.left)
        next_read(d);
    else
        good(d);
}

static void buffer_full(struct ide_drive *d, uint32_t len)
{
    d->s.pos = 0;
    d->s.chunk = len;
    if (!d->s.dma) {
        present(d);
        return;
    }
    if (!ide_dma_ready(d)) {
        d->s.phase = IDE_DMA_WAIT;
        d->s.status = READY | ATA_DRQ;
        return;
    }
    atapi_dma_start(d);
}

void atapi_dma_start(struct ide_drive *d)
{
    if (!ide_dma(d, d->s.chunk, true)) {
        ide_dma_finish(d, true);
        check_condition(d, SENSE_ILLEGAL, 0x24);
        return;
    }
    moved(d);
}

void atapi_data_done(struct ide_drive *d)
{
    if (d->s.command == 0xa1) { /* IDENTIFY PACKET DEVICE */
        d->s.status = READY;
        d->s.phase = IDE_IDLE;
    } else if (d->s.pos < d->s.chunk) {
        present(d);
    } else {
        moved(d);
    }
}

static void after_read(struct ide_drive *d, int err)
{
    if (err)
        check_condition(d, SENSE_MEDIUM, 0x11);
    else
        buffer_full(d, d->s.len);
}

static void next_read(struct ide_drive *d)
{
    uint32_t n = MIN(d->s.left, IDE_BUFFER / CD_SECTOR);

    d->s.len = n * CD_SECTOR;
    uint64_t at = d->s.lba * CD_SECTOR;
    d->s.lba += n;
    d->s.left -= n;
    ide_block(d, BLK_READ, at, d->s.len, after_read);
}

/* A short answer of which the guest takes at most alloc bytes. */
static void answer(struct ide_drive *d, uint32_t len, uint32_t alloc)
{
    len = MIN(len, alloc);
    d->s.left = 0;
    if (len == 0)
        good(d);
    else
        buffer_full(d, (len + 1) & ~1u);
}

/* ---- commands ---- */

static void read_sectors(struct ide_drive *d, uint64_t lba, uint32_t count)
{
    if (count == 0) {
        good(d);
        return;
    }
    if (!range_within(lba, count, 0, d->sectors)) {
        check_condition(d, SENSE_ILLEGAL, 0x21);
        return;
    }
    d->s.lba = lba;
    d->s.left = count;
    next_read(d);
}

static void inquiry(struct ide_drive *d, uint32_t alloc)
{
    uint8_t *b = d->buf;

    memset(b, 0, 36);
    b[0] = 5;
    b[1] = 0x80;
    b[3] = 0x21;
    b[4] = 31;
    memcpy(b + 8, "VMDECK  ", 8);
    memcpy(b + 16, "CD-ROM          ", 16);
    memcpy(b + 32, "1.0 ", 4);
    answer(d, 36, alloc);
}

static void request_sense(struct ide_drive *d, uint32_t alloc)
{
    uint8_t *b = d->buf;

    memset(b, 0, 18);
    b[0] = 0x70;
    b[2] = d->s.sense;
    b[7] = 10;
    b[12] = d->s.asc;
    b[13] = d->s.ascq;
    answer(d, 18, alloc);
}

/* 00:02:00 is sector 0. */
static void put_address(uint8_t *p, uint64_t lba, bool msf)
{
    if (!msf) {
        st_be32(p, (uint32_t)lba);
        return;
    }
    lba += 150;
    p[0] = 0;
    p[1] = (uint8_t)(lba / 75 / 60);
    p[2] = (uint8_t)(lba / 75 % 60);
    p[3] = (uint8_t)(lba % 75);
}

static void read_toc(struct ide_drive *d, const uint8_t *p, uint32_t alloc)
{
    unsigned format = p[2] & 15 ? p[2] & 15 : p[9] >> 6;
    bool msf = p[1] & 2;
    uint8_t *b = d->buf;
    unsigned n = 4;

    memset(b, 0, 64);
    b[2] = b[3] = 1;
    if (format == 0) {
        if (p[6] > 1 && p[6] != 0xaa) {
            check_condition(d, SENSE_ILLEGAL, 0x24);
            return;
        }
        if (p[6] <= 1) {
            b[n + 1] = 0x14;
            b[n + 2] = 1;
            put_address(b + n + 4, 0, msf);
            n += 8;
        }
        b[n + 1] = 0x16;
        b[n + 2] = 0xaa; /* lead-out */
        put_address(b + n + 4, d->sectors, msf);
        n += 8;
    } else if (format == 1) {
        b[n + 1] = 0x14;
        b[n + 2] = 1;
        put_address(b + n + 4, 0, msf);
        n += 8;
    } else {
        check_condition(d, SENSE_ILLEGAL, 0x24);
        return;
    }
    st_be16(b, (uint16_t)(n - 2));
    answer(d, n, alloc);
}

static void mode_sense(struct ide_drive *d, uint8_t page, uint32_t alloc)
{
    uint8_t *b = d->buf;
    unsigned n = 8;

    memset(b, 0, 64);
    b[2] = d->blk ? 0x01 : 0x70;
    switch (page & 0x3f) {
    case 0x01: /* error recovery */
        b[n] = 0x01;
        b[n + 1] = 6;
        b[n + 3] = 5;
        n += 8;
        break;
    case 0x2a: /* capabilities: lock, eject, tray */
    case 0x3f:
        b[n] = 0x2a;
        b[n + 1] = 0x12;
        b[n + 2] = 3;
        b[n + 4] = 0x70;
        b[n + 6] = (uint8_t)(0x29 | (d->s.locked ? 2 : 0));
        st_be16(b + n + 8, 706);
        st_be16(b + n + 14, 706);
        n += 20;
        break;
    default: check_condition(d, SENSE_ILLEGAL, 0x24); return;
    }
    st_be16(b, (uint16_t)(n - 2));
    answer(d, n, alloc);
}

static void get_configuration(struct ide_drive *d, uint32_t alloc)
{
    uint8_t *b = d->buf;

    memset(b, 0, 40);
    st_be32(b, 36);
    st_be16(b + 6, d->blk ? 8 : 0); /* current profile: CD-ROM */
    b[8 + 2] = 3;                   /* profile list, current and persistent */
    b[8 + 3] = 4;
    st_be16(b + 12, 8);
    b[14] = d->blk ? 1 : 0;
    st_be16(b + 16, 1); /* core */
    b[18] = 0x0b;
    b[19] = 8;
    st_be32(b + 20, 2); /* ATAPI */
    st_be16(b + 28, 3); /* removable medium */
    b[30] = 0x03;
    b[31] = 4;
    b[32] = 0x39;
    answer(d, 36, alloc);
}

static void event_status(struct ide_drive *d, const uint8_t *p, uint32_t alloc)
{
    uint8_t *b = d->buf;

    if (!(p[1] & 1)) {
        check_condition(d, SENSE_ILLEGAL, 0x24);
        return;
    }
    memset(b, 0, 8);
    b[3] = 0x10;
    if (!(p[4] & 0x10)) {
        st_be16(b, 2);
        b[2] = 0x80;
        answer(d, 4, alloc);
        return;
    }
    st_be16(b, 6);
    b[2] = 4;
    b[4] = d->s.media_changed ? 2 : 0;
    b[5] = (uint8_t)((d->blk && !d->s.tray_open ? 2 : 0) | d->s.tray_open);
    d->s.media_changed = 0;
    answer(d, 8, alloc);
}

static void start_stop(struct ide_drive *d, uint8_t what)
{
    if ((what & 3) == 2 && d->s.locked) {
        check_condition(d, SENSE_ILLEGAL, 0x53);
        return;
    }
    if ((what & 3) == 2)
        d->s.tray_open = 1;
    else if ((what & 3) == 3) {
        d->s.media_changed = d->s.tray_open;
        d->s.tray_open = 0;
    }
    good(d);
}

/* Whether a command that needs the medium may go on. */
static bool medium_ready(struct ide_drive *d)
{
    if (!d->blk || d->s.tray_open) {
        check_condition(d, SENSE_NOT_READY, 0x3a);
        return false;
    }
    if (d->s.media_changed) {
        d->s.media_changed = 0;
        check_condition(d, SENSE_ATTENTION, 0x28);
        return false;
    }
    return true;
}

static bool needs_medium(uint8_t op)
{
    switch (op) {
    case 0x00:
    case 0x25:
    case 0x28:
    case 0x2b:
    case 0x42:
    case 0x43:
    case 0x44:
    case 0x51:
    case 0xa8:
    case 0xbe: return true;
    default: return false;
    }
}

void atapi_command(struct ide_drive *d)
{
    uint8_t p[PACKET];

    memcpy(p, d->buf, sizeof(p));
    if (needs_medium(p[0]) && !medium_ready(d))
        return;
    switch (p[0]) {
    case 0x00:
    case 0x2b:
    case 0xbb: good(d); break; /* test unit ready, seek, set speed */
    case 0x03: request_sense(d, p[4]); break;
    case 0x12: inquiry(d, ld_be16(p + 3)); break;
    case 0x1b: start_stop(d, p[4]); break;
    case 0x1e:
        d->s.locked = p[4] & 1;
        good(d);
        break;
    case 0x25:
        st_be32(d->buf, (uint32_t)(d->sectors - 1));
        st_be32(d->buf + 4, CD_SECTOR);
        answer(d, 8, 8);
        break;
    case 0x28: read_sectors(d, ld_be32(p + 2), ld_be16(p + 7)); break;
    case 0xa8: read_sectors(d, ld_be32(p + 2), ld_be32(p + 6)); break;
    case 0xbe: /* READ CD: user data only */
        if ((p[9] & 0xf8) == 0x10)
            read_sectors(d, ld_be32(p + 2), ld_be32(p + 5) & 0xffffff);
        else if ((p[9] & 0xf8) == 0)
            good(d);
        else
            check_condition(d, SENSE_ILLEGAL, 0x24);
        break;
    case 0x43: read_toc(d, p, ld_be16(p + 7)); break;
    case 0x46: get_configuration(d, ld_be16(p + 7)); break;
    case 0x4a: event_status(d, p, ld_be16(p + 7)); break;
    case 0x51: /* READ DISC INFORMATION: one finalized session */
        memset(d->buf, 0, 34);
        st_be16(d->buf, 32);
        d->buf[2] = 0x0e;
        d->buf[3] = d->buf[4] = d->buf[5] = d->buf[6] = 1;
        answer(d, 34, ld_be16(p + 7));
        break;
    case 0x5a: mode_sense(d, p[2], ld_be16(p + 7)); break;
    case 0xbd: /* MECHANISM STATUS */
        memset(d->buf, 0, 8);
        d->buf[1] = d->s.tray_open ? 0x10 : 0;
        answer(d, 8, ld_be16(p + 8));
        break;
    default: check_condition(d, SENSE_ILLEGAL, 0x20); break;
    }
}
