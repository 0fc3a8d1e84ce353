/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg: how firmware learns of the machine. Interface as documented for QEMU
 * (docs/specs/fw_cfg.rst), which SeaBIOS and OVMF expect: ports 510h-51Bh with DMA. */
#ifndef VMDECK_DEV_PLATFORM_FWCFG_H
#define VMDECK_DEV_PLATFORM_FWCFG_H

#include "vmm/dev/dev.h"

enum fwcfg_key {
    FWCFG_SIGNATURE = 0x00,
    FWCFG_ID = 0x01,
    FWCFG_UUID = 0x02,
    FWCFG_RAM_SIZE = 0x03,
    FWCFG_NOGRAPHIC = 0x04,
    FWCFG_NB_CPUS = 0x05,
    FWCFG_BOOT_MENU = 0x0e,
    FWCFG_MAX_CPUS = 0x0f,
    FWCFG_FILE_DIR = 0x19,
    FWCFG_FILE_FIRST = 0x20,
    FWCFG_IRQ0_OVERRIDE = 0x8002,
};

/* Bytes are copied. An item or file that is there already is replaced. */
void fwcfg_add_item(struct dev *d, uint16_t key, const void *data, uint32_t len);
void fwcfg_add_u16(struct dev *d, uint16_t key, uint16_t v);
void fwcfg_add_u64(struct dev *d, uint16_t key, uint64_t v);
/* name: at most 55 characters, "etc/e820". */
void fwcfg_add_file(struct dev *d, const char *name, const void *data, uint32_t len);

#endif
