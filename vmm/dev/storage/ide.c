/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PIIX3 IDE: two channels at the legacy ports with two drives each, and the bus master. Source:
 * Intel 82371SB data sheet; ATA/ATAPI-6. Image accesses are asynchronous; a channel has one command
 * under way, as the wire has. */
#include "vmm/dev/storage/ide.h"

#include <string.h>

#include "vmm/base/alloc.h"

#define BM_SIZE       16
#define BM_START      0x01u
#define BM_TO_MEMORY  0x08u
#define BMS_ACTIVE    0x01u
#define BMS_ERROR     0x02u
#define BMS_INTERRUPT 0x04u

#define CTL_NIEN 0x02u
#define CTL_SRST 0x04u

#define PRD_MAX 8192 /* entries of a table that are followed */

struct ide_channel_state {
    uint8_t control;  /* device control register */
    uint8_t selected; /* 0 or 1 */
    uint8_t bm_command, bm_status;
    uint32_t bm_table;
    uint32_t prd_next, prd_address, prd_left; /* where the bus master is in its table */
    uint16_t prd_count;
    uint8_t prd_last;
};

struct ide_channel {
    struct ide *ide;
    unsigned index;
    const struct irq_line *irq;
    struct ide_channel_state s;
    struct ide_drive drives[2];
};

struct ide {
    struct dev dev;
    struct blk *blk[IDE_DRIVES];
    bool cdrom[IDE_DRIVES];
    struct pci_dev *pci;
    struct ide_channel ch[IDE_CHANNELS];
};

static struct ide_drive *selected(struct ide_channel *ch)
{
    return &ch->drives[ch->s.selected];
}

/* ---- what the drives use ---- */

void ide_irq(struct ide_drive *d)
{
    if (d->ch->s.control & CTL_NIEN)
        return;
    d->ch->s.bm_status |= BMS_INTERRUPT;
    irq_set(d->ch->irq, 1);
}

void ide_done(struct ide_drive *d, uint8_t status)
{
    d->s.status = status;
    d->s.phase = IDE_IDLE;
    ide_irq(d);
}

void ide_abort(struct ide_drive *d)
{
    d->s.error = ATA_E_ABRT;
    ide_done(d, ATA_DRDY | ATA_DSC | ATA_ERR);
}

static void on_block(struct blk_req *req, int err)
{
    struct ide_drive *d = req->opaque;
    bool stale = d->stale;

    d->busy = d->stale = false;
    if (!stale)
        d->after(d, err);
}

void ide_block(struct ide_drive *d, enum blk_op op, uint64_t offset, uint32_t len,
               void (*after)(struct ide_drive *d, int err))
{
    d->s.status = ATA_BSY | (d->s.status & ATA_DSC);
    d->s.phase = IDE_BLOCK_WAIT;
    d->after = after;
    d->busy = true;
    d->iov = (struct iovec){d->buf, len};
    d->req = (struct blk_req){.op = op,
                              .offset = offset,
                              .len = len,
                              .iov = &d->iov,
                              .iovcnt = len ? 1 : 0,
                              .done = on_block,
                              .opaque = d};
    blk_submit(d->blk, &d->req);
}

/* The buffer must not change behind a reset, and the request is used again: so this waits. */
void ide_cancel(struct ide_drive *d)
{
    if (!d->busy)
        return;
    d->stale = true;
    blk_drain(d->blk);
}

bool ide_dma_ready(const struct ide_drive *d)
{
    return d->ch->s.bm_command & BM_START;
}

/* A command of many buffers walks the table piece by piece; the place is kept in the channel. */
bool ide_dma(struct ide_drive *d, uint32_t len, bool to_memory)
{
    struct mem *mem = d->ch->ide->dev.env->mem;
    struct ide_channel_state *s = &d->ch->s;

    for (uint32_t done = 0; done < len;) {
        if (s->prd_left == 0) {
            uint8_t prd[8];

            if (s->prd_last || s->prd_count++ == PRD_MAX ||
                !mem_read(mem, s->prd_next, prd, sizeof(prd)))
                return false;
            s->prd_next += 8;
            s->prd_address = ld_le32(prd) & ~1u;
            s->prd_left = ld_le16(prd + 4) & ~1u;
            if (s->prd_left == 0)
                s->prd_left = 0x10000;
            s->prd_last = prd[7] >> 7;
        }
        uint32_t n = MIN(s->prd_left, len - done);
        if (!(to_memory ? mem_write(mem, s->prd_address, d->buf + done, n)
                        : mem_read(mem, s->prd_address, d->buf + done, n)))
            return false;
        s->prd_address += n;
        s->prd_left -= n;
        done += n;
    }
    return true;
}

void ide_dma_finish(struct ide_drive *d, bool error)
{
    d->ch->s.bm_status &= (uint8_t)~BMS_ACTIVE;
    if (error)
        d->ch->s.bm_status |= BMS_ERROR;
}

/* ---- reset ---- */

static void drive_reset(struct ide_drive *d)
{
    uint8_t unit = d->unit & 1 ? 0x10 : 0;

    ide_cancel(d);
    memset(&d->s, 0, sizeof(d->s));
    d->s.device = 0xa0 | unit;
    d->s.error = 1; /* diagnostics passed */
    d->s.multiple = 16;
    if (!ide_present(d))
        return;
    if (d->cdrom)
        atapi_signature(d);
    else
        ata_signature(d);
}

static void channel_reset(struct ide_channel *ch)
{
    for (unsigned i = 0; i < 2; i++)
        drive_reset(&ch->drives[i]);
    ch->s.selected = 0;
    irq_set(ch->irq, 0);
}

/* ---- command block ---- */

static uint32_t data_in(struct ide_channel *ch, unsigned size)
{
    struct ide_drive *d = selected(ch);
    uint32_t v = 0;

    if (d->s.phase != IDE_PIO_IN)
        return 0;
    size = MIN(size, d->s.len - d->s.pos); /* the last bytes, read wider than they are */
    v = (uint32_t)ld_le(d->buf + d->s.pos, size);
    d->s.pos += size;
    if (d->s.pos == d->s.len)
        (d->cdrom ? atapi_data_done : ata_data_done)(d);
    return v;
}

static void data_out(struct ide_channel *ch, uint32_t value, unsigned size)
{
    struct ide_drive *d = selected(ch);

    if (d->s.phase != IDE_PIO_OUT && d->s.phase != IDE_PACKET)
        return;
    size = MIN(size, d->s.len - d->s.pos);
    st_le(d->buf + d->s.pos, value, size);
    d->s.pos += size;
    if (d->s.pos < d->s.len)
        return;
    if (d->s.phase == IDE_PACKET)
        atapi_command(d);
    else
        ata_data_done(d);
}

static uint8_t status_of(struct ide_channel *ch)
{
    struct ide_drive *d = selected(ch);

    /* drive 0 answers for an absent drive 1, with zeros */
    return ide_present(d) ? d->s.status : 0;
}

static uint8_t hob(const struct ide_channel *ch, uint16_t reg)
{
    return ch->s.control & 0x80 ? (uint8_t)(reg >> 8) : (uint8_t)reg;
}

static uint32_t block_read(void *opaque, uint16_t offset, unsigned size)
{
    struct ide_channel *ch = opaque;
    const struct ide_drive *d = selected(ch);

    if (offset == 0)
        return data_in(ch, size);
    if (!ide_present(&ch->drives[0]) && !ide_present(&ch->drives[1]))
        return 0xff;
    if (!ide_present(d) && offset != 6)
        return 0;
    switch (offset) {
    case 1: return d->s.error;
    case 2: return hob(ch, d->s.count);
    case 3: return hob(ch, d->s.lba_low);
    case 4: return hob(ch, d->s.lba_mid);
    case 5: return hob(ch, d->s.lba_high);
    case 6: return d->s.device;
    default: irq_set(ch->irq, 0); return d->s.status;
    }
}

static void shift_in(uint16_t *reg, uint8_t v)
{
    *reg = (uint16_t)(*reg << 8 | v);
}

/* Registers of both drives are written at once, as both are on the wire. */
static void block_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct ide_channel *ch = opaque;
    struct ide_drive *d = selected(ch);
    uint8_t v = (uint8_t)value;

    if (offset == 0) {
        data_out(ch, value, size);
        return;
    }
    if (offset == 7) {
        irq_set(ch->irq, 0);
        if (!ide_present(d) || ((d->s.status & ATA_BSY) && v != 0x08))
            return;
        if (d->s.phase != IDE_IDLE && v != 0x08)
            d->s.phase = IDE_IDLE;
        ata_command(d, v);
        return;
    }
    if (d->s.status & (ATA_BSY | ATA_DRQ) && ide_present(d) && offset != 6)
        return;
    ch->s.control &= 0x7f;
    for (unsigned i = 0; i < 2; i++) {
        struct ide_drive_state *s = &ch->drives[i].s;

        switch (offset) {
        case 1: s->features = v; break;
        case 2: shift_in(&s->count, v); break;
        case 3: shift_in(&s->lba_low, v); break;
        case 4: shift_in(&s->lba_mid, v); break;
        case 5: shift_in(&s->lba_high, v); break;
        default: s->device = v | 0xa0; break;
        }
    }
    if (offset == 6)
        ch->s.selected = !!(v & 0x10);
}

static uint32_t control_read(void *opaque, uint16_t offset, unsigned size)
{
    struct ide_channel *ch = opaque;

    (void)offset;
    (void)size;
    if (!ide_present(&ch->drives[0]) && !ide_present(&ch->drives[1]))
        return 0xff;
    return status_of(ch);
}

static void control_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct ide_channel *ch = opaque;
    uint8_t was = ch->s.control;

    (void)offset;
    (void)size;
    ch->s.control = (uint8_t)value;
    if (value & CTL_SRST) {
        for (unsigned i = 0; i < 2; i++) {
            ide_cancel(&ch->drives[i]);
            ch->drives[i].s.status = ATA_BSY;
            ch->drives[i].s.phase = IDE_IDLE;
        }
    } else if (was & CTL_SRST) {
        channel_reset(ch);
    }
    if (value & CTL_NIEN)
        irq_set(ch->irq, 0);
}

static const struct pio_ops block_ops = {block_read, block_write, 4};
static const struct pio_ops control_ops = {control_read, control_write, 1};

/* ---- bus master ---- */

static uint32_t bm_read(void *opaque, uint16_t offset, unsigned size)
{
    const struct ide *ide = opaque;
    const struct ide_channel_state *s = &ide->ch[offset / 8].s;
    unsigned at = offset % 8;
    uint32_t v = 0;

    if (at == 0)
        v = s->bm_command | (uint32_t)s->bm_status << 16;
    else if (at == 2)
        v = s->bm_status;
    else if (at >= 4)
        v = s->bm_table >> (8 * (at - 4));
    return v & (uint32_t)mask_bytes(size);
}

static void bm_command(struct ide_channel *ch, uint8_t v)
{
    bool start = (v & BM_START) && !(ch->s.bm_command & BM_START);

    ch->s.bm_command = v & (BM_START | BM_TO_MEMORY);
    if (!(v & BM_START)) {
        ch->s.bm_status &= (uint8_t)~BMS_ACTIVE;
        return;
    }
    if (!start)
        return;
    ch->s.bm_status |= BMS_ACTIVE;
    ch->s.prd_next = ch->s.bm_table & ~3u;
    ch->s.prd_left = 0;
    ch->s.prd_count = 0;
    ch->s.prd_last = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct ide_drive *d = &ch->drives[i];

        if (d->s.phase == IDE_DMA_WAIT)
            (d->cdrom ? atapi_dma_start : ata_dma_start)(d);
    }
}

static void bm_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct ide *ide = opaque;
    struct ide_channel *ch = &ide->ch[offset / 8];
    unsigned at = offset % 8;

    if (at == 0)
        bm_command(ch, (uint8_t)value);
    else if (at == 2)
        ch->s.bm_status = (uint8_t)((value & 0x60) | (ch->s.bm_status & BMS_ACTIVE) |
                                    (ch->s.bm_status & ~value & (BMS_ERROR | BMS_INTERRUPT)));
    else if (at >= 4) {
        unsigned shift = 8 * (at - 4);
        uint32_t mask = (uint32_t)(mask_bytes(size) << shift);
        ch->s.bm_table = ((ch->s.bm_table & ~mask) | (value << shift & mask)) & ~3u;
    }
}

static const struct pio_ops bm_ops = {bm_read, bm_write, 4};

/* ---- life ---- */

static void drive_init(struct ide *ide, unsigned unit)
{
    struct ide_drive *d = &ide->ch[unit / 2].drives[unit % 2];

    d->ch = &ide->ch[unit / 2];
    d->unit = unit;
    d->blk = ide->blk[unit];
    d->cdrom = ide->cdrom[unit];
    if (!ide_present(d))
        return;
    d->buf = x_alloc(IDE_BUFFER);
    if (d->blk) {
        blk_get_info(d->blk, &d->info);
        d->sectors = d->info.size / (d->cdrom ? 2048 : 512);
    }
}

static bool ide_realize(struct dev *dev, struct err *e)
{
    static const struct {
        uint16_t block, control;
        unsigned gsi;
    } legacy[IDE_CHANNELS] = {{0x1f0, 0x3f6, 14}, {0x170, 0x376, 15}};
    struct ide *ide = container_of(dev, struct ide, dev);
    const struct pci_ids ids = {
        .vendor = 0x8086, .device = 0x7010, .class_code = 1, .subclass = 1, .prog_if = 0x80};

    ide->pci = pci_add(dev->env->pci, 1 << 3 | 1, "ide", &ids, NULL, ide, e);
    if (!ide->pci)
        return false;
    pci_bar_io(ide->pci, 4, BM_SIZE, &bm_ops);
    /* IDETIM: both channels decode (bit 15) */
    pci_config(ide->pci)[0x41] = pci_config(ide->pci)[0x43] = 0x80;
    memset(pci_write_mask(ide->pci) + 0x40, 0xff, 4);
    for (unsigned i = 0; i < IDE_DRIVES; i++)
        drive_init(ide, i);
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        ide->ch[i].ide = ide;
        ide->ch[i].index = i;
        ide->ch[i].irq = bus_gsi(dev->env->bus, legacy[i].gsi);
        bus_add_pio(dev->env->bus, "ide", legacy[i].block, 8, &block_ops, &ide->ch[i]);
        bus_add_pio(dev->env->bus, "ide-control", legacy[i].control, 1, &control_ops, &ide->ch[i]);
    }
    return true;
}

static void ide_quiesce(struct dev *dev)
{
    struct ide *ide = container_of(dev, struct ide, dev);

    for (unsigned i = 0; i < IDE_DRIVES; i++)
        if (ide->ch[i / 2].drives[i % 2].busy)
            blk_drain(ide->ch[i / 2].drives[i % 2].blk);
}

static void ide_unrealize(struct dev *dev)
{
    struct ide *ide = container_of(dev, struct ide, dev);

    ide_quiesce(dev);
    if (ide->pci)
        pci_remove(ide->pci);
    for (unsigned i = 0; i < IDE_DRIVES; i++)
        x_free(ide->ch[i / 2].drives[i % 2].buf);
}

static void ide_reset(struct dev *dev)
{
    struct ide *ide = container_of(dev, struct ide, dev);

    pci_reset(ide->pci);
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        channel_reset(&ide->ch[i]);
        memset(&ide->ch[i].s, 0, sizeof(ide->ch[i].s));
        ide->ch[i].s.bm_status = 0x60; /* both drives can DMA */
    }
}

#define DRIVE_PROPS(n)                                                                             \
    DEV_PROP("drive" #n, PROP_PTR, struct ide, blk[n], 0, "image of drive " #n),                   \
        DEV_PROP("cdrom" #n, PROP_BOOL, struct ide, cdrom[n], 0, "drive " #n " is a CD drive")
static const struct dev_prop ide_props[] = {
    DRIVE_PROPS(0), DRIVE_PROPS(1), DRIVE_PROPS(2), DRIVE_PROPS(3), {0}};

const struct dev_class ide_class = {
    .name = "piix3-ide",
    .summary = "IDE controller with disks and CD drives",
    .size = sizeof(struct ide),
    .props = ide_props,
    .realize = ide_realize,
    .unrealize = ide_unrealize,
    .reset = ide_reset,
    .quiesce = ide_quiesce,
};
