/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ATA disks behind the PIIX3 IDE controller: PIO, bus master, and what a confused driver does. */
#include "tests/lib/idedriver.h"

#define SIZE    (1u << 20)
#define SECTORS (SIZE / BLK_SECTOR)

static const struct ide_drive_spec drives[4] = {
    {SIZE, false, false}, {0, false, false}, {0, false, false}, {2 * SIZE, false, true}};

static int setup(void **state)
{
    static struct idetest i;

    ide_start(&i, drives);
    *state = &i;
    return 0;
}

static int teardown(void **state)
{
    ide_stop(*state);
    return 0;
}

static void assert_done(struct idetest *i)
{
    assert_int_equal(ide_wait(i) & (IDE_BSY | IDE_DRDY | IDE_DRQ | IDE_ERR), IDE_DRDY);
}

static void assert_error(struct idetest *i, uint8_t error)
{
    assert_int_equal(ide_wait(i) & (IDE_BSY | IDE_DRQ | IDE_ERR), IDE_ERR);
    assert_int_equal(ide_in(i, REG_ERROR) & error, error);
}

static void identify(void **state)
{
    struct idetest *i = *state;
    uint8_t id[512];

    ide_command(i, 0, 0xec, 0, 0);
    assert_int_equal(i->t.gsi[14], 1);
    assert_true(ide_in(i, REG_COMMAND) & IDE_DRQ);
    assert_int_equal(i->t.gsi[14], 0); /* the status read clears it */
    ide_read_data(i, id, 512);
    assert_done(i);
    assert_int_equal(ld_le32(id + 120), SECTORS);
    assert_int_equal(ld_le32(id + 200), SECTORS);
    assert_memory_equal(id + 54, "MVEDKCH", 7); /* swapped in pairs */
    assert_int_equal(ide_alt_status(i) & IDE_DRQ, 0);
}

static void absent_drives(void **state)
{
    struct idetest *i = *state;

    ide_out(i, REG_DEVICE, 0xb0);
    ide_out(i, REG_COUNT, 0x55);
    assert_int_equal(ide_in(i, REG_COUNT), 0);
    assert_int_equal(ide_in(i, REG_COMMAND), 0);
    ide_out(i, REG_COMMAND, 0xec);
    assert_int_equal(ide_alt_status(i), 0);
    ide_channel(i, 1);
    ide_out(i, REG_DEVICE, 0xb0);
    assert_int_equal(ide_alt_status(i) & IDE_DRDY, IDE_DRDY);
}

static void pio_read(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512];

    ide_command(i, 0, 0x20, 300, 3);
    for (unsigned n = 0; n < 3; n++) {
        assert_true(ide_wait(i) & IDE_DRQ);
        assert_int_equal(i->t.gsi[14], 1);
        ide_in(i, REG_COMMAND);
        ide_read_data(i, data, 512);
        assert_int_equal(ld_le64(data), 300 + n);
        assert_int_equal(data[511], (300 + n) % 251);
    }
    assert_done(i);
    assert_int_equal(i->t.gsi_rises[14], 3);
    ide_command_ext(i, 0, 0x24, 40, 1);
    assert_true(ide_wait(i) & IDE_DRQ);
    for (unsigned n = 0; n < 512; n += 4) /* 32 bits at a time */
        st_le32(data + n, dt_inl(&i->t, i->base));
    assert_int_equal(ld_le64(data), 40);
    assert_done(i);
}

static void pio_write(void **state)
{
    struct idetest *i = *state;
    uint8_t data[1024];

    memset(data, 0xa5, sizeof(data));
    ide_command(i, 0, 0x30, 10, 2);
    assert_true(ide_wait(i) & IDE_DRQ);
    assert_int_equal(i->t.gsi_rises[14], 0); /* none before the first block */
    ide_write_data(i, data, 512);
    assert_true(ide_wait(i) & IDE_DRQ);
    assert_int_equal(i->t.gsi[14], 1);
    ide_write_data(i, data + 512, 512);
    assert_done(i);
    assert_int_equal(image_word(&i->im[0], 10 * 512), UINT64_C(0xa5a5a5a5a5a5a5a5));
    assert_int_equal(image_word(&i->im[0], 12 * 512 - 8), UINT64_C(0xa5a5a5a5a5a5a5a5));
    assert_int_equal(image_word(&i->im[0], 12 * 512), 12);
    ide_command(i, 0, 0xe7, 0, 0);
    assert_done(i);
    ide_command(i, 0, 0xea, 0, 0);
    assert_done(i);
}

static void multiple(void **state)
{
    struct idetest *i = *state;
    uint8_t data[4096];

    ide_command(i, 0, 0xc6, 0, 8);
    assert_done(i);
    ide_command(i, 0, 0xc4, 100, 10); /* a block of 8 and one of 2 */
    i->t.gsi_rises[14] = 0;
    assert_true(ide_wait(i) & IDE_DRQ);
    ide_in(i, REG_COMMAND);
    ide_read_data(i, data, 4096);
    assert_int_equal(ld_le64(data + 7 * 512), 107);
    assert_true(ide_wait(i) & IDE_DRQ);
    ide_in(i, REG_COMMAND);
    ide_read_data(i, data, 1024);
    assert_int_equal(ld_le64(data + 512), 109);
    assert_done(i);
    assert_int_equal(i->t.gsi_rises[14], 2);
    ide_command(i, 0, 0xc6, 0, 3); /* no power of two */
    assert_error(i, 4);
    ide_command(i, 0, 0xc6, 0, 0); /* off */
    assert_done(i);
    ide_command(i, 0, 0xc4, 0, 1);
    assert_error(i, 4);
}

static void chs(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512];

    ide_out(i, REG_DEVICE, 0xa1); /* head 1 */
    ide_out(i, REG_COUNT, 1);
    ide_out(i, REG_LBA_LOW, 5);
    ide_out(i, REG_LBA_MID, 1);
    ide_out(i, REG_LBA_HIGH, 0);
    ide_out(i, REG_COMMAND, 0x20);
    assert_true(ide_wait(i) & IDE_DRQ);
    ide_read_data(i, data, 512);
    assert_int_equal(ld_le64(data), (1 * 16 + 1) * 63 + 4);
    ide_out(i, REG_LBA_LOW, 0); /* sectors count from 1 */
    ide_out(i, REG_COUNT, 1);
    ide_out(i, REG_COMMAND, 0x20);
    assert_error(i, 0x10);
}

static void dma_read(void **state)
{
    struct idetest *i = *state;

    ide_prd(i, 200 * 512, 0x3000); /* more than one buffer, entries that end anywhere */
    ide_command(i, 0, 0xc8, 1000, 200);
    assert_true(ide_alt_status(i) & IDE_DRQ);
    ide_bm_start(i, true);
    assert_done(i);
    assert_int_equal(i->t.gsi[14], 1);
    assert_int_equal(ide_bm_stop(i) & 7, 4);
    for (unsigned n = 0; n < 200; n++)
        assert_int_equal(ide_mem_word(i, IDE_DATA + 512 * n), 1000 + n);
    assert_int_equal(i->t.gsi_rises[14], 1);
}

static void dma_write(void **state)
{
    struct idetest *i = *state;
    static uint8_t data[256 * 512];

    memset(data, 0x3c, sizeof(data));
    assert_true(mem_write(i->t.mem, IDE_DATA, data, sizeof(data)));
    ide_prd(i, sizeof(data), 0x10000);
    ide_bm_start(i, false); /* started before the command: fine, too */
    ide_command(i, 0, 0xca, 64, 0);
    assert_done(i);
    assert_int_equal(ide_bm_stop(i) & 7, 4);
    assert_int_equal(image_word(&i->im[0], 64 * 512), UINT64_C(0x3c3c3c3c3c3c3c3c));
    assert_int_equal(image_word(&i->im[0], 320 * 512 - 8), UINT64_C(0x3c3c3c3c3c3c3c3c));
    assert_int_equal(image_word(&i->im[0], 320 * 512), 320);
}

static void bad_tables(void **state)
{
    struct idetest *i = *state;
    uint8_t prd[8] = {0};

    ide_prd(i, 512, 512); /* too short */
    ide_command(i, 0, 0xc8, 0, 2);
    ide_bm_start(i, true);
    assert_error(i, 4);
    ide_bm_stop(i);
    dt_outl(&i->t, IDE_BM + 4, 0xfffffff8); /* no table there */
    ide_command(i, 0, 0xc8, 0, 1);
    ide_bm_start(i, true);
    assert_error(i, 4);
    ide_bm_stop(i);
    st_le32(prd, 0xe0000000); /* no memory there */
    prd[7] = 0x80;
    assert_true(mem_write(i->t.mem, IDE_PRD, prd, 8));
    dt_outl(&i->t, IDE_BM + 4, IDE_PRD);
    ide_command(i, 0, 0xca, 0, 1);
    ide_bm_start(i, false);
    assert_error(i, 4);
    ide_bm_stop(i);
    assert_int_equal(image_word(&i->im[0], 0), 0);
    ide_prd(i, 512, 512);
    ide_command(i, 0, 0xc8, 9, 1);
    ide_bm_start(i, true);
    assert_done(i);
    assert_int_equal(ide_mem_word(i, IDE_DATA), 9);
}

/* A driver that gives up stops the bus master: nothing is written behind its back. */
static void dma_stopped_in_flight(void **state)
{
    struct idetest *i = *state;
    uint8_t mark[8] = {9, 9, 9, 9, 9, 9, 9, 9};

    ide_prd(i, 65536, 0x10000);
    ide_command(i, 0, 0xc8, 0, 128);
    ide_bm_start(i, true);
    ide_bm_stop(i);
    assert_true(mem_write(i->t.mem, IDE_DATA, mark, 8));
    assert_true(ide_wait(i) & IDE_DRQ);
    assert_int_equal(ide_mem_word(i, IDE_DATA), ld_le64(mark));
    ide_bm_start(i, true); /* and it may go on */
    assert_done(i);
    assert_int_equal(ide_mem_word(i, IDE_DATA + 127 * 512), 127);
}

static void out_of_range(void **state)
{
    struct idetest *i = *state;

    ide_command(i, 0, 0x20, SECTORS, 1);
    assert_error(i, 0x10);
    ide_command(i, 0, 0x20, SECTORS - 1, 2);
    assert_error(i, 0x10);
    ide_command_ext(i, 0, 0x25, UINT64_C(0xffffffffffff), 0);
    assert_error(i, 0x10);
    ide_command_ext(i, 0, 0x34, UINT64_C(0x100000000), 1);
    assert_error(i, 0x10);
    ide_command(i, 0, 0x40, SECTORS - 1, 2); /* verify */
    assert_error(i, 0x10);
    ide_command(i, 0, 0x40, SECTORS - 1, 1);
    assert_done(i);
}

static void trim(void **state)
{
    struct idetest *i = *state;
    uint8_t ranges[512] = {0};

    st_le64(ranges, 16 | UINT64_C(8) << 48);
    st_le64(ranges + 8, 100 | UINT64_C(1) << 48);
    assert_true(mem_write(i->t.mem, IDE_DATA, ranges, 512));
    ide_prd(i, 512, 512);
    ide_out(i, REG_ERROR, 1);
    ide_command(i, 0, 0x06, 0, 1);
    ide_bm_start(i, false);
    assert_done(i);
    ide_bm_stop(i);
    assert_int_equal(image_word(&i->im[0], 15 * 512), 15);
    for (unsigned n = 16; n < 24; n++)
        assert_int_equal(image_word(&i->im[0], n * 512 + 8), 0);
    assert_int_equal(image_word(&i->im[0], 24 * 512), 24);
    assert_int_equal(image_word(&i->im[0], 100 * 512), 0);
    st_le64(ranges, (SECTORS - 1) | UINT64_C(2) << 48);
    assert_true(mem_write(i->t.mem, IDE_DATA, ranges, 512));
    ide_prd(i, 512, 512);
    ide_command(i, 0, 0x06, 0, 1);
    ide_bm_start(i, false);
    assert_error(i, 0x10);
}

static void small_commands(void **state)
{
    static const uint8_t fine[] = {0x10, 0x70, 0x91, 0xe0, 0xe1, 0xe3, 0xe7};
    static const uint8_t unknown[] = {0x00, 0xa0, 0xa1, 0xb0, 0xf5, 0xff, 0x08};
    struct idetest *i = *state;

    for (unsigned n = 0; n < sizeof(fine); n++) {
        ide_command(i, 0, fine[n], 0, 0);
        assert_done(i);
    }
    for (unsigned n = 0; n < sizeof(unknown); n++) {
        ide_command(i, 0, unknown[n], 0, 0);
        assert_error(i, 4);
    }
    ide_command(i, 0, 0xe5, 0, 0);
    assert_done(i);
    assert_int_equal(ide_in(i, REG_COUNT), 0xff);
    ide_command(i, 0, 0xf8, 0, 0);
    assert_done(i);
    assert_int_equal(ide_in(i, REG_LBA_LOW), (SECTORS - 1) & 0xff);
    assert_int_equal(ide_in(i, REG_LBA_MID), (SECTORS - 1) >> 8);
    ide_out(i, REG_ERROR, 0x03); /* SET FEATURES: transfer mode, MWDMA 2 */
    ide_command(i, 0, 0xef, 0, 0x22);
    assert_done(i);
    ide_out(i, REG_ERROR, 0x77);
    ide_command(i, 0, 0xef, 0, 0);
    assert_error(i, 4);
}

static void soft_reset_while_busy(void **state)
{
    struct idetest *i = *state;

    for (unsigned n = 0; n < 20; n++) {
        ide_prd(i, 65536, 0x10000);
        ide_command(i, 0, 0xc8, 0, 128);
        ide_bm_start(i, true);
        dt_outb(&i->t, i->control, 4);
        assert_int_equal(ide_alt_status(i), IDE_BSY);
        dt_outb(&i->t, i->control, 0);
        assert_done(i);
        assert_int_equal(ide_in(i, REG_COUNT), 1); /* signature of a disk */
        assert_int_equal(ide_in(i, REG_LBA_LOW), 1);
        assert_int_equal(ide_in(i, REG_LBA_MID), 0);
        ide_bm_stop(i);
    }
    ide_command(i, 0, 0xc8, 0, 128);
    ide_bm_start(i, true);
    dev_reset(i->dev);
    loop_step(i->loop, 1);
    assert_done(i);
}

static void no_interrupts_when_masked(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512];

    dt_outb(&i->t, i->control, 2);
    ide_command(i, 0, 0x20, 0, 1);
    assert_true(ide_wait(i) & IDE_DRQ);
    ide_read_data(i, data, 512);
    assert_int_equal(i->t.gsi_rises[14], 0);
    assert_int_equal(ide_bm_stop(i) & 4, 0);
}

static void a_failing_image(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512] = {0};

    image_break_writes(&i->im[0]);
    ide_command(i, 0, 0x30, 0, 1);
    ide_write_data(i, data, 512);
    assert_error(i, 4);
    ide_channel(i, 1); /* read-only */
    ide_command(i, 1, 0x30, 0, 1);
    assert_error(i, 4);
    ide_command(i, 1, 0x20, 77, 1);
    assert_true(ide_wait(i) & IDE_DRQ);
    ide_read_data(i, data, 512);
    assert_int_equal(ld_le64(data), 77);
    assert_int_equal(i->t.gsi_rises[15], 2);
}

/* Any register in any order. The loop runs now and then, as it does beside a vCPU. */
static void random_registers(void **state)
{
    struct idetest *i = *state;
    uint64_t seed = 0x9e3779b97f4a7c15;

    for (unsigned n = 0; n < 400000; n++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        unsigned size = 1u << (seed >> 60 & 3) % 3;
        uint16_t port;
        switch (seed >> 8 & 7) {
        case 0: port = i->control; break;
        case 1: port = (uint16_t)(IDE_BM + (seed >> 16 & 15)); break;
        default: port = (uint16_t)(i->base + (seed >> 16 & 7)); break;
        }
        if (seed & 1 << 20)
            dt_in(&i->t, port, size);
        else
            bus_pio_write(i->t.bus, port, seed >> 24, size);
        if (n % 64 == 0)
            loop_step(i->loop, 0);
        if (n % 5000 == 0)
            ide_channel(i, n / 5000 & 1);
        if (n % 1000 == 0)
            ide_prd(i, 65536, 0x2000);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(identify),         T(absent_drives),
        T(pio_read),         T(pio_write),
        T(multiple),         T(chs),
        T(dma_read),         T(dma_write),
        T(bad_tables),       T(dma_stopped_in_flight),
        T(out_of_range),     T(trim),
        T(small_commands),   T(soft_reset_while_busy),
        T(a_failing_image),  T(no_interrupts_when_masked),
        T(random_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
