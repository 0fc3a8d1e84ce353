/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Static tables of ACPI 6.4 ch. 5.2, the HPET table of the HPET specification, and the linker script of
 * QEMU's docs/specs (struct BiosLinkerLoaderEntry). */
#include "vmm/fw/acpi.h"

#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/dev/platform/acpi_pm.h"
#include "vmm/dev/platform/hpet.h"

#define OEM_ID     "VMDECK"
#define OEM_TABLE  "VMDECKPC"
#define CREATOR    "VMDK"
#define HEADER     36u
#define RSDP_SIZE  36u

#define LAPIC_BASE  0xfee00000u
#define IOAPIC_BASE 0xfec00000u

/* ---- building ---- */

static void add_fix(struct acpi_tables *t, const struct acpi_fix *f)
{
    if (t->fix_count < ACPI_FIXES)
        t->fixes[t->fix_count++] = *f;
}

/* A pointer at offset that holds the target's offset in the tables for now. */
static void add_pointer(struct acpi_tables *t, bool in_rsdp, size_t offset, unsigned size,
                        size_t target)
{
    struct buf *b = in_rsdp ? &t->rsdp : &t->tables;

    st_le(b->data + offset, target, size);
    add_fix(t, &(struct acpi_fix){.pointer = true, .in_rsdp = in_rsdp, .offset = (uint32_t)offset,
                                  .size = size});
}

static void add_checksum(struct acpi_tables *t, bool in_rsdp, size_t offset, size_t start, size_t len)
{
    add_fix(t, &(struct acpi_fix){.in_rsdp = in_rsdp, .offset = (uint32_t)offset,
                                  .start = (uint32_t)start, .len = (uint32_t)len});
}

static void zeroes(struct buf *b, size_t n)
{
    static const uint8_t zero[64];

    for (; n > sizeof(zero); n -= sizeof(zero))
        buf_add(b, zero, sizeof(zero));
    buf_add(b, zero, n);
}

static void align_to(struct buf *b, size_t a)
{
    zeroes(b, ALIGN_UP(b->len, a) - b->len);
}

/* Header with everything but length and checksum; the table's offset. */
static size_t begin(struct acpi_tables *t, const char *signature, unsigned revision)
{
    struct buf *b = &t->tables;
    uint8_t h[HEADER] = {0};

    align_to(b, 16);
    size_t at = b->len;
    memcpy(h, signature, 4);
    h[8] = (uint8_t)revision;
    memcpy(h + 10, OEM_ID, 6);
    memcpy(h + 16, OEM_TABLE, 8);
    st_le32(h + 24, 1);
    memcpy(h + 28, CREATOR, 4);
    st_le32(h + 32, 1);
    buf_add(b, h, sizeof(h));
    return at;
}

static void end(struct acpi_tables *t, size_t at)
{
    size_t len = t->tables.len - at;

    st_le32(t->tables.data + at + 4, (uint32_t)len);
    add_checksum(t, false, at + 9, at, len);
}

static void put(struct buf *b, uint64_t v, unsigned size)
{
    uint8_t bytes[8];

    st_le(bytes, v, size);
    buf_add(b, bytes, size);
}

/* ---- tables ---- */

static size_t facs(struct acpi_tables *t)
{
    struct buf *b = &t->tables;

    align_to(b, 64);
    size_t at = b->len;
    buf_add(b, "FACS", 4);
    put(b, 64, 4);
    zeroes(b, 64 - 8);
    b->data[at + 32] = 1; /* version */
    return at;
}

static size_t dsdt(const struct acpi_cfg *cfg, struct acpi_tables *t)
{
    size_t at = begin(t, "DSDT", 2);

    acpi_dsdt(cfg, &t->tables);
    end(t, at);
    return at;
}

#define FADT_SIZE          244u
#define FADT_FACS          36
#define FADT_DSDT          40
#define FADT_SCI_INT       46
#define FADT_SMI_CMD       48
#define FADT_ACPI_ENABLE   52
#define FADT_ACPI_DISABLE  53
#define FADT_PM1A_EVENT    56
#define FADT_PM1A_CONTROL  64
#define FADT_PM_TIMER      76
#define FADT_GPE0          80
#define FADT_PM1_EVENT_LEN 88
#define FADT_PM1_CTRL_LEN  89
#define FADT_PM_TMR_LEN    91
#define FADT_GPE0_LEN      92
#define FADT_C2_LATENCY    96
#define FADT_C3_LATENCY    98
#define FADT_CENTURY       108
#define FADT_BOOT_ARCH     109
#define FADT_FLAGS         112
#define FADT_RESET_REG     116
#define FADT_RESET_VALUE   128
#define FADT_X_DSDT        140
#define FADT_X_PM1A_EVENT  148
#define FADT_X_PM1A_CTRL   172
#define FADT_X_PM_TIMER    208
#define FADT_X_GPE0        220

#define FLAG_WBINVD    BIT(0)
#define FLAG_C1        BIT(2)
#define FLAG_NO_SLEEP_BUTTON BIT(5)
#define FLAG_RESET_REG BIT(10)
#define ARCH_LEGACY    BIT(0)
#define ARCH_8042      BIT(1)
#define CMOS_CENTURY   0x32
#define RESET_PORT     0xcf9
#define RESET_VALUE    0x06
#define NO_C_STATE     0xfff

/* Generic address of an I/O register. */
static void io_address(uint8_t *p, unsigned port, unsigned bits, unsigned access)
{
    p[0] = 1;
    p[1] = (uint8_t)bits;
    p[3] = (uint8_t)access;
    st_le64(p + 4, port);
}

static size_t fadt(struct acpi_tables *t, size_t facs_at, size_t dsdt_at)
{
    size_t at = begin(t, "FACP", 3);
    zeroes(&t->tables, FADT_SIZE - HEADER);
    uint8_t *p = (uint8_t *)t->tables.data + at;

    st_le16(p + FADT_SCI_INT, ACPI_SCI_IRQ);
    st_le32(p + FADT_SMI_CMD, ACPI_SMI_CMD);
    p[FADT_ACPI_ENABLE] = ACPI_ENABLE;
    p[FADT_ACPI_DISABLE] = ACPI_DISABLE;
    st_le32(p + FADT_PM1A_EVENT, ACPI_PM_BASE + ACPI_PM1_EVENT);
    st_le32(p + FADT_PM1A_CONTROL, ACPI_PM_BASE + ACPI_PM1_CONTROL);
    st_le32(p + FADT_PM_TIMER, ACPI_PM_BASE + ACPI_PM_TIMER);
    st_le32(p + FADT_GPE0, ACPI_PM_BASE + ACPI_GPE0);
    p[FADT_PM1_EVENT_LEN] = 4;
    p[FADT_PM1_CTRL_LEN] = 2;
    p[FADT_PM_TMR_LEN] = 4;
    p[FADT_GPE0_LEN] = ACPI_GPE0_LEN;
    st_le16(p + FADT_C2_LATENCY, NO_C_STATE);
    st_le16(p + FADT_C3_LATENCY, NO_C_STATE);
    p[FADT_CENTURY] = CMOS_CENTURY;
    st_le16(p + FADT_BOOT_ARCH, ARCH_LEGACY | ARCH_8042);
    st_le32(p + FADT_FLAGS, FLAG_WBINVD | FLAG_C1 | FLAG_NO_SLEEP_BUTTON | FLAG_RESET_REG);
    io_address(p + FADT_RESET_REG, RESET_PORT, 8, 1);
    p[FADT_RESET_VALUE] = RESET_VALUE;
    io_address(p + FADT_X_PM1A_EVENT, ACPI_PM_BASE + ACPI_PM1_EVENT, 32, 2);
    io_address(p + FADT_X_PM1A_CTRL, ACPI_PM_BASE + ACPI_PM1_CONTROL, 16, 2);
    io_address(p + FADT_X_PM_TIMER, ACPI_PM_BASE + ACPI_PM_TIMER, 32, 3);
    io_address(p + FADT_X_GPE0, ACPI_PM_BASE + ACPI_GPE0, ACPI_GPE0_LEN * 8, 1);
    add_pointer(t, false, at + FADT_FACS, 4, facs_at);
    add_pointer(t, false, at + FADT_DSDT, 4, dsdt_at);
    add_pointer(t, false, at + FADT_X_DSDT, 8, dsdt_at);
    end(t, at);
    return at;
}

static void source_override(struct buf *b, unsigned irq, unsigned gsi, unsigned flags)
{
    put(b, 2, 1);
    put(b, 10, 1);
    put(b, 0, 1);
    put(b, irq, 1);
    put(b, gsi, 4);
    put(b, flags, 2);
}

static size_t madt(const struct acpi_cfg *cfg, struct acpi_tables *t)
{
    static const uint8_t level_irqs[] = {5, ACPI_SCI_IRQ, 10, 11};
    const unsigned level_high = 0xd;
    struct buf *b = &t->tables;
    size_t at = begin(t, "APIC", 3);

    put(b, LAPIC_BASE, 4);
    put(b, 1, 4); /* there are 8259s, too */
    for (unsigned n = 0; n < cfg->cpus; n++) {
        put(b, 0, 1);
        put(b, 8, 1);
        put(b, n, 1); /* processor uid */
        put(b, n, 1); /* APIC id */
        put(b, 1, 4); /* enabled */
    }
    put(b, 1, 1); /* I/O APIC */
    put(b, 12, 1);
    put(b, 0, 2);
    put(b, IOAPIC_BASE, 4);
    put(b, 0, 4);
    source_override(b, 0, 2, 0);
    for (unsigned i = 0; i < sizeof(level_irqs); i++)
        source_override(b, level_irqs[i], level_irqs[i], level_high);
    put(b, 4, 1); /* NMI on LINT1 of all */
    put(b, 6, 1);
    put(b, 0xff, 1);
    put(b, 0, 2);
    put(b, 1, 1);
    end(t, at);
    return at;
}

static size_t hpet(struct acpi_tables *t)
{
    struct buf *b = &t->tables;
    size_t at = begin(t, "HPET", 1);

    put(b, 0x8086a201, 4); /* lower half of its capability register */
    put(b, 0, 4);          /* in memory, */
    put(b, HPET_BASE, 8);
    put(b, 0, 1);
    put(b, 100, 2); /* shortest period in periodic mode, ticks */
    put(b, 0, 1);
    end(t, at);
    return at;
}

/* RSDT (4-byte entries) or XSDT (8-byte entries). */
static size_t root_table(struct acpi_tables *t, const char *signature, unsigned entry,
                         const size_t *list, unsigned count)
{
    size_t at = begin(t, signature, 1);

    zeroes(&t->tables, (size_t)entry * count);
    for (unsigned i = 0; i < count; i++)
        add_pointer(t, false, at + HEADER + (size_t)i * entry, entry, list[i]);
    end(t, at);
    return at;
}

void acpi_build(const struct acpi_cfg *cfg, struct acpi_tables *t)
{
    size_t list[3];

    *t = (struct acpi_tables){0};
    size_t facs_at = facs(t);
    size_t dsdt_at = dsdt(cfg, t);
    list[0] = fadt(t, facs_at, dsdt_at);
    list[1] = madt(cfg, t);
    list[2] = hpet(t);
    size_t rsdt = root_table(t, "RSDT", 4, list, ARRAY_LEN(list));
    size_t xsdt = root_table(t, "XSDT", 8, list, ARRAY_LEN(list));

    zeroes(&t->rsdp, RSDP_SIZE);
    memcpy(t->rsdp.data, "RSD PTR ", 8);
    memcpy(t->rsdp.data + 9, OEM_ID, 6);
    t->rsdp.data[15] = 2; /* revision */
    st_le32(t->rsdp.data + 20, RSDP_SIZE);
    add_pointer(t, true, 16, 4, rsdt);
    add_pointer(t, true, 24, 8, xsdt);
    add_checksum(t, true, 8, 0, 20);
    add_checksum(t, true, 32, 0, RSDP_SIZE);
}

void acpi_free(struct acpi_tables *t)
{
    buf_free(&t->tables);
    buf_free(&t->rsdp);
}

/* ---- completing ---- */

void acpi_place(struct acpi_tables *t, uint64_t gpa)
{
    for (unsigned i = 0; i < t->fix_count; i++) {
        const struct acpi_fix *f = &t->fixes[i];
        uint8_t *p = (uint8_t *)(f->in_rsdp ? t->rsdp.data : t->tables.data), sum = 0;

        if (f->pointer) {
            st_le(p + f->offset, ld_le(p + f->offset, f->size) + gpa, f->size);
            continue;
        }
        for (uint32_t n = 0; n < f->len; n++)
            sum = (uint8_t)(sum + p[f->start + n]);
        p[f->offset] = (uint8_t)(p[f->offset] - sum);
    }
}

#define SCRIPT_ENTRY 128u
#define SCRIPT_NAME  56u
enum { CMD_ALLOCATE = 1, CMD_ADD_POINTER, CMD_ADD_CHECKSUM };
enum { ZONE_HIGH = 1, ZONE_FSEG };

#define FILE_TABLES "etc/acpi/tables"
#define FILE_RSDP   "etc/acpi/rsdp"

static void script_name(uint8_t *p, bool rsdp)
{
    const char *name = rsdp ? FILE_RSDP : FILE_TABLES;

    memcpy(p, name, strlen(name));
}

static void script_allocate(struct buf *out, bool rsdp, unsigned align, unsigned zone)
{
    uint8_t e[SCRIPT_ENTRY] = {CMD_ALLOCATE};

    script_name(e + 4, rsdp);
    st_le32(e + 4 + SCRIPT_NAME, align);
    e[8 + SCRIPT_NAME] = (uint8_t)zone;
    buf_add(out, e, sizeof(e));
}

void acpi_loader_script(const struct acpi_tables *t, struct buf *out)
{
    script_allocate(out, false, ACPI_TABLES_ALIGN, ZONE_HIGH);
    script_allocate(out, true, 16, ZONE_FSEG);
    for (unsigned i = 0; i < t->fix_count; i++) {
        const struct acpi_fix *f = &t->fixes[i];
        uint8_t e[SCRIPT_ENTRY] = {f->pointer ? CMD_ADD_POINTER : CMD_ADD_CHECKSUM};

        script_name(e + 4, f->in_rsdp);
        if (f->pointer) {
            script_name(e + 4 + SCRIPT_NAME, false);
            st_le32(e + 4 + 2 * SCRIPT_NAME, f->offset);
            e[8 + 2 * SCRIPT_NAME] = (uint8_t)f->size;
        } else {
            st_le32(e + 4 + SCRIPT_NAME, f->offset);
            st_le32(e + 8 + SCRIPT_NAME, f->start);
            st_le32(e + 12 + SCRIPT_NAME, f->len);
        }
        buf_add(out, e, sizeof(e));
    }
}
