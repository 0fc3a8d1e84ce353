/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct boot without firmware: puts a kernel and what belongs to it into guest RAM and sets the state
 * of the first processor. Kinds, tried in this order: Linux bzImage (64-bit or 32-bit entry), Multiboot 1,
 * PVH (Xen ELF note) and plain ELF64 vmlinux (64-bit entry of the Linux boot protocol).
 *
 * Image files are hostile: every length and address is checked before it is used. What cannot be started, or does not
 * fit into the guest's memory, is ERR_INVALID or ERR_CORRUPT; other codes are troubles of the host. */
#ifndef VMDECK_FW_BOOT_H
#define VMDECK_FW_BOOT_H

#include "vmm/base/err.h"
#include "vmm/cpu/x86.h"
#include "vmm/mem/mem.h"

#define FW_MODULES_MAX 16

struct fw_boot_cfg {
    struct mem *mem;
    int kernel, initrd; /* regular files, stay the caller's; initrd may be -1 */
    const char *cmdline;
    int modules[FW_MODULES_MAX]; /* Multiboot only */
    const char *module_args[FW_MODULES_MAX];
    unsigned module_count;
    uint64_t rsdp; /* where the ACPI tables begin, 0: nowhere */
};

/* s: as after x86_state_reset. On failure RAM may have been written. */
bool fw_boot_load(const struct fw_boot_cfg *cfg, struct x86_state *s, struct err *e);

/* ---- memory map of a machine without firmware, also for the tables ---- */

enum e820_type { E820_RAM = 1, E820_RESERVED = 2 };
struct e820_entry {
    uint64_t base, size;
    uint32_t type;
};
#define E820_MAX 8
/* Rising, without gaps filled; returns the count. */
unsigned fw_e820(const struct mem *mem, struct e820_entry map[E820_MAX]);

#endif
