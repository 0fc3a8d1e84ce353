/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The DSDT: root bridge with its windows and interrupt routing, the four PIRQ links, ISA devices with
 * plug and play ids, processors, and \_S5. What has a fixed register (power button, reset) is in the
 * FADT. */
#include <stdio.h>

#include "vmm/base/bits.h"
#include "vmm/bus/pci.h"
#include "vmm/dev/platform/acpi_pm.h"
#include "vmm/dev/platform/hpet.h"
#include "vmm/fw/acpi.h"
#include "vmm/fw/aml.h"

#define SLOTS 32
#define PINS  4
/* From the end of the largest low RAM to the I/O APIC. */
#define PCI_HOLE_FIRST 0xc0000000u
#define PCI_HOLE_LAST  0xfebfffffu
#define LINK_DISABLED  0x80

static const uint8_t link_irqs[] = {5, 10, 11};
static const char *const link_names[PINS] = {"LNKA", "LNKB", "LNKC", "LNKD"};
static const char *const link_regs[PINS] = {"PRQ0", "PRQ1", "PRQ2", "PRQ3"};

static void crs_open(struct buf *b)
{
    aml_name(b, "_CRS");
}

static void isa_device(struct buf *b, const char *name, const char *id, unsigned uid,
                       const uint16_t io[][2], unsigned io_count, unsigned irq)
{
    struct aml_template t = {0};
    size_t dev = aml_device(b, name);

    aml_name_eisa(b, "_HID", id);
    if (uid)
        aml_name_int(b, "_UID", uid);
    for (unsigned i = 0; i < io_count; i++)
        aml_res_io(&t, io[i][0], io[i][1]);
    if (irq)
        aml_res_irq(&t, irq);
    crs_open(b);
    aml_template(b, &t);
    aml_close(b, dev);
}

static void isa_bridge(const struct acpi_cfg *cfg, struct buf *b)
{
    static const uint16_t rtc[][2] = {{0x70, 2}}, kbd[][2] = {{0x60, 1}, {0x64, 1}};
    static const uint16_t com1[][2] = {{0x3f8, 8}}, com2[][2] = {{0x2f8, 8}};
    static const uint16_t board[][2] = {{ACPI_PM_BASE, 64}, {ACPI_SMI_CMD, 2}, {0x4d0, 2},
                                        {0x92, 1},         {0x61, 1},          {0x80, 1}};
    size_t isa = aml_device(b, "ISA");

    aml_name_int(b, "_ADR", 0x00010000);
    aml_region(b, "PIRQ", AML_SPACE_PCI, 0x60, PINS);
    isa_device(b, "RTC", "PNP0B00", 0, rtc, 1, 8);
    isa_device(b, "KBD", "PNP0303", 0, kbd, 2, 1);
    isa_device(b, "MOU", "PNP0F13", 0, NULL, 0, 12);
    if (cfg->com[0])
        isa_device(b, "COM1", "PNP0501", 1, com1, 1, 4);
    if (cfg->com[1])
        isa_device(b, "COM2", "PNP0501", 2, com2, 1, 3);
    isa_device(b, "MBRD", "PNP0C02", 0, board, ARRAY_LEN(board), 0);
    aml_close(b, isa);
}

/* Every slot, used or not: the wiring is a fact of the board. */
static void routing_table(struct buf *b)
{
    aml_name(b, "_PRT");
    size_t table = aml_package(b, SLOTS * PINS);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        for (unsigned pin = 0; pin < PINS; pin++) {
            size_t entry = aml_package(b, 4);
            aml_int(b, slot << 16 | 0xffff);
            aml_int(b, pin);
            aml_path(b, link_names[pci_intx_pirq(slot << 3, pin)]);
            aml_int(b, 0);
            aml_close(b, entry);
        }
    aml_close(b, table);
}

static void root_bridge(const struct acpi_cfg *cfg, struct buf *b)
{
    struct aml_template t = {0};
    size_t pci = aml_device(b, "PCI0");

    aml_name_eisa(b, "_HID", "PNP0A03");
    aml_name_int(b, "_UID", 0);
    aml_res_bus_numbers(&t, 0, 0xff);
    aml_res_io(&t, 0xcf8, 8);
    aml_res_io_window(&t, 0, 0xcf7);
    aml_res_io_window(&t, 0xd00, 0xffff);
    aml_res_memory_window(&t, 0xa0000, 0xbffff, 1);
    aml_res_memory_window(&t, PCI_HOLE_FIRST, PCI_HOLE_LAST, 0);
    crs_open(b);
    aml_template(b, &t);
    routing_table(b);
    isa_bridge(cfg, b);
    aml_close(b, pci);
}

/* An interrupt link: PCI interrupt routing register n of the ISA bridge. */
static void link_device(struct buf *b, unsigned n)
{
    static const uint8_t none = 0;
    struct aml_template t = {0};
    size_t dev = aml_device(b, link_names[n]), m, cond;

    aml_name_eisa(b, "_HID", "PNP0C0F");
    aml_name_int(b, "_UID", n);
    aml_res_interrupts(&t, link_irqs, sizeof(link_irqs));
    aml_name(b, "_PRS");
    aml_template(b, &t);

    m = aml_method(b, "_STA", 0); /* enabled, or just present */
    cond = aml_if(b);
    aml_byte(b, AML_LLESS);
    aml_path(b, link_regs[n]);
    aml_int(b, LINK_DISABLED);
    aml_return(b);
    aml_int(b, 0x0b);
    aml_close(b, cond);
    aml_return(b);
    aml_int(b, 0x09);
    aml_close(b, m);

    m = aml_method(b, "_DIS", 0);
    aml_byte(b, AML_OR);
    aml_path(b, link_regs[n]);
    aml_int(b, LINK_DISABLED);
    aml_path(b, link_regs[n]);
    aml_close(b, m);

    t = (struct aml_template){0};
    aml_res_interrupts(&t, &none, 1);
    aml_name(b, "CRSB");
    aml_template(b, &t);
    m = aml_method(b, "_CRS", AML_SERIALIZED);
    aml_byte(b, AML_DWORD_FIELD);
    aml_path(b, "CRSB");
    aml_int(b, AML_RES_INTERRUPT_NUMBER);
    aml_path(b, "CRSI");
    aml_byte(b, AML_AND);
    aml_path(b, link_regs[n]);
    aml_int(b, 0x0f);
    aml_path(b, "CRSI");
    aml_return(b);
    aml_path(b, "CRSB");
    aml_close(b, m);

    m = aml_method(b, "_SRS", 1 | AML_SERIALIZED);
    aml_byte(b, AML_DWORD_FIELD);
    aml_byte(b, AML_ARG0);
    aml_int(b, AML_RES_INTERRUPT_NUMBER);
    aml_path(b, "SRSI");
    aml_byte(b, AML_STORE);
    aml_path(b, "SRSI");
    aml_path(b, link_regs[n]);
    aml_close(b, m);
    aml_close(b, dev);
}

static void hpet_device(struct buf *b)
{
    struct aml_template t = {0};
    size_t dev = aml_device(b, "HPET");

    aml_name_eisa(b, "_HID", "PNP0103");
    aml_name_int(b, "_UID", 0);
    aml_res_memory(&t, (uint32_t)HPET_BASE, 0x400);
    crs_open(b);
    aml_template(b, &t);
    aml_close(b, dev);
}

static void processor(struct buf *b, unsigned n)
{
    char name[8];

    snprintf(name, sizeof(name), "C%03X", n & 0xfff);
    size_t dev = aml_device(b, name);
    aml_name(b, "_HID");
    aml_string(b, "ACPI0007");
    aml_name_int(b, "_UID", n);
    aml_close(b, dev);
}

void acpi_dsdt(const struct acpi_cfg *cfg, struct buf *b)
{
    size_t sb = aml_scope(b, "\\_SB"), p;

    root_bridge(cfg, b);
    p = aml_field(b, "PCI0.ISA.PIRQ");
    for (unsigned n = 0; n < PINS; n++)
        aml_field_unit(b, link_regs[n], 8);
    aml_close(b, p);
    for (unsigned n = 0; n < PINS; n++)
        link_device(b, n);
    hpet_device(b);
    for (unsigned n = 0; n < cfg->cpus; n++)
        processor(b, n);
    aml_close(b, sb);

    aml_name(b, "\\_S5");
    p = aml_package(b, 4);
    aml_int(b, ACPI_S5_TYPE);
    aml_int(b, ACPI_S5_TYPE);
    aml_int(b, 0);
    aml_int(b, 0);
    aml_close(b, p);
}
