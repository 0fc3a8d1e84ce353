/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CD drive as secondary master: packet commands by PIO and DMA. */
#include "tests/lib/idedriver.h"

#define SIZE    (4u << 20)
#define SECTORS (SIZE / 2048)

static const struct ide_drive_spec with_disc[4] = {[2] = {SIZE, true, true}};
static const struct ide_drive_spec empty[4] = {[2] = {0, true, true}};

static struct idetest test;

static int start(void **state, const struct ide_drive_spec *spec)
{
    ide_start(&test, spec);
    ide_channel(&test, 1);
    *state = &test;
    return 0;
}

static int setup(void **state)
{
    return start(state, with_disc);
}

static int setup_empty(void **state)
{
    return start(state, empty);
}

static int teardown(void **state)
{
    ide_stop(*state);
    return 0;
}

/* Sends a packet; limit is the byte count register. */
static uint8_t packet(struct idetest *i, const uint8_t p[12], uint16_t limit, bool dma)
{
    ide_out(i, REG_DEVICE, 0xa0);
    ide_out(i, REG_ERROR, dma);
    ide_out(i, REG_LBA_MID, (uint8_t)limit);
    ide_out(i, REG_LBA_HIGH, (uint8_t)(limit >> 8));
    ide_out(i, REG_COMMAND, 0xa0);
    assert_true(ide_alt_status(i) & IDE_DRQ);
    assert_int_equal(ide_in(i, REG_COUNT) & 3, 1); /* command, to the device */
    ide_write_data(i, p, 12);
    return ide_wait(i);
}

/* Takes what the drive presents, in its pieces; returns the bytes. */
static unsigned take(struct idetest *i, uint8_t *buf, unsigned size)
{
    unsigned done = 0;

    while (ide_wait(i) & IDE_DRQ) {
        unsigned n = ide_in(i, REG_LBA_MID) | (unsigned)ide_in(i, REG_LBA_HIGH) << 8;

        assert_int_equal(ide_in(i, REG_COUNT) & 3, 2);
        assert_in_range(n, 2, size - done);
        assert_int_equal(i->t.gsi[15], 1);
        ide_in(i, REG_COMMAND);
        ide_read_data(i, buf + done, n);
        done += n;
    }
    return done;
}

static void assert_good(struct idetest *i)
{
    assert_int_equal(ide_wait(i) & (IDE_DRQ | IDE_ERR), 0);
    assert_int_equal(ide_in(i, REG_COUNT) & 3, 3);
}

static void assert_sense(struct idetest *i, uint8_t key, uint8_t asc)
{
    static const uint8_t request_sense[12] = {0x03, 0, 0, 0, 18};
    uint8_t sense[64] = {0};

    assert_true(ide_wait(i) & IDE_ERR);
    assert_int_equal(ide_in(i, REG_ERROR) >> 4, key);
    packet(i, request_sense, 64, false);
    assert_int_equal(take(i, sense, sizeof(sense)), 18);
    assert_int_equal(sense[0], 0x70);
    assert_int_equal(sense[2], key);
    assert_int_equal(sense[12], asc);
}

/* The first command that needs the medium hears that it may have changed. */
static void clear_attention(struct idetest *i)
{
    static const uint8_t test_unit_ready[12] = {0};

    packet(i, test_unit_ready, 0, false);
    assert_sense(i, 6, 0x28);
    packet(i, test_unit_ready, 0, false);
    assert_good(i);
}

static void signature_and_identify(void **state)
{
    struct idetest *i = *state;
    uint8_t id[512];

    assert_int_equal(ide_in(i, REG_LBA_MID), 0x14);
    assert_int_equal(ide_in(i, REG_LBA_HIGH), 0xeb);
    ide_command(i, 0, 0xec, 0, 0); /* IDENTIFY DEVICE is refused, with the signature */
    assert_true(ide_wait(i) & IDE_ERR);
    assert_int_equal(ide_in(i, REG_LBA_MID), 0x14);
    assert_int_equal(ide_in(i, REG_LBA_HIGH), 0xeb);
    ide_command(i, 0, 0xa1, 0, 0);
    assert_true(ide_wait(i) & IDE_DRQ);
    ide_read_data(i, id, 512);
    assert_int_equal(ld_le16(id) & 0xff03, 0x8500); /* CD drive, 12-byte packets */
    assert_int_equal(ide_wait(i) & (IDE_DRQ | IDE_ERR), 0);
}

static void capacity_and_read(void **state)
{
    static const uint8_t read_capacity[12] = {0x25};
    static const uint8_t read10[12] = {0x28, 0, 0, 0, 1, 4, 0, 0, 3}; /* 3 sectors at 260 */
    struct idetest *i = *state;
    uint8_t data[3 * 2048];

    clear_attention(i);
    packet(i, read_capacity, 8, false);
    assert_int_equal(take(i, data, sizeof(data)), 8);
    assert_int_equal(ld_be32(data), SECTORS - 1);
    assert_int_equal(ld_be32(data + 4), 2048);
    assert_good(i);
    packet(i, read10, 2048, false);
    assert_int_equal(take(i, data, sizeof(data)), sizeof(data));
    assert_good(i);
    for (unsigned n = 0; n < 12; n++)
        assert_int_equal(ld_le64(data + 512 * n), 260 * 4 + n);
    packet(i, read10, 1000, false); /* pieces that are no sectors */
    assert_int_equal(take(i, data, sizeof(data)), sizeof(data));
    assert_int_equal(ld_le64(data + 512 * 11), 260 * 4 + 11);
    assert_good(i);
    packet(i, read10, 0, false);
    assert_int_equal(take(i, data, sizeof(data)), sizeof(data));
    assert_good(i);
}

static void read_by_dma(void **state)
{
    static const uint8_t read12[12] = {0xa8, 0, 0, 0, 0,
                                       100,  0, 0, 0, 40}; /* 80 KiB: two buffers */
    static const uint8_t read10[12] = {0x28, 0, 0, 0, 0, 7, 0, 0, 1};
    struct idetest *i = *state;

    clear_attention(i);
    ide_prd(i, 40 * 2048, 0x4000);
    ide_bm_start(i, true);
    packet(i, read12, 0xfffe, true);
    assert_good(i);
    assert_int_equal(ide_bm_stop(i) & 7, 4);
    for (unsigned n = 0; n < 160; n++)
        assert_int_equal(ide_mem_word(i, IDE_DATA + 512 * n), 400 + n);
    ide_prd(i, 2048, 2048);
    packet(i, read10, 0xfffe, true);
    while (!(ide_wait(i) & IDE_DRQ))
        loop_step(i->loop, 10);
    ide_bm_start(i, true); /* late */
    assert_good(i);
    ide_bm_stop(i);
    assert_int_equal(ide_mem_word(i, IDE_DATA), 28);
    ide_prd(i, 512, 512); /* too short */
    ide_bm_start(i, true);
    packet(i, read10, 0xfffe, true);
    assert_true(ide_wait(i) & IDE_ERR);
    ide_bm_stop(i);
}

static void table_of_contents(void **state)
{
    static const uint8_t lba[12] = {0x43, 0, 0, 0, 0, 0, 0, 0, 64},
                         msf[12] = {0x43, 2, 0, 0, 0, 0, 0, 0, 64},
                         sessions[12] = {0x43, 0, 1, 0, 0, 0, 0, 0, 64},
                         raw[12] = {0x43, 0, 2, 0, 0, 0, 0, 0, 64};
    struct idetest *i = *state;
    uint8_t toc[64];

    clear_attention(i);
    packet(i, lba, 64, false);
    assert_int_equal(take(i, toc, sizeof(toc)), 20);
    assert_int_equal(ld_be16(toc), 18);
    assert_int_equal(ld_be32(toc + 8), 0);
    assert_int_equal(toc[14], 0xaa);
    assert_int_equal(ld_be32(toc + 16), SECTORS);
    packet(i, msf, 64, false);
    take(i, toc, sizeof(toc));
    assert_int_equal(ld_be32(toc + 8), 0x000200); /* 00:02:00 */
    packet(i, sessions, 64, false);
    assert_int_equal(take(i, toc, sizeof(toc)), 12);
    packet(i, raw, 64, false);
    assert_sense(i, 5, 0x24);
}

static void small_answers(void **state)
{
    static const uint8_t inquiry[12] = {0x12, 0, 0, 0, 36}, brief[12] = {0x12, 0, 0, 0, 5},
                         nothing[12] = {0x12}, configuration[12] = {0x46, 0, 0, 0, 0, 0, 0, 0, 64},
                         capabilities[12] = {0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 64},
                         event[12] = {0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8},
                         mechanism[12] = {0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8};
    struct idetest *i = *state;
    uint8_t b[64];

    packet(i, inquiry, 64, false); /* needs no medium: no attention yet */
    assert_int_equal(take(i, b, sizeof(b)), 36);
    assert_int_equal(b[0], 5);
    assert_int_equal(b[1], 0x80);
    assert_memory_equal(b + 8, "VMDECK", 6);
    packet(i, brief, 64, false);
    assert_int_equal(take(i, b, sizeof(b)), 6);
    packet(i, nothing, 64, false);
    assert_good(i);
    packet(i, configuration, 64, false);
    assert_int_equal(take(i, b, sizeof(b)), 36);
    assert_int_equal(ld_be16(b + 6), 8);
    packet(i, capabilities, 64, false);
    assert_int_equal(take(i, b, sizeof(b)), 28);
    assert_int_equal(b[8], 0x2a);
    packet(i, event, 64, false);
    assert_int_equal(take(i, b, sizeof(b)), 8);
    assert_int_equal(b[4], 2); /* new medium */
    assert_int_equal(b[5], 2); /* present */
    packet(i, mechanism, 64, false);
    assert_int_equal(take(i, b, sizeof(b)), 8);
}

static void ejecting(void **state)
{
    static const uint8_t lock[12] = {0x1e, 0, 0, 0, 1}, unlock[12] = {0x1e},
                         eject[12] = {0x1b, 0, 0, 0, 2}, load[12] = {0x1b, 0, 0, 0, 3},
                         ready[12] = {0};
    struct idetest *i = *state;

    clear_attention(i);
    packet(i, lock, 0, false);
    assert_good(i);
    packet(i, eject, 0, false);
    assert_sense(i, 5, 0x53);
    packet(i, unlock, 0, false);
    assert_good(i);
    packet(i, eject, 0, false);
    assert_good(i);
    packet(i, ready, 0, false);
    assert_sense(i, 2, 0x3a);
    packet(i, load, 0, false);
    assert_good(i);
    clear_attention(i);
}

static void no_medium(void **state)
{
    static const uint8_t ready[12] = {0}, read10[12] = {0x28, 0, 0, 0, 0, 0, 0, 0, 1},
                         inquiry[12] = {0x12, 0, 0, 0, 36};
    struct idetest *i = *state;
    uint8_t b[64];

    packet(i, ready, 0, false);
    assert_sense(i, 2, 0x3a);
    packet(i, read10, 2048, false);
    assert_sense(i, 2, 0x3a);
    packet(i, inquiry, 64, false);
    assert_int_equal(take(i, b, sizeof(b)), 36);
}

static void refused_commands(void **state)
{
    static const uint8_t unknown[12] = {0xff}, write10[12] = {0x2a, 0, 0, 0, 0, 0, 0, 0, 1},
                         beyond[12] = {0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1},
                         across[12] = {0x28, 0, 0, 0, (SECTORS - 1) >> 8, (SECTORS - 1) & 0xff,
                                       0,    0, 2},
                         none[12] = {0x28}, raw[12] = {0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0xf8},
                         cooked[12] = {0xbe, 0, 0, 0, 0, 9, 0, 0, 1, 0x10};
    struct idetest *i = *state;
    uint8_t b[2048];

    clear_attention(i);
    packet(i, unknown, 0, false);
    assert_sense(i, 5, 0x20);
    packet(i, write10, 0, false);
    assert_sense(i, 5, 0x20);
    packet(i, beyond, 0, false);
    assert_sense(i, 5, 0x21);
    packet(i, across, 0, false);
    assert_sense(i, 5, 0x21);
    packet(i, none, 0, false);
    assert_good(i);
    packet(i, raw, 0, false);
    assert_sense(i, 5, 0x24);
    packet(i, cooked, 2048, false);
    assert_int_equal(take(i, b, sizeof(b)), 2048);
    assert_int_equal(ld_le64(b), 36);
    ide_command(i, 0, 0x25, 0, 1); /* a disk's command */
    assert_true(ide_wait(i) & IDE_ERR);
}

/* DEVICE RESET in the middle of a read: the next command must find the drive idle and its buffer
 * its own. */
static void device_reset_while_busy(void **state)
{
    static const uint8_t read10[12] = {0x28, 0, 0, 0, 0, 50, 0, 0, 32},
                         other[12] = {0x28, 0, 0, 0, 0, 3, 0, 0, 1};
    struct idetest *i = *state;
    uint8_t data[2048];

    clear_attention(i);
    for (unsigned n = 0; n < 50; n++) {
        ide_out(i, REG_ERROR, 0);
        ide_out(i, REG_COMMAND, 0xa0);
        ide_write_data(i, read10, 12);
        ide_out(i, REG_COMMAND, 0x08);
        assert_int_equal(ide_in(i, REG_LBA_MID), 0x14);
        clear_attention(i);
        packet(i, other, 2048, false);
        assert_int_equal(take(i, data, sizeof(data)), 2048);
        assert_int_equal(ld_le64(data), 12);
        assert_good(i);
    }
}

static void random_packets(void **state)
{
    struct idetest *i = *state;
    uint64_t seed = 0x2545f4914f6cdd1d;
    static const uint8_t ops[] = {0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x42, 0x43,
                                  0x44, 0x46, 0x4a, 0x51, 0x5a, 0xa8, 0xbb, 0xbd, 0xbe};

    for (unsigned n = 0; n < 20000; n++) {
        uint8_t p[12];

        for (unsigned k = 0; k < 12; k++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            p[k] = seed & 1 << 20 ? (uint8_t)seed : 0;
        }
        p[0] = ops[seed % sizeof(ops)];
        bool dma = seed >> 30 & 1;
        if (dma) {
            ide_prd(i, 65536, 0x4000);
            ide_bm_start(i, true);
        }
        ide_out(i, REG_ERROR, dma);
        ide_out(i, REG_LBA_MID, (uint8_t)(seed >> 40));
        ide_out(i, REG_LBA_HIGH, (uint8_t)(seed >> 48));
        ide_out(i, REG_COMMAND, 0xa0);
        ide_write_data(i, p, 12);
        for (unsigned k = 0; k < (seed >> 32 & 0x3ff); k++)
            dt_inw(&i->t, i->base);
        if (n % 16 == 0)
            loop_step(i->loop, 0);
        if (n % 64 == 0)
            ide_out(i, REG_COMMAND, 0x08);
        ide_bm_stop(i);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(signature_and_identify),
        T(capacity_and_read),
        T(read_by_dma),
        T(table_of_contents),
        T(small_answers),
        T(ejecting),
        cmocka_unit_test_setup_teardown(no_medium, setup_empty, teardown),
        T(refused_commands),
        T(device_reset_while_busy),
        T(random_packets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
