/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the loaders. */
#ifndef VMDECK_FW_BOOT_PRIV_H
#define VMDECK_FW_BOOT_PRIV_H

#include "vmm/base/bits.h"
#include "vmm/fw/boot.h"

/* Low memory that is ours during boot; images must not lie in it. */
#define LOW_GDT        0x500u
#define LOW_BOOT_INFO  0x7000u /* boot_params, start_info or Multiboot information */
#define LOW_STACK      0x9000u /* grows down */
#define LOW_PAGES      0x9000u /* PML4, PDPT, four page directories */
#define LOW_MODULES    0x10000u
#define LOW_STRINGS    0x20000u
#define LOW_STRINGS_SZ 0x10000u
#define LOW_END        0x30000u

#define BIOS_AREA     0xa0000u
#define BIOS_AREA_END 0x100000u
#define EBDA          0x9fc00u

#define SEL_CODE 0x10
#define SEL_DATA 0x18

/* The kernel file in host memory. */
struct image {
    uint8_t *data;
    uint64_t len;
};

#define LOADER_RANGES 64
struct loader {
    const struct fw_boot_cfg *cfg;
    struct image image;
    struct {
        uint64_t start, end;
    } used[LOADER_RANGES]; /* by the kernel's segments and modules */
    unsigned used_count;
    uint32_t strings; /* next free byte of the string area */
};

/* Marks [gpa, gpa+len) as taken; an error when it is not free RAM below 4 GiB. */
bool loader_reserve(struct loader *l, uint64_t gpa, uint64_t len, const char *what, struct err *e);
/* Copies part of the image to reserved RAM and zeroes up to mem_len. */
void loader_copy(struct loader *l, uint64_t gpa, uint64_t offset, uint64_t file_len,
                 uint64_t mem_len);
/* Reads a whole file into free RAM: the highest place below limit, or the lowest above the kernel. */
bool loader_place_file(struct loader *l, int fd, const char *what, uint64_t limit, bool high,
                       uint64_t *gpa, uint64_t *len, struct err *e);
/* Copies a string into low memory; the address, 0 when there is no room. */
uint32_t loader_string(struct loader *l, const char *s);
void loader_put(struct loader *l, uint64_t gpa, const void *p, uint64_t len);

/* Flat 32-bit protected mode, or long mode with the low 4 GiB mapped to themselves. */
void enter_protected(struct loader *l, struct x86_state *s, uint32_t entry);
void enter_long(struct loader *l, struct x86_state *s, uint64_t entry);

/* The zero page of the Linux boot protocol, but for the setup header. initrd is placed below limit. */
bool linux_params(struct loader *l, uint8_t *params, uint64_t initrd_limit, uint32_t cmdline_max,
                  struct err *e);

bool is_bzimage(const struct image *im);
bool load_bzimage(struct loader *l, struct x86_state *s, struct err *e);
/* Offset of the header, or -1. */
int64_t find_multiboot(const struct image *im);
bool load_multiboot(struct loader *l, struct x86_state *s, struct err *e);
bool is_elf(const struct image *im);
bool load_elf(struct loader *l, struct x86_state *s, struct err *e);

/* Program headers of an ELF32 or ELF64 file for x86. */
struct elf_info {
    bool is64;
    uint64_t entry, phoff;
    unsigned phnum, phentsize;
};
struct elf_phdr {
    uint32_t type;
    uint64_t offset, paddr, vaddr, filesz, memsz;
};
bool elf_open(const struct image *im, struct elf_info *out, struct err *e);
/* n < phnum; the file range is within the image when true. */
bool elf_segment(const struct image *im, const struct elf_info *elf, unsigned n,
                 struct elf_phdr *out, struct err *e);
/* Loads all PT_LOAD by physical address; [*low, *high) is what they cover. */
bool elf_load_segments(struct loader *l, const struct elf_info *elf, uint64_t *low, uint64_t *high,
                       struct err *e);

#endif
