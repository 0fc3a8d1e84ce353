/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI and SMBIOS tables as a guest reads them, the linker script as SeaBIOS runs it, and the assignment of PCI
 * resources. */
#include "tests/lib/devtest.h"

#include "vmm/fw/acpi.h"
#include "vmm/fw/aml.h"
#include "vmm/fw/mptable.h"
#include "vmm/fw/pci_assign.h"
#include "vmm/fw/smbios.h"
#include "vmm/fw/tables.h"

#define BASE 0xe0000u

static const struct fw_tables_cfg cfg = {
    .acpi = {.cpus = 3, .com = {true, true}},
    .smbios = {.name = "web", .uuid = "00112233-4455-6677-8899-aabbccddeeff", .cpus = 3, .memory = 16 * MIB},
};

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t s = 0;

    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

static const uint8_t *table_at(const struct acpi_tables *t, uint64_t gpa, const char *signature)
{
    const uint8_t *p = (const uint8_t *)t->tables.data + (gpa - BASE);

    assert_true(gpa >= BASE && gpa - BASE + 36 <= t->tables.len);
    assert_memory_equal(p, signature, 4);
    if (strcmp(signature, "FACS") != 0)
        assert_int_equal(sum(p, ld_le32(p + 4)), 0);
    return p;
}

static void check_tables(const struct acpi_tables *t)
{
    const uint8_t *rsdp = (const uint8_t *)t->rsdp.data;

    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    const uint8_t *rsdt = table_at(t, ld_le32(rsdp + 16), "RSDT");
    const uint8_t *xsdt = table_at(t, ld_le64(rsdp + 24), "XSDT");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ld_le32(rsdt + 36 + i * 4), ld_le64(xsdt + 36 + i * 8));
    const uint8_t *fadt = table_at(t, ld_le32(rsdt + 36), "FACP");
    const uint8_t *madt = table_at(t, ld_le32(rsdt + 40), "APIC");
    table_at(t, ld_le32(rsdt + 44), "HPET");
    assert_int_equal(ld_le32(fadt + 36) % 64, 0);
    table_at(t, ld_le32(fadt + 36), "FACS");
    table_at(t, ld_le32(fadt + 40), "DSDT");
    assert_int_equal(ld_le64(fadt + 140), ld_le32(fadt + 40));
    unsigned cpus = 0;
    for (unsigned at = 44; at < ld_le32(madt + 4); at += madt[at + 1]) {
        assert_true(madt[at + 1] > 0);
        cpus += madt[at] == 0;
    }
    assert_int_equal(cpus, 3);
}

static void test_acpi_placed(void **state)
{
    struct acpi_tables t;

    (void)state;
    acpi_build(&cfg.acpi, &t);
    acpi_place(&t, BASE);
    check_tables(&t);
    acpi_free(&t);
}

/* What SeaBIOS does with etc/table-loader. */
static void test_acpi_script(void **state)
{
    struct acpi_tables t;
    struct buf script = BUF_INIT;
    unsigned allocated = 0;

    (void)state;
    acpi_build(&cfg.acpi, &t);
    acpi_loader_script(&t, &script);
    assert_int_equal(script.len % 128, 0);
    for (size_t at = 0; at < script.len; at += 128) {
        const char *e = script.data + at;
        uint8_t *file = (uint8_t *)(strcmp(e + 4, "etc/acpi/rsdp") ? t.tables.data : t.rsdp.data);
        switch (ld_le32(e)) {
        case 1: allocated++; break;
        case 2: {
            uint8_t *p = file + ld_le32(e + 116);
            assert_int_equal(allocated, 2);
            assert_string_equal(e + 60, "etc/acpi/tables");
            st_le(p, ld_le(p, (uint8_t)e[120]) + BASE, (uint8_t)e[120]);
            break;
        }
        case 3: {
            uint8_t *p = file + ld_le32(e + 60);
            *p = (uint8_t)(*p - sum(file + ld_le32(e + 64), ld_le32(e + 68)));
            break;
        }
        default: fail_msg("unknown command %u", ld_le32(e));
        }
    }
    check_tables(&t);
    acpi_free(&t);
    buf_free(&script);
}

static void test_smbios(void **state)
{
    struct buf b = BUF_INIT;
    uint8_t a[SMBIOS_ANCHOR_SIZE], uuid[16];
    unsigned count = 0, largest = 0;

    (void)state;
    smbios_build(&cfg.smbios, 0xf1000, &b, a);
    assert_int_equal(sum(a, sizeof(a)), 0);
    assert_int_equal(sum(a + 16, 15), 0);
    assert_int_equal(ld_le16(a + 22), b.len);
    for (size_t at = 0; at < b.len; count++) {
        const uint8_t *s = (const uint8_t *)b.data + at;
        size_t end = at + s[1];
        while (b.data[end] || b.data[end + 1])
            end++;
        if (s[0] == 1) {
            const uint8_t want[16] = {0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66,
                                      0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
            assert_memory_equal(s + 8, want, 16);
        }
        largest = MAX(largest, (unsigned)(end + 2 - at));
        at = end + 2;
        assert_true(at <= b.len);
    }
    assert_int_equal(count, ld_le16(a + 28));
    assert_int_equal(largest, ld_le16(a + 8));
    assert_false(smbios_uuid("00112233-4455-6677-8899-aabbccddeef", uuid));
    assert_false(smbios_uuid("00112233x4455-6677-8899-aabbccddeeff", uuid));
    assert_false(smbios_uuid("", uuid));
    buf_free(&b);
}

/* MP 1.4 ch. 4: sizes of the entries, in the order of their types. */
static void check_mptable(const uint8_t *p, unsigned cpus)
{
    static const uint8_t sizes[] = {20, 8, 8, 8, 8};
    unsigned seen[5] = {0}, len = ld_le16(p + 4), at = 44, boot = 0;
    uint32_t isa_pins = 0;

    assert_memory_equal(p, "PCMP", 4);
    assert_true(len <= MP_TABLE_MAX);
    assert_int_equal(sum(p, len), 0);
    for (unsigned n = ld_le16(p + 34); n > 0; n--) {
        const uint8_t *e = p + at;

        assert_in_range(e[0], 0, 4);
        if (e[0] == 0) {
            assert_int_equal(e[1], seen[0]);
            boot += e[3] >> 1 & 1;
        } else if (e[0] == 3 && e[4] == 1) { /* ISA: pins are free or have one source */
            assert_false(isa_pins & BIT(e[7]));
            isa_pins |= BIT(e[7]);
        } else if (e[0] == 3) {
            assert_true(e[7] == 10 || e[7] == 11);
            assert_int_equal(e[7], fw_pirq_irq(pci_intx_pirq(e[5] >> 2 << 3, e[5] & 3)));
        }
        seen[e[0]]++;
        at += sizes[e[0]];
    }
    assert_int_equal(at, len);
    assert_int_equal(seen[0], cpus);
    assert_int_equal(boot, 1);
    assert_int_equal(seen[1], 2);
    assert_int_equal(seen[2], 1);
    assert_int_equal(seen[3], 32 * 4 + 13);
    assert_int_equal(seen[4], 2);
    assert_int_equal(isa_pins, 0xf3fe); /* not 0, 10, 11 */
}

static void test_direct(void **state)
{
    struct devtest t;
    uint8_t b[31];

    (void)state;
    dt_init(&t);
    uint64_t rsdp = fw_tables_direct(&cfg, t.mem);
    assert_true(rsdp >= 0xe0000 && rsdp < 0x100000 && rsdp % 16 == 0);
    mem_read(t.mem, rsdp, b, 20);
    assert_int_equal(sum(b, 20), 0);
    mem_read(t.mem, 0xf0040, b, 31);
    assert_memory_equal(b, "_SM_", 4);
    mem_read(t.mem, 0xf0080, b, 16);
    assert_memory_equal(b, "_MP_", 4);
    uint8_t mp[MP_TABLE_MAX];
    mem_read(t.mem, ld_le32(b + 4), mp, sizeof(mp));
    check_mptable(mp, cfg.acpi.cpus);
    dt_fini(&t);
}

static void test_mptable(void **state)
{
    uint8_t pointer[MP_POINTER_SIZE];

    (void)state;
    for (unsigned cpus = 1; cpus <= 64; cpus += 63) {
        struct buf b = BUF_INIT;

        mptable_build(cpus, 0x12345670, &b, pointer);
        check_mptable((const uint8_t *)b.data, cpus);
        assert_memory_equal(pointer, "_MP_", 4);
        assert_int_equal(ld_le32(pointer + 4), 0x12345670);
        assert_int_equal(sum(pointer, sizeof(pointer)), 0);
        buf_free(&b);
    }
}

static void test_aml_lengths(void **state)
{
    static const size_t sizes[] = {0, 1, 62, 63, 64, 4093, 4094, 70000};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf b = BUF_INIT;
        size_t at = aml_if(&b);
        for (size_t n = 0; n < sizes[i]; n++)
            aml_byte(&b, 0xa3);
        aml_close(&b, at);
        const uint8_t *p = (const uint8_t *)b.data + 1;
        unsigned extra = p[0] >> 6;
        size_t len = extra ? p[0] & 15 : p[0] & 63;
        for (unsigned n = 0; n < extra; n++)
            len |= (size_t)p[1 + n] << (4 + 8 * n);
        assert_int_equal(len, b.len - 1);
        buf_free(&b);
    }
    struct buf b = BUF_INIT;
    aml_path(&b, "\\_SB.PCI0.ISA");
    assert_int_equal(b.len, 1 + 2 + 12);
    assert_memory_equal(b.data, "\\\x2f\x03_SB_PCI0ISA_", b.len);
    buf_clear(&b);
    aml_eisa(&b, "PNP0A03");
    assert_memory_equal(b.data, "\x0c\x41\xd0\x0a\x03", 5);
    buf_free(&b);
}

static uint64_t nothing_read(void *opaque, uint64_t offset, unsigned size)
{
    (void)opaque, (void)offset, (void)size;
    return 0;
}

static void test_pci_assign(void **state)
{
    static const struct pci_ids ids = {.vendor = 0x1234, .device = 1, .interrupt_pin = 1};
    static const struct pio_ops pio = {0};
    static const struct mmio_ops mmio = {.read = nothing_read};
    static const uint64_t sizes[] = {0x1000, 0x1000000, 0x4000, 0x4000000};
    struct pci_dev *devs[ARRAY_LEN(sizes)];
    struct err e = ERR_INIT;
    struct devtest t;

    (void)state;
    dt_init(&t);
    struct dev *host = dt_add(&t, "i440fx"), *isa = dt_add(&t, "piix3"), *pic = dt_add(&t, "pic");
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        devs[i] = pci_add(t.pci, -1, "d", &ids, NULL, NULL, &e);
        pci_bar_io(devs[i], 0, 4u << i, &pio);
        pci_bar_mem(devs[i], 2, sizes[i], i & 1, false, &mmio);
    }
    fw_pci_assign(t.pci, t.bus);
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        uint64_t a = pci_bar_address(devs[i], 2);
        assert_true(a != UINT64_MAX && a % sizes[i] == 0);
        assert_true(pci_bar_address(devs[i], 0) != UINT64_MAX);
        for (unsigned j = 0; j < i; j++) {
            uint64_t b = pci_bar_address(devs[j], 2);
            assert_true(a + sizes[i] <= b || b + sizes[j] <= a);
        }
        unsigned irq = dt_cfg_read(&t, pci_devfn(devs[i]), PCI_INTERRUPT_LINE, 1);
        assert_true(irq == 10 || irq == 11);
        pci_intx(devs[i], 1); /* and that is where it arrives */
        assert_int_equal(t.gsi[irq], 1);
        pci_intx(devs[i], 0);
        assert_int_equal(t.gsi[irq], 0);
    }
    mem_write(t.mem, 0xf0000, "RAM", 3);
    assert_int_equal(dt_read(&t, 0xf0000, 1), 'R');
    dev_free(pic);
    dev_free(isa);
    dev_free(host);
    dt_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acpi_placed),
        cmocka_unit_test(test_acpi_script),
        cmocka_unit_test(test_smbios),
        cmocka_unit_test(test_mptable),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_aml_lengths),
        cmocka_unit_test(test_pci_assign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
