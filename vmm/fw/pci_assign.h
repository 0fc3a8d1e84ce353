/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMDECK_FW_PCI_ASSIGN_H
#define VMDECK_FW_PCI_ASSIGN_H

#include "vmm/bus/pci.h"

/* What firmware would have done, for a direct boot: gives every BAR an address, routes the PIRQs to IRQs
 * 10 and 11, fills the interrupt line registers, and turns decoding on. All through configuration space. */
void fw_pci_assign(struct pci_bus *pb, struct bus *bus);

/* The ISA interrupt to which PIRQ n (0-3) is steered. */
unsigned fw_pirq_irq(unsigned pirq);

#endif
