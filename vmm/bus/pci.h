/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI bus 0: configuration space, BARs, INTx and MSI-X for the devices on it. Machine lock. A PCI
 * device is only behaviour: BAR decoding, command register, interrupt routing and MSI-X tables are
 * done here. Source: PCI Local Bus 3.0 ch. 6; PCI-to-PCI bridges and multi-bus are left out. */
#ifndef VMDECK_BUS_PCI_H
#define VMDECK_BUS_PCI_H

#include "vmm/bus/bus.h"

#define PCI_CONFIG_SIZE 256
#define PCI_BARS        6

/* Offsets in configuration space. */
#define PCI_VENDOR_ID        0x00
#define PCI_DEVICE_ID        0x02
#define PCI_COMMAND          0x04
#define PCI_STATUS           0x06
#define PCI_REVISION         0x08
#define PCI_PROG_IF          0x09
#define PCI_SUBCLASS         0x0a
#define PCI_CLASS            0x0b
#define PCI_CACHE_LINE       0x0c
#define PCI_LATENCY          0x0d
#define PCI_HEADER_TYPE      0x0e
#define PCI_BAR0             0x10
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM_ID     0x2e
#define PCI_ROM_ADDRESS      0x30
#define PCI_CAP_POINTER      0x34
#define PCI_INTERRUPT_LINE   0x3c
#define PCI_INTERRUPT_PIN    0x3d

#define PCI_COMMAND_IO       0x001u
#define PCI_COMMAND_MEMORY   0x002u
#define PCI_COMMAND_MASTER   0x004u
#define PCI_COMMAND_PARITY   0x040u
#define PCI_COMMAND_SERR     0x100u
#define PCI_COMMAND_INTX_OFF 0x400u

#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_MSIX   0x11

struct pci_bus;
struct pci_dev;

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM, PCI_BAR_MEM64 };

struct pci_ids {
    uint16_t vendor, device, subvendor, subdevice;
    uint8_t class_code, subclass, prog_if, revision;
    uint8_t interrupt_pin; /* 0 none, 1 INTA .. 4 INTD */
};

/* Hooks a device may set, all optional. */
struct pci_dev_ops {
    /* Before bytes are read from pci_config, which it may bring up to date. */
    void (*config_reading)(void *opaque, unsigned offset, unsigned size);
    /* After the default write has stored the bytes allowed by the write mask. */
    void (*config_written)(void *opaque, unsigned offset, unsigned size);
    /* A BAR was mapped, moved or hidden: pci_bar_address tells. */
    void (*bars_moved)(void *opaque);
};

struct pci_bus *pci_bus_new(struct bus *bus);
void pci_bus_free(struct pci_bus *pb);
/* Where INTx pin (0-3) of slot goes; the chipset sets it (PIRQ routing). level is the OR of all
 * devices on that PIRQ. */
void pci_bus_set_intx(struct pci_bus *pb, void (*set)(void *opaque, unsigned pirq, int level),
                      void *opaque);
/* Which PIRQ (0-3) pin (0-3) of that device drives: the wiring of the slots, as SeaBIOS and the ACPI
 * tables describe it. */
unsigned pci_intx_pirq(unsigned devfn, unsigned pin);
/* The device at devfn, or NULL. */
struct pci_dev *pci_bus_dev(struct pci_bus *pb, unsigned devfn);
/* CONFIG_ADDRESS/CONFIG_DATA mechanism, for the host bridge device. */
uint32_t pci_config_read(struct pci_bus *pb, uint32_t address, unsigned offset, unsigned size);
void pci_config_write(struct pci_bus *pb, uint32_t address, unsigned offset, uint32_t value,
                      unsigned size);

/* devfn: slot << 3 | function; -1: the next free slot. opaque is given to BAR ops and hooks. */
struct pci_dev *pci_add(struct pci_bus *pb, int devfn, const char *name, const struct pci_ids *ids,
                        const struct pci_dev_ops *ops, void *opaque, struct err *e);
void pci_remove(struct pci_dev *d);
unsigned pci_devfn(const struct pci_dev *d);
struct bus *pci_system_bus(const struct pci_dev *d);
uint8_t *pci_config(struct pci_dev *d); /* 256 bytes */
uint8_t *pci_write_mask(struct pci_dev *d);
void pci_reset(struct pci_dev *d); /* command, BARs, MSI-X back to power-on */

/* size: a power of two, I/O >= 4, memory >= 4096. */
void pci_bar_io(struct pci_dev *d, unsigned bar, uint32_t size, const struct pio_ops *ops);
void pci_bar_mem(struct pci_dev *d, unsigned bar, uint64_t size, bool is64, bool prefetchable,
                 const struct mmio_ops *ops);
/* Memory BAR backed by host memory (frame buffer). Returns its region for the dirty log. */
struct mem_region *pci_bar_ram(struct pci_dev *d, unsigned bar, uint64_t size, void *host);
/* Expansion ROM BAR; image of len bytes is copied, size rounded up to a power of two. */
void pci_bar_rom(struct pci_dev *d, const void *image, uint32_t len);
/* Current address, UINT64_MAX while not decoded. */
uint64_t pci_bar_address(const struct pci_dev *d, unsigned bar);
/* For resource assignment; bar PCI_BARS is the expansion ROM. */
enum pci_bar_kind pci_bar_info(const struct pci_dev *d, unsigned bar, uint64_t *size);

/* Appends a capability; returns its offset. len includes the two header bytes. */
unsigned pci_add_cap(struct pci_dev *d, uint8_t id, unsigned len);
void pci_intx(struct pci_dev *d, int level);
/* MSI-X with count vectors, table at offset 0 and PBA at 0x800 of the given memory BAR (own BAR,
 * 4 KiB). */
void pci_add_msix(struct pci_dev *d, unsigned bar, unsigned count);
bool pci_msix_enabled(const struct pci_dev *d);
void pci_msix_notify(struct pci_dev *d, unsigned vector);

#endif
