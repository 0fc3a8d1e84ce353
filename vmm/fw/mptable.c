/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/mptable.h"

#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/bus/pci.h"
#include "vmm/fw/pci_assign.h"

#define LAPIC_BASE    0xfee00000u
#define LAPIC_VERSION 0x14
#define IOAPIC_BASE   0xfec00000u
#define IOAPIC_ID     0
#define IOAPIC_VERSION 0x20

#define HEADER_SIZE 44u
#define HEADER_LENGTH 4
#define HEADER_CHECKSUM 7
#define HEADER_ENTRIES 34

enum entry { CPU, BUS, IOAPIC, IO_INTERRUPT, LOCAL_INTERRUPT };
enum interrupt { INT, NMI, SMI, EXTINT };

#define CPU_ENABLED 1u
#define CPU_BOOT    2u
/* For a processor without CPUID; with it nobody looks: family 6; FPU and local APIC. */
#define CPU_SIGNATURE 0x600u
#define CPU_FEATURES  0x201u

#define BUS_PCI 0 /* PCI's is the number of the bus */
#define BUS_ISA 1

#define CONFORMS   0u
#define LEVEL_HIGH 0xdu

#define ISA_IRQS    16
#define CASCADE_IRQ 2
#define TIMER_PIN   2 /* of the I/O APIC; the PIT is IRQ 0 */
#define SLOTS       32
#define PINS        4
#define ALL_LAPICS  0xff

static uint8_t checksum(const void *p, size_t len)
{
    const uint8_t *b = p;
    uint8_t sum = 0;

    while (len--)
        sum = (uint8_t)(sum + *b++);
    return (uint8_t)-sum;
}

/* Entries are counted behind the fact, in the header. */
static void add(struct buf *t, const uint8_t *entry, size_t len)
{
    uint8_t *count = (uint8_t *)t->data + HEADER_ENTRIES;

    st_le16(count, (uint16_t)(ld_le16(count) + 1));
    buf_add(t, entry, len);
}

static void add_cpu(struct buf *t, unsigned id)
{
    uint8_t e[20] = {CPU, (uint8_t)id, LAPIC_VERSION, CPU_ENABLED | (id == 0 ? CPU_BOOT : 0)};

    st_le32(e + 4, CPU_SIGNATURE);
    st_le32(e + 8, CPU_FEATURES);
    add(t, e, sizeof(e));
}

static void add_bus(struct buf *t, uint8_t id, const char *type)
{
    uint8_t e[8] = {BUS, id};

    memcpy(e + 2, type, 6);
    add(t, e, sizeof(e));
}

static void add_ioapic(struct buf *t)
{
    uint8_t e[8] = {IOAPIC, IOAPIC_ID, IOAPIC_VERSION, 1};

    st_le32(e + 4, IOAPIC_BASE);
    add(t, e, sizeof(e));
}

struct interrupt_entry {
    enum entry entry;
    enum interrupt type;
    unsigned flags, bus, irq, apic, pin;
};

static void add_interrupt(struct buf *t, const struct interrupt_entry *i)
{
    uint8_t e[8] = {i->entry, i->type, i->flags, 0, i->bus, i->irq, i->apic, i->pin};

    add(t, e, sizeof(e));
}

static unsigned pci_irq(unsigned slot, unsigned pin)
{
    return fw_pirq_irq(pci_intx_pirq(slot << 3, pin));
}

/* PCI pins of all slots; ISA interrupts to the pin of the same number but for the timer, and but for those that PCI
 * has taken. */
static void add_interrupts(struct buf *t)
{
    uint32_t taken = BIT(CASCADE_IRQ);

    for (unsigned slot = 0; slot < SLOTS; slot++)
        for (unsigned pin = 0; pin < PINS; pin++) {
            unsigned irq = pci_irq(slot, pin);
            taken |= BIT(irq);
            add_interrupt(t, &(struct interrupt_entry){.entry = IO_INTERRUPT,
                                                       .type = INT,
                                                       .flags = LEVEL_HIGH,
                                                       .bus = BUS_PCI,
                                                       .irq = slot << 2 | pin,
                                                       .apic = IOAPIC_ID,
                                                       .pin = irq});
        }
    for (unsigned irq = 0; irq < ISA_IRQS; irq++)
        if (!(taken & BIT(irq)))
            add_interrupt(t, &(struct interrupt_entry){.entry = IO_INTERRUPT,
                                                       .type = INT,
                                                       .flags = CONFORMS,
                                                       .bus = BUS_ISA,
                                                       .irq = irq,
                                                       .apic = IOAPIC_ID,
                                                       .pin = irq ? irq : TIMER_PIN});
    /* the PIC is on LINT0 of the boot processor, NMI on LINT1 of all */
    add_interrupt(t, &(struct interrupt_entry){
                         .entry = LOCAL_INTERRUPT, .type = EXTINT, .bus = BUS_ISA, .apic = 0});
    add_interrupt(t, &(struct interrupt_entry){
                         .entry = LOCAL_INTERRUPT, .type = NMI, .bus = BUS_ISA, .apic = ALL_LAPICS, .pin = 1});
}

void mptable_build(unsigned cpus, uint32_t table_gpa, struct buf *table,
                   uint8_t pointer[MP_POINTER_SIZE])
{
    uint8_t header[HEADER_SIZE] = "PCMP";

    header[6] = 4; /* specification 1.4 */
    memcpy(header + 8, "VMDECK  PC          ", 20);
    st_le32(header + 36, LAPIC_BASE);
    buf_add(table, header, sizeof(header));
    for (unsigned id = 0; id < cpus; id++)
        add_cpu(table, id);
    add_bus(table, BUS_PCI, "PCI   ");
    add_bus(table, BUS_ISA, "ISA   ");
    add_ioapic(table);
    add_interrupts(table);
    uint8_t *p = (uint8_t *)table->data;
    st_le16(p + HEADER_LENGTH, (uint16_t)table->len);
    p[HEADER_CHECKSUM] = checksum(p, table->len);

    memset(pointer, 0, MP_POINTER_SIZE);
    memcpy(pointer, "_MP_", 4);
    st_le32(pointer + 4, table_gpa);
    pointer[8] = 1; /* of 16 bytes */
    pointer[9] = 4;
    pointer[10] = checksum(pointer, MP_POINTER_SIZE);
}
