/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/pci_assign.h"

#include "vmm/base/bits.h"
#include "vmm/dev/platform/acpi_pm.h"

#define IO_FIRST   0xc000u
#define MEM_FIRST  0xe0000000u
#define MEM_LAST   0xfebfffffu
#define ISA_BRIDGE (1 << 3)
#define PIRQ_ROUTE 0x60
#define PAM0       0x59
#define ELCR_SLAVE 0x4d1
#define DEVFNS     256

static const uint8_t pirq_irqs[4] = {10, 10, 11, 11};

static void config_write(struct pci_bus *pb, unsigned devfn, unsigned reg, uint32_t v, unsigned size)
{
    pci_config_write(pb, BIT(31) | devfn << 8 | (reg & 0xfc), reg & 3, v, size);
}

static uint32_t config_read(struct pci_bus *pb, unsigned devfn, unsigned reg, unsigned size)
{
    return pci_config_read(pb, BIT(31) | devfn << 8 | (reg & 0xfc), reg & 3, size);
}

/* Gives addresses to all BARs of exactly this size, so that larger ones, taken first, leave no gaps. */
static void assign_size(struct pci_bus *pb, uint64_t want, uint64_t *next_io, uint64_t *next_mem)
{
    for (unsigned devfn = 0; devfn < DEVFNS; devfn++) {
        const struct pci_dev *d = pci_bus_dev(pb, devfn);
        for (unsigned bar = 0; d && bar < PCI_BARS; bar++) {
            uint64_t size;
            enum pci_bar_kind kind = pci_bar_info(d, bar, &size);
            if (kind == PCI_BAR_NONE || size != want)
                continue;
            uint64_t *next = kind == PCI_BAR_IO ? next_io : next_mem;
            uint64_t last = kind == PCI_BAR_IO ? 0xffff : MEM_LAST;
            if (*next + size - 1 > last)
                continue; /* stays at 0: not decoded */
            config_write(pb, devfn, PCI_BAR0 + bar * 4, (uint32_t)*next, 4);
            if (kind == PCI_BAR_MEM64)
                config_write(pb, devfn, PCI_BAR0 + bar * 4 + 4, 0, 4);
            *next += size;
        }
    }
}

unsigned fw_pirq_irq(unsigned pirq)
{
    return pirq_irqs[pirq];
}

void fw_pci_assign(struct pci_bus *pb, struct bus *bus)
{
    uint64_t next_io = IO_FIRST, next_mem = MEM_FIRST;

    for (uint64_t size = 512 * MIB; size >= 4; size /= 2)
        assign_size(pb, size, &next_io, &next_mem);
    for (unsigned i = 0; i < ARRAY_LEN(pirq_irqs); i++)
        config_write(pb, ISA_BRIDGE, PIRQ_ROUTE + i, pirq_irqs[i], 1);
    bus_pio_write(bus, ELCR_SLAVE, BIT(10 - 8) | BIT(11 - 8), 1);
    for (unsigned i = 0; i < 7; i++) /* RAM in the BIOS area */
        config_write(pb, 0, PAM0 + i, 0x33, 1);
    config_write(pb, ACPI_PM_DEVFN, ACPI_PM_PMBA, ACPI_PM_BASE | 1, 4);
    config_write(pb, ACPI_PM_DEVFN, ACPI_PM_PMREGMISC, 1, 1);

    for (unsigned devfn = 0; devfn < DEVFNS; devfn++) {
        if (!pci_bus_dev(pb, devfn))
            continue;
        unsigned pin = config_read(pb, devfn, PCI_INTERRUPT_PIN, 1);
        if (devfn == ACPI_PM_DEVFN)
            config_write(pb, devfn, PCI_INTERRUPT_LINE, ACPI_SCI_IRQ, 1);
        else if (pin)
            config_write(pb, devfn, PCI_INTERRUPT_LINE, pirq_irqs[pci_intx_pirq(devfn, pin - 1)], 1);
        unsigned command = config_read(pb, devfn, PCI_COMMAND, 2);
        config_write(pb, devfn, PCI_COMMAND, command | PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 2);
    }
}
