/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bus and the PCI core, with devices made for the test. */
#include "tests/lib/devtest.h"

#include <sys/eventfd.h>
#include <unistd.h>

#define DEVFN (3 << 3)
#define MEM_AT UINT64_C(0xe0000000)
#define CFG_BAR(n) (0x10 + (n) * 4)

struct fix {
    struct devtest t;
    struct pci_dev *pci;
    uint64_t last_offset, last_value;
    unsigned last_size, reads, writes;
    int pirq[4];
};

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct fix *f = opaque;

    f->last_offset = offset;
    f->last_size = size;
    f->reads++;
    return UINT64_C(0x1122334455667788) >> (offset & 7) * 8;
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct fix *f = opaque;

    f->last_offset = offset;
    f->last_value = value;
    f->last_size = size;
    f->writes++;
}

static const struct mmio_ops mmio_ops = {.read = mmio_read, .write = mmio_write, .max_size = 4};

static uint32_t pio_read(void *opaque, uint16_t offset, unsigned size)
{
    (void)opaque;
    (void)size;
    return 0x40u + offset;
}

static void pio_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    mmio_write(opaque, offset, value, size);
}

static const struct pio_ops pio_ops = {.read = pio_read, .write = pio_write, .max_size = 1};

static void on_intx(void *opaque, unsigned pirq, int level)
{
    ((struct fix *)opaque)->pirq[pirq] = level;
}

static const struct pci_ids ids = {.vendor = 0x1234, .device = 0x5678, .class_code = 2,
                                   .interrupt_pin = 1};

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));
    struct err e = ERR_INIT;

    dt_init(&f->t);
    pci_bus_set_intx(f->t.pci, on_intx, f);
    f->pci = pci_add(f->t.pci, DEVFN, "thing", &ids, NULL, f, &e);
    pci_bar_io(f->pci, 0, 32, &pio_ops);
    pci_bar_mem(f->pci, 1, 0x4000, false, false, &mmio_ops);
    pci_bar_mem(f->pci, 2, 0x100000, true, true, &mmio_ops);
    pci_add_msix(f->pci, 4, 3);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    dt_fini(&f->t);
    test_free(f);
    return 0;
}

static uint32_t size_bar(struct devtest *t, unsigned n)
{
    dt_cfg_write(t, DEVFN, CFG_BAR(n), 0xffffffff, 4);
    return dt_cfg_read(t, DEVFN, CFG_BAR(n), 4);
}

static void test_identity_and_sizing(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    assert_int_equal(dt_cfg_read(t, DEVFN, 0, 4), 0x56781234);
    assert_int_equal(dt_cfg_read(t, DEVFN + 8, 0, 4), 0xffffffff);
    dt_cfg_write(t, DEVFN, 0, 0, 4);
    assert_int_equal(dt_cfg_read(t, DEVFN, 0, 2), 0x1234);
    assert_int_equal(size_bar(t, 0), 0xffffffe1);
    assert_int_equal(size_bar(t, 1), 0xffffc000);
    assert_int_equal(size_bar(t, 2), 0xfff0000c);
    assert_int_equal(size_bar(t, 3), 0xffffffff);
    assert_int_equal(size_bar(t, 5), 0);
    assert_int_equal(pci_config_read(t->pci, DEVFN << 8, 0, 4), 0xffffffff); /* not enabled */
    assert_int_equal(pci_config_read(t->pci, BIT(31) | 1 << 16 | DEVFN << 8, 0, 4), 0xffffffff);
}

static void test_decoding(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;

    dt_cfg_write(t, DEVFN, CFG_BAR(0), 0xc000, 4);
    dt_cfg_write(t, DEVFN, CFG_BAR(1), 0xe0000000, 4);
    assert_int_equal(dt_inb(t, 0xc000), 0xff);
    assert_int_equal(dt_read(t, 0xe0000000, 4), 0xffffffff);
    assert_true(pci_bar_address(f->pci, 1) == UINT64_MAX);
    dt_cfg_write(t, DEVFN, 4, 1, 2);
    assert_int_equal(dt_inb(t, 0xc003), 0x43);
    assert_int_equal(dt_inl(t, 0xc000), 0x43424140); /* narrow device */
    assert_int_equal(dt_read(t, 0xe0000000, 4), 0xffffffff);
    dt_cfg_write(t, DEVFN, 4, 3, 2);
    assert_int_equal(dt_read(t, 0xe0000004, 4), 0x11223344);
    assert_int_equal(pci_bar_address(f->pci, 1), 0xe0000000);
    dt_cfg_write(t, DEVFN, CFG_BAR(1), 0xe0010000, 4);
    assert_int_equal(dt_read(t, 0xe0000000, 4), 0xffffffff);
    dt_write(t, 0xe0011234, 0xaa, 1);
    assert_int_equal(f->last_offset, 0x1234);
    /* 64 bits */
    dt_cfg_write(t, DEVFN, CFG_BAR(2), 0, 4);
    dt_cfg_write(t, DEVFN, CFG_BAR(3), 0x10, 4);
    dt_read(t, UINT64_C(0x1000000008), 4);
    assert_int_equal(f->last_offset, 8);
    dt_cfg_write(t, DEVFN, CFG_BAR(3), 0xffffffff, 4); /* beyond the address space */
    assert_true(pci_bar_address(f->pci, 2) == UINT64_MAX);
    pci_reset(f->pci);
    assert_int_equal(dt_cfg_read(t, DEVFN, CFG_BAR(1), 4), 0);
    assert_int_equal(dt_inb(t, 0xc000), 0xff);
}

static void test_access_splitting(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;

    dt_cfg_write(t, DEVFN, CFG_BAR(1), 0xe0000000, 4);
    dt_cfg_write(t, DEVFN, 4, 2, 2);
    assert_true(dt_read(t, 0xe0000000, 8) == UINT64_C(0x1122334455667788));
    assert_int_equal(f->reads, 2); /* at most 4 bytes */
    f->reads = 0;
    assert_int_equal(dt_read(t, 0xe0000001, 4), 0x44556677);
    assert_int_equal(f->reads, 3); /* 1, 2 and 1 */
    dt_write(t, 0xe0003ffe, 0x11223344, 4); /* half beyond the BAR */
    assert_int_equal(f->last_offset, 0x3ffe);
    assert_int_equal(f->last_value, 0x3344);
    assert_int_equal(dt_read(t, 0xe0003ffe, 4), 0xffff1122);
}

static void test_intx(void **state)
{
    struct fix *f = *state;
    struct err e = ERR_INIT;

    /* slot 3 pin A drives PIRQ 2, so does slot 7 */
    struct pci_dev *other = pci_add(f->t.pci, 7 << 3, "other", &ids, NULL, f, &e);
    assert_int_equal(pci_intx_pirq(DEVFN, 0), 2);
    pci_intx(f->pci, 1);
    pci_intx(other, 1);
    assert_int_equal(f->pirq[2], 1);
    pci_intx(f->pci, 0);
    assert_int_equal(f->pirq[2], 1);
    dt_cfg_write(&f->t, 7 << 3, 4, 0x400, 2); /* interrupt disable */
    assert_int_equal(f->pirq[2], 0);
    assert_int_equal(dt_cfg_read(&f->t, 7 << 3, 6, 2) & 8, 8);
    dt_cfg_write(&f->t, 7 << 3, 4, 0, 2);
    assert_int_equal(f->pirq[2], 1);
    pci_remove(other);
    assert_int_equal(f->pirq[2], 0);
}

static void msix(struct fix *f)
{
    struct devtest *t = &f->t;
    const uint64_t table = 0xe1000000;
    unsigned cap = dt_cfg_read(t, DEVFN, 0x34, 1);

    assert_int_equal(dt_cfg_read(t, DEVFN, cap, 1), 0x11);
    assert_int_equal(dt_cfg_read(t, DEVFN, cap + 2, 2), 2);
    assert_int_equal(dt_cfg_read(t, DEVFN, cap + 4, 4), 4);
    assert_int_equal(dt_cfg_read(t, DEVFN, cap + 8, 4), 0x804);
    dt_cfg_write(t, DEVFN, CFG_BAR(4), (uint32_t)table, 4);
    dt_cfg_write(t, DEVFN, 4, 6, 2);
    pci_msix_notify(f->pci, 0);
    assert_int_equal(dt_messages(t), 0); /* off */
    dt_cfg_write(t, DEVFN, cap + 2, 0x8000, 2);
    assert_true(pci_msix_enabled(f->pci));
    dt_write(t, table + 16, 0xfee01000, 4);
    dt_write(t, table + 24, 0x41, 8); /* data and vector control at once: unmasked */
    pci_msix_notify(f->pci, 1);
    assert_int_equal(dt_messages(t), 1);
    assert_int_equal(t->msi_address, 0xfee01000);
    assert_int_equal(t->msi_data, 0x41);
    pci_msix_notify(f->pci, 2); /* masked: pending */
    pci_msix_notify(f->pci, 2);
    assert_int_equal(dt_messages(t), 1);
    assert_int_equal(dt_read(t, table + 0x800, 8), 4);
    dt_write(t, table + 44, 0, 1); /* unmask, one byte */
    assert_int_equal(dt_messages(t), 2);
    assert_int_equal(dt_read(t, table + 0x800, 4), 0);
    dt_cfg_write(t, DEVFN, cap + 2, 0xc000, 2); /* function mask */
    pci_msix_notify(f->pci, 1);
    assert_int_equal(dt_messages(t), 2);
    dt_cfg_write(t, DEVFN, cap + 3, 0x80, 1);
    assert_int_equal(dt_messages(t), 3);
    dt_write(t, table + 24, 0x55, 4); /* another message from now on */
    pci_msix_notify(f->pci, 1);
    assert_int_equal(dt_messages(t), 4);
    assert_int_equal(t->msi_data, 0x55);
    dt_cfg_write(t, DEVFN, 4, 2, 2); /* no bus master: lost */
    pci_msix_notify(f->pci, 1);
    assert_int_equal(dt_messages(t), 4);
    dt_cfg_write(t, DEVFN, 4, 6, 2);
    pci_msix_notify(f->pci, 77); /* no such vector */
    for (unsigned i = 0; i < 4096; i += 4) { /* nothing beyond the table is writable */
        dt_write(t, table + i, UINT64_MAX, 4);
        dt_read(t, table + i, 4);
    }
}

static void test_msix(void **state)
{
    msix(*state);
}

/* The same through eventfds, which an accelerator does not keep over a reset. */
static void test_msix_irqfd(void **state)
{
    struct fix *f = *state;

    f->t.accelerated = true;
    msix(f);
    assert_int_equal(f->t.irqfd_count, 2);
    pci_reset(f->pci);
    assert_int_equal(f->t.irqfd_count, 0);
}

static void test_rom(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;
    uint8_t image[5000] = {0x55, 0xaa};

    image[4999] = 0x77;
    pci_bar_rom(f->pci, image, sizeof(image));
    dt_cfg_write(t, DEVFN, 0x30, 0xfffff800, 4);
    assert_int_equal(dt_cfg_read(t, DEVFN, 0x30, 4), 0xffffe000);
    dt_cfg_write(t, DEVFN, 0x30, 0xe2000000, 4);
    dt_cfg_write(t, DEVFN, 4, 2, 2);
    assert_int_equal(dt_read(t, 0xe2000000, 2), 0xffff);
    dt_cfg_write(t, DEVFN, 0x30, 0xe2000001, 4);
    assert_int_equal(dt_read(t, 0xe2000000, 2), 0xaa55);
    dt_write(t, 0xe2000000, 0, 2);
    assert_int_equal(dt_read(t, 0xe2000000, 2), 0xaa55);
    assert_int_equal(dt_read(t, 0xe2000000 + 4999, 1), 0x77);
}

static void test_ports(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;

    assert_int_equal(dt_inl(t, 0x1234), 0xffffffff);
    struct pio_region *r = bus_add_pio(t->bus, "a", 0xfffe, 2, &pio_ops, f);
    assert_int_equal(dt_inl(t, 0xfffe), 0xffff4140); /* wraps to port 0 */
    bus_add_pio(t->bus, "b", 0xffff, 1, &pio_ops, f);
    assert_int_equal(dt_inw(t, 0xfffe), 0x4040);
    bus_pio_set(t->bus, r, 0x100, true);
    assert_int_equal(dt_inw(t, 0x100), 0x4140);
    bus_pio_set(t->bus, r, 0x100, false);
    assert_int_equal(dt_inw(t, 0x100), 0xffff);
    struct bus_stats st;
    bus_get_stats(t->bus, &st);
    assert_true(st.unclaimed > 0 && st.pio_reads > 0);
}

static void test_doorbells(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t n;

    dt_cfg_write(t, DEVFN, CFG_BAR(1), (uint32_t)MEM_AT, 4);
    dt_cfg_write(t, DEVFN, 4, 2, 2);
    assert_false(bus_add_doorbell(t->bus, false, MEM_AT + 8, 0, fd)); /* the software CPU */
    dt_ring(t, MEM_AT + 8, 5, 4);
    assert_int_equal(f->writes, 1);
    t->accelerated = true;
    assert_true(bus_add_doorbell(t->bus, false, MEM_AT + 8, 0, fd));
    dt_ring(t, MEM_AT + 8, 5, 4);
    assert_int_equal(f->writes, 1);
    assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
    assert_int_equal(n, 1);
    dt_write(t, MEM_AT + 8, 5, 4); /* an instruction the accelerator did not execute itself */
    assert_int_equal(f->writes, 2);
    bus_del_doorbell(t->bus, false, MEM_AT + 8, 0, fd);
    dt_ring(t, MEM_AT + 8, 5, 4);
    assert_int_equal(f->writes, 3);
    close(fd);
}

static void test_slots_run_out(void **state)
{
    struct fix *f = *state;
    struct err e = ERR_INIT;
    unsigned n = 0;

    while (pci_add(f->t.pci, -1, "more", &ids, NULL, f, &e))
        n++;
    assert_int_equal(n, 31);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_int_equal(dt_cfg_read(&f->t, 0, 0xe, 1), 0);
    assert_non_null(pci_add(f->t.pci, 1, "function 1", &ids, NULL, f, &e));
    assert_int_equal(dt_cfg_read(&f->t, 0, 0xe, 1), 0x80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identity_and_sizing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_decoding, setup, teardown),
        cmocka_unit_test_setup_teardown(test_access_splitting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
        cmocka_unit_test_setup_teardown(test_msix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_msix_irqfd, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rom, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_doorbells, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slots_run_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
