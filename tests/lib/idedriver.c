/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/idedriver.h"

#include <stdio.h>

static uint16_t bm(const struct idetest *i)
{
    return (uint16_t)(IDE_BM + (i->base == 0x1f0 ? 0 : 8));
}

void ide_channel(struct idetest *i, unsigned n)
{
    i->base = n ? 0x170 : 0x1f0;
    i->control = n ? 0x376 : 0x3f6;
    i->gsi = n ? 15 : 14;
}

void ide_start(struct idetest *i, const struct ide_drive_spec spec[4])
{
    struct err e = ERR_INIT;
    char prop[8];

    memset(i, 0, sizeof(*i));
    dt_init(&i->t);
    i->loop = i->t.env.loop = loop_new(&e);
    i->dev = dt_new(&i->t, "piix3-ide");
    for (unsigned n = 0; n < 4; n++) {
        snprintf(prop, sizeof(prop), "drive%u", n);
        if (spec[n].size) {
            image_new(&i->im[n], spec[n].size, spec[n].readonly, i->loop);
            dev_set_ptr(i->dev, prop, i->im[n].blk);
        }
        snprintf(prop, sizeof(prop), "cdrom%u", n);
        dev_set_u64(i->dev, prop, spec[n].cdrom);
    }
    dt_realize(i->dev);
    dt_cfg_write(&i->t, IDE_DEVFN, PCI_BAR0 + 16, IDE_BM, 4);
    dt_cfg_write(&i->t, IDE_DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER, 2);
    ide_channel(i, 0);
}

void ide_stop(struct idetest *i)
{
    dev_free(i->dev);
    for (unsigned n = 0; n < 4; n++)
        if (i->im[n].blk)
            image_free(&i->im[n]);
    loop_free(i->loop);
    dt_fini(&i->t);
}

uint8_t ide_wait(struct idetest *i)
{
    uint8_t status;

    for (unsigned n = 0; (status = ide_alt_status(i)) & IDE_BSY; n++) {
        assert_in_range(n, 0, 1000);
        loop_step(i->loop, 10);
    }
    return status;
}

void ide_read_data(struct idetest *i, void *buf, unsigned bytes)
{
    for (unsigned n = 0; n < bytes; n += 2)
        st_le16((uint8_t *)buf + n, dt_inw(&i->t, i->base));
}

void ide_write_data(struct idetest *i, const void *buf, unsigned bytes)
{
    for (unsigned n = 0; n < bytes; n += 2)
        dt_outw(&i->t, i->base, ld_le16((const uint8_t *)buf + n));
}

void ide_command(struct idetest *i, unsigned drive, uint8_t command, uint32_t lba, uint8_t count)
{
    ide_out(i, REG_DEVICE, (uint8_t)(0xe0 | drive << 4 | (lba >> 24 & 15)));
    ide_out(i, REG_COUNT, count);
    ide_out(i, REG_LBA_LOW, (uint8_t)lba);
    ide_out(i, REG_LBA_MID, (uint8_t)(lba >> 8));
    ide_out(i, REG_LBA_HIGH, (uint8_t)(lba >> 16));
    ide_out(i, REG_COMMAND, command);
}

void ide_command_ext(struct idetest *i, unsigned drive, uint8_t command, uint64_t lba,
                     uint16_t count)
{
    ide_out(i, REG_DEVICE, (uint8_t)(0xe0 | drive << 4));
    ide_out(i, REG_COUNT, (uint8_t)(count >> 8));
    ide_out(i, REG_LBA_LOW, (uint8_t)(lba >> 24));
    ide_out(i, REG_LBA_MID, (uint8_t)(lba >> 32));
    ide_out(i, REG_LBA_HIGH, (uint8_t)(lba >> 40));
    ide_out(i, REG_COUNT, (uint8_t)count);
    ide_out(i, REG_LBA_LOW, (uint8_t)lba);
    ide_out(i, REG_LBA_MID, (uint8_t)(lba >> 8));
    ide_out(i, REG_LBA_HIGH, (uint8_t)(lba >> 16));
    ide_out(i, REG_COMMAND, command);
}

void ide_prd(struct idetest *i, uint32_t len, uint32_t piece)
{
    uint32_t at = IDE_DATA;

    for (uint32_t entry = 0; len > 0; entry++) {
        uint32_t n = MIN(len, piece);
        uint8_t prd[8] = {0};

        st_le32(prd, at);
        st_le16(prd + 4, (uint16_t)n); /* 0: 64 KiB */
        prd[7] = n == len ? 0x80 : 0;
        assert_true(mem_write(i->t.mem, IDE_PRD + 8 * entry, prd, 8));
        at += n;
        len -= n;
    }
    dt_outl(&i->t, (uint16_t)(bm(i) + 4), IDE_PRD);
}

void ide_bm_start(struct idetest *i, bool to_memory)
{
    dt_outb(&i->t, (uint16_t)(bm(i) + 2), 0x06);
    dt_outb(&i->t, bm(i), (uint8_t)(IDE_BM_START | (to_memory ? IDE_BM_READ : 0)));
}

uint8_t ide_bm_stop(struct idetest *i)
{
    dt_outb(&i->t, bm(i), 0);
    return dt_inb(&i->t, (uint16_t)(bm(i) + 2));
}

uint64_t ide_mem_word(struct idetest *i, uint64_t gpa)
{
    uint8_t raw[8];

    assert_true(mem_read(i->t.mem, gpa, raw, 8));
    return ld_le64(raw);
}
