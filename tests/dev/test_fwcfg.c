/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/devtest.h"

#include "vmm/dev/platform/fwcfg.h"

struct fix {
    struct devtest t;
    struct dev *dev;
};

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));

    dt_init(&f->t);
    f->dev = dt_add(&f->t, "fwcfg");
    fwcfg_add_u16(f->dev, FWCFG_NB_CPUS, 4);
    fwcfg_add_file(f->dev, "etc/one", "hello", 5);
    fwcfg_add_file(f->dev, "etc/two", "", 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    dev_free(f->dev);
    dt_fini(&f->t);
    test_free(f);
    return 0;
}

static void read_key(struct devtest *t, uint16_t key, uint8_t *dst, unsigned len)
{
    dt_outw(t, 0x510, key);
    while (len--)
        *dst++ = dt_inb(t, 0x511);
}

static void test_ports(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;
    uint8_t b[140];

    read_key(t, FWCFG_SIGNATURE, b, 4);
    assert_memory_equal(b, "QEMU", 4);
    read_key(t, FWCFG_ID, b, 4);
    assert_int_equal(ld_le32(b), 3);
    read_key(t, FWCFG_NB_CPUS, b, 4);
    assert_int_equal(ld_le32(b), 4); /* zeroes after the end */
    read_key(t, FWCFG_FILE_DIR, b, 4 + 2 * 64);
    assert_int_equal(ld_be32(b), 2);
    assert_int_equal(ld_be32(b + 4), 5);
    assert_int_equal(ld_be16(b + 8), 0x20);
    assert_string_equal((char *)b + 12, "etc/one");
    read_key(t, 0x20, b, 6);
    assert_memory_equal(b, "hello", 6);
    read_key(t, 0x7777, b, 2); /* no such key */
    assert_int_equal(ld_le16(b), 0);
}

static void dma(struct devtest *t, uint32_t control, uint32_t len, uint64_t address)
{
    uint8_t req[16];

    st_be32(req, control);
    st_be32(req + 4, len);
    st_be64(req + 8, address);
    mem_write(t->mem, 0x1000, req, sizeof(req));
    dt_outl(t, 0x514, 0);
    dt_outl(t, 0x518, htobe32(0x1000));
}

static uint32_t dma_status(struct devtest *t)
{
    uint8_t b[4];

    mem_read(t->mem, 0x1000, b, 4);
    return ld_be32(b);
}

static void test_dma(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;
    char b[8];

    assert_int_equal(dt_inl(t, 0x514), htobe32(0x51454d55));
    assert_int_equal(dt_inl(t, 0x518), htobe32(0x20434647));
    mem_write(t->mem, 0x2000, "xxxxxxxx", 8);
    dma(t, 0x20 << 16 | 8 | 2, 7, 0x2000);
    assert_int_equal(dma_status(t), 0);
    mem_read(t->mem, 0x2000, b, 8);
    assert_memory_equal(b, "hello\0\0x", 8);
    dma(t, 0x20 << 16 | 8 | 4, 3, 0); /* select, skip */
    dma(t, 2, 2, 0x2000);
    mem_read(t->mem, 0x2000, b, 2);
    assert_memory_equal(b, "lo", 2);
}

static void test_hostile_dma(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dma(t, 0x20 << 16 | 8 | 2, 0xffffffff, 0x2000);
    assert_int_equal(dma_status(t), 1);
    dma(t, 0x20 << 16 | 8 | 2, 16, UINT64_MAX - 4);
    assert_int_equal(dma_status(t), 1);
    dma(t, 0x20 << 16 | 8 | 16, 5, 0x2000); /* writing */
    assert_int_equal(dma_status(t), 1);
    dma(t, 4, 0xffffffff, 0);
    dma(t, 4, 0xffffffff, 0); /* the offset does not wrap */
    dma(t, 2, 4, 0x2000);
    assert_int_equal(dma_status(t), 0);
    dt_outl(t, 0x514, 0xffffffff); /* a request outside RAM */
    dt_outl(t, 0x518, 0xffffffff);
    dt_outl(t, 0x518, htobe32(DT_RAM_SIZE - 8)); /* half outside */
    dma(t, 2, 16, 0x1000); /* over its own request */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_dma, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
