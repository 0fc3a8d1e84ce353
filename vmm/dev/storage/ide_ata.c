/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ATA commands (ATA/ATAPI-6): identification, reads and writes by PIO and DMA with 28 and 48 bit
 * addresses, flush, TRIM, and the small ones that drivers send. What is not supported is aborted,
 * as the standard asks. */
#include <stdio.h>
#include <string.h>

#include "vmm/dev/storage/ide.h"

#define SECTOR BLK_SECTOR
#define READY  (ATA_DRDY | ATA_DSC)

#define HEADS         16u
#define SECTORS_TRACK 63u

void ide_string(uint16_t *words, unsigned count, const char *text)
{
    size_t len = strlen(text);

    for (unsigned i = 0; i < count; i++) {
        char a = 2 * i < len ? text[2 * i] : ' ', b = 2 * i + 1 < len ? text[2 * i + 1] : ' ';
        words[i] = (uint16_t)((uint8_t)a << 8 | (uint8_t)b);
    }
}

void ata_signature(struct ide_drive *d)
{
    d->s.count = 1;
    d->s.lba_low = 1;
    d->s.lba_mid = d->s.lba_high = 0;
    d->s.status = READY;
}

static uint16_t cylinders(const struct ide_drive *d)
{
    return (uint16_t)MIN(d->sectors / (HEADS * SECTORS_TRACK), 16383u);
}

static void identify(struct ide_drive *d)
{
    uint16_t w[256] = {0};
    char serial[21];
    uint32_t lba28 = (uint32_t)MIN(d->sectors, 0xfffffffu);

    snprintf(serial, sizeof(serial), "VMDECK%04u", d->unit);
    w[0] = 0x40;
    w[1] = cylinders(d);
    w[3] = HEADS;
    w[6] = SECTORS_TRACK;
    ide_string(w + 10, 10, serial);
    ide_string(w + 23, 4, VMDECK_VERSION);
    ide_string(w + 27, 20, "VMDECK HARDDISK");
    w[47] = 0x8000 | 16;
    w[49] = 0x0f00; /* DMA, LBA, IORDY */
    w[50] = 0x4000;
    w[53] = 7;
    w[54] = w[1];
    w[55] = w[3];
    w[56] = w[6];
    uint32_t chs = (uint32_t)w[1] * HEADS * SECTORS_TRACK;
    w[57] = (uint16_t)chs;
    w[58] = (uint16_t)(chs >> 16);
    w[59] = 0x100 | d->s.multiple;
    w[60] = (uint16_t)lba28;
    w[61] = (uint16_t)(lba28 >> 16);
    w[63] = (uint16_t)(7 | (d->s.mode >> 3 == 4 ? 0x100u << (d->s.mode & 7) : 0));
    w[64] = 3;
    w[65] = w[66] = w[67] = w[68] = 120;
    w[80] = 0x7e;
    w[82] = 0x4020; /* NOP, write cache */
    w[83] = 0x7400; /* FLUSH CACHE, EXT, LBA48 */
    w[84] = 0x4000;
    w[85] = 0x4020;
    w[86] = 0x3400;
    w[87] = 0x4000;
    w[88] = (uint16_t)(0x3f | (d->s.mode >> 3 == 8 ? 0x100u << (d->s.mode & 7) : 0));
    w[93] = 0x6001;
    for (unsigned i = 0; i < 4; i++)
        w[100 + i] = (uint16_t)(d->sectors >> (16 * i));
    w[169] = d->info.readonly ? 0 : 1; /* TRIM */
    for (unsigned i = 0; i < 256; i++)
        st_le16(d->buf + 2 * i, w[i]);
}

/* ---- addresses ---- */

static bool is_ext(uint8_t command)
{
    switch (command) {
    case 0x24:
    case 0x25:
    case 0x29:
    case 0x34:
    case 0x35:
    case 0x39:
    case 0x42: return true;
    default: return false;
    }
}

static uint64_t address(const struct ide_drive *d, bool ext)
{
    const struct ide_drive_state *s = &d->s;

    if (ext)
        return (uint64_t)(s->lba_low & 0xff) | (uint64_t)(s->lba_mid & 0xff) << 8 |
               (uint64_t)(s->lba_high & 0xff) << 16 | (uint64_t)(s->lba_low >> 8) << 24 |
               (uint64_t)(s->lba_mid >> 8) << 32 | (uint64_t)(s->lba_high >> 8) << 40;
    if (s->device & 0x40)
        return (uint64_t)(s->device & 15) << 24 | (uint64_t)(s->lba_high & 0xff) << 16 |
               (uint64_t)(s->lba_mid & 0xff) << 8 | (s->lba_low & 0xff);
    uint64_t cylinder = (uint64_t)(s->lba_high & 0xff) << 8 | (s->lba_mid & 0xff);
    unsigned sector = s->lba_low & 0xff;
    if (sector == 0 || sector > SECTORS_TRACK)
        return UINT64_MAX;
    return (cylinder * HEADS + (s->device & 15)) * SECTORS_TRACK + sector - 1;
}

static uint32_t sector_count(const struct ide_drive *d, bool ext)
{
    uint32_t n = ext ? d->s.count : d->s.count & 0xff;

    return n ? n : ext ? 65536 : 256;
}

static void store_address(struct ide_drive *d, uint64_t lba, bool ext)
{
    struct ide_drive_state *s = &d->s;

    if (!ext && !(s->device & 0x40))
        return; /* CHS is left as it was */
    s->lba_low = (uint16_t)((lba & 0xff) | (ext ? lba >> 24 << 8 : 0));
    s->lba_mid = (uint16_t)((lba >> 8 & 0xff) | (ext ? lba >> 32 << 8 : 0));
    s->lba_high = (uint16_t)((lba >> 16 & 0xff) | (ext ? lba >> 40 << 8 : 0));
    if (!ext)
        s->device = (uint8_t)((s->device & 0xf0) | (lba >> 24 & 15));
}

static void fail(struct ide_drive *d, uint8_t error)
{
    d->s.error = error;
    ide_dma_finish(d, false);
    ide_done(d, READY | ATA_ERR);
}

/* ---- transfers: the buffer holds one piece ---- */

static uint32_t piece(const struct ide_drive *d)
{
    uint32_t most = d->s.dma ? IDE_BUFFER / SECTOR : (d->s.chunk ? d->s.chunk : 1);

    return MIN(d->s.left, most);
}

static void transfer_end(struct ide_drive *d)
{
    store_address(d, d->s.lba, is_ext(d->s.command));
    ide_dma_finish(d, false);
    ide_done(d, READY);
}

static void read_piece(struct ide_drive *d);
static void write_piece(struct ide_drive *d);

static void wait_for_dma(struct ide_drive *d)
{
    d->s.phase = IDE_DMA_WAIT;
    d->s.status = READY | ATA_DRQ;
}

static void piece_moved(struct ide_drive *d)
{
    uint32_t n = d->s.len / SECTOR;

    d->s.lba += n;
    d->s.left -= n;
}

static void after_read(struct ide_drive *d, int err)
{
    if (err) {
        fail(d, ATA_E_UNC);
        return;
    }
    if (d->s.dma) {
        if (!ide_dma_ready(d)) { /* stopped meanwhile: the piece is read again if it goes on */
            wait_for_dma(d);
            return;
        }
        if (!ide_dma(d, d->s.len, true)) {
            fail(d, ATA_E_ABRT);
            return;
        }
        piece_moved(d);
        if (d->s.left)
            read_piece(d);
        else
            transfer_end(d);
        return;
    }
    d->s.pos = 0;
    d->s.phase = IDE_PIO_IN;
    d->s.status = READY | ATA_DRQ;
    ide_irq(d);
}

static void read_piece(struct ide_drive *d)
{
    d->s.len = piece(d) * SECTOR;
    ide_block(d, BLK_READ, d->s.lba * SECTOR, d->s.len, after_read);
}

static void after_write(struct ide_drive *d, int err)
{
    if (err) {
        fail(d, ATA_E_ABRT);
        return;
    }
    piece_moved(d);
    if (!d->s.left)
        transfer_end(d);
    else if (d->s.dma)
        write_piece(d);
    else {
        d->s.len = piece(d) * SECTOR;
        d->s.pos = 0;
        d->s.phase = IDE_PIO_OUT;
        d->s.status = READY | ATA_DRQ;
        ide_irq(d);
    }
}

static void write_piece(struct ide_drive *d)
{
    if (!ide_dma_ready(d)) {
        wait_for_dma(d);
        return;
    }
    d->s.len = piece(d) * SECTOR;
    if (!ide_dma(d, d->s.len, false)) {
        fail(d, ATA_E_ABRT);
        return;
    }
    ide_block(d, BLK_WRITE, d->s.lba * SECTOR, d->s.len, after_write);
}

void ata_data_done(struct ide_drive *d)
{
    if (d->s.phase == IDE_PIO_OUT) {
        ide_block(d, BLK_WRITE, d->s.lba * SECTOR, d->s.len, after_write);
        return;
    }
    if (d->s.left == 0) { /* IDENTIFY */
        d->s.status = READY;
        d->s.phase = IDE_IDLE;
        return;
    }
    piece_moved(d);
    if (d->s.left) {
        read_piece(d);
        return;
    }
    store_address(d, d->s.lba, is_ext(d->s.command));
    d->s.status = READY;
    d->s.phase = IDE_IDLE;
}

static void after_trim(struct ide_drive *d, int err);

/* Ranges of 6 bytes of address and 2 of length, up to eight sectors of them; one discard after
 * another. */
static void next_trim(struct ide_drive *d)
{
    while (d->s.pos < d->s.len) {
        uint64_t entry = ld_le64(d->buf + d->s.pos), lba = entry & 0xffffffffffff, n = entry >> 48;

        d->s.pos += 8;
        if (!n)
            continue;
        if (lba + n > d->sectors) {
            fail(d, ATA_E_IDNF);
            return;
        }
        ide_block(d, BLK_DISCARD, lba * SECTOR, (uint32_t)n * SECTOR, after_trim);
        return;
    }
    ide_dma_finish(d, false);
    ide_done(d, READY);
}

static void after_trim(struct ide_drive *d, int err)
{
    (void)err; /* a hint */
    next_trim(d);
}

void ata_dma_start(struct ide_drive *d)
{
    if (d->s.command == 0x06) {
        d->s.len = d->s.left * SECTOR;
        d->s.pos = 0;
        if (!ide_dma(d, d->s.len, false))
            fail(d, ATA_E_ABRT);
        else
            next_trim(d);
    } else if (d->s.write) {
        write_piece(d);
    } else {
        read_piece(d);
    }
}

static void start_transfer(struct ide_drive *d, bool write, bool dma, bool multiple)
{
    bool ext = is_ext(d->s.command);
    uint32_t count = sector_count(d, ext);

    d->s.lba = address(d, ext);
    d->s.left = count;
    d->s.write = write;
    d->s.dma = dma;
    d->s.chunk = multiple ? d->s.multiple : 1;
    if ((write && d->info.readonly) || (multiple && !d->s.multiple)) {
        ide_abort(d);
        return;
    }
    if (!range_within(d->s.lba, count, 0, d->sectors)) {
        fail(d, ATA_E_IDNF);
        return;
    }
    if (dma) {
        wait_for_dma(d);
        if (ide_dma_ready(d))
            ata_dma_start(d);
    } else if (write) {
        d->s.len = piece(d) * SECTOR;
        d->s.pos = 0;
        d->s.status = READY | ATA_DRQ;
        d->s.phase = IDE_PIO_OUT; /* the first block comes without an interrupt */
    } else {
        read_piece(d);
    }
}

static void verify(struct ide_drive *d)
{
    bool ext = is_ext(d->s.command);

    if (range_within(address(d, ext), sector_count(d, ext), 0, d->sectors))
        ide_done(d, READY);
    else
        fail(d, ATA_E_IDNF);
}

static void after_flush(struct ide_drive *d, int err)
{
    if (err)
        fail(d, ATA_E_ABRT);
    else
        ide_done(d, READY);
}

static void set_features(struct ide_drive *d)
{
    switch (d->s.features) {
    case 0x03: d->s.mode = (uint8_t)d->s.count; break;
    case 0x02:
    case 0x82:
    case 0x55:
    case 0xaa:
    case 0x05:
    case 0x85:
    case 0x66:
    case 0xcc: break; /* caches, look-ahead, power management: nothing to be seen */
    default: ide_abort(d); return;
    }
    ide_done(d, READY);
}

static void trim(struct ide_drive *d)
{
    d->s.left = d->s.count & 0xff;
    if (!(d->s.features & 1) || d->info.readonly || d->s.left == 0 || d->s.left > 8) {
        ide_abort(d);
        return;
    }
    d->s.dma = 1;
    wait_for_dma(d);
    if (ide_dma_ready(d))
        ata_dma_start(d);
}

/* Commands of a disk. */
static void disk_command(struct ide_drive *d, uint8_t command)
{
    switch (command) {
    case 0x20:
    case 0x21:
    case 0x24: start_transfer(d, false, false, false); break;
    case 0x30:
    case 0x31:
    case 0x34: start_transfer(d, true, false, false); break;
    case 0xc4:
    case 0x29: start_transfer(d, false, false, true); break;
    case 0xc5:
    case 0x39: start_transfer(d, true, false, true); break;
    case 0xc8:
    case 0xc9:
    case 0x25: start_transfer(d, false, true, false); break;
    case 0xca:
    case 0xcb:
    case 0x35: start_transfer(d, true, true, false); break;
    case 0x40:
    case 0x41:
    case 0x42: verify(d); break;
    case 0x06: trim(d); break;
    case 0xc6:
        if ((d->s.count & 0xff) > 128 || (d->s.count & (d->s.count - 1) & 0xff)) {
            ide_abort(d);
            break;
        }
        d->s.multiple = (uint8_t)(d->s.count & 0xff);
        ide_done(d, READY);
        break;
    case 0xe7:
    case 0xea: ide_block(d, BLK_FLUSH, 0, 0, after_flush); break;
    case 0xec:
        identify(d);
        d->s.left = 0;
        d->s.pos = 0;
        d->s.len = SECTOR;
        d->s.phase = IDE_PIO_IN;
        d->s.status = READY | ATA_DRQ;
        ide_irq(d);
        break;
    case 0xf8: /* READ NATIVE MAX ADDRESS */
        store_address(d, MIN(d->sectors, 0x10000000u) - 1, false);
        ide_done(d, READY);
        break;
    case 0x10:
    case 0x70:
    case 0x91: ide_done(d, READY); break; /* recalibrate, seek, initialize parameters */
    default: ide_abort(d); break;
    }
}

void ata_command(struct ide_drive *d, uint8_t command)
{
    d->s.command = command;
    d->s.error = 0;
    d->s.status = READY;
    switch (command) {
    case 0x08: /* DEVICE RESET */
        if (!d->cdrom) {
            ide_abort(d);
            return;
        }
        ide_cancel(d);
        d->s.phase = IDE_IDLE;
        atapi_signature(d);
        return;
    case 0x90: /* EXECUTE DEVICE DIAGNOSTIC */
        d->s.error = 1;
        if (d->cdrom)
            atapi_signature(d);
        else
            ata_signature(d);
        ide_irq(d);
        return;
    case 0xef: set_features(d); return;
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe6: ide_done(d, READY); return; /* power modes */
    case 0xe5:
        d->s.count = 0xff; /* active */
        ide_done(d, READY);
        return;
    default: break;
    }
    if (!d->cdrom) {
        disk_command(d, command);
        return;
    }
    switch (command) {
    case 0xa0: atapi_packet(d); break;
    case 0xa1: {
        uint16_t w[256] = {0};
        atapi_identify(d, w);
        for (unsigned i = 0; i < 256; i++)
            st_le16(d->buf + 2 * i, w[i]);
        d->s.left = 0;
        d->s.pos = 0;
        d->s.len = d->s.chunk = SECTOR;
        d->s.phase = IDE_PIO_IN;
        d->s.status = READY | ATA_DRQ;
        ide_irq(d);
        break;
    }
    case 0xec:
    case 0x20:
    case 0x21: /* the signature tells the driver what this is */
        atapi_signature(d);
        d->s.error = ATA_E_ABRT;
        ide_done(d, READY | ATA_ERR);
        break;
    default: ide_abort(d); break;
    }
}
