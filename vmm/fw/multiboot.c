/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiboot 0.6.96: ELF images and images with address fields, modules, memory map, command line, and
 * the EGA text screen. Graphics modes that an image asks for are not set: it gets text. */
#include "vmm/fw/boot_priv.h"

#define HEADER_MAGIC  0x1badb002u
#define LOADER_MAGIC  0x2badb002u
#define HEADER_SEARCH 8192u

#define WANT_ADDRESSES  BIT(16)
#define KNOWN_MANDATORY 0x7u /* page-aligned modules, memory, video */

#define INFO_MEMORY  BIT(0)
#define INFO_CMDLINE BIT(2)
#define INFO_MODULES BIT(3)
#define INFO_MMAP    BIT(6)
#define INFO_NAME    BIT(9)
#define INFO_SIZE    116u
#define MMAP_ENTRY   24u /* with its size field */
#define MMAP_AT      (LOW_BOOT_INFO + 0x100)

int64_t find_multiboot(const struct image *im)
{
    uint64_t end = MIN(im->len, HEADER_SEARCH);

    for (uint64_t at = 0; at + 12 <= end; at += 4) {
        const uint8_t *p = im->data + at;
        if (ld_le32(p) == HEADER_MAGIC && ld_le32(p) + ld_le32(p + 4) + ld_le32(p + 8) == 0)
            return (int64_t)at;
    }
    return -1;
}

/* Loads by the header's own addresses. */
static bool load_by_addresses(struct loader *l, uint64_t header, uint32_t *entry, struct err *e)
{
    if (header + 32 > l->image.len)
        return err_set(e, ERR_CORRUPT, "the kernel file ends within its Multiboot header");
    const uint8_t *p = l->image.data + header;
    uint64_t header_addr = ld_le32(p + 12), load = ld_le32(p + 16), load_end = ld_le32(p + 20);
    uint64_t bss_end = ld_le32(p + 24);

    if (load > header_addr || header_addr - load > header)
        return err_set(e, ERR_CORRUPT, "the kernel's Multiboot addresses do not fit the file");
    uint64_t offset = header - (header_addr - load), file_len = l->image.len - offset;
    if (load_end) {
        if (load_end < load || load_end - load > file_len)
            return err_set(e, ERR_CORRUPT, "the kernel's Multiboot addresses do not fit the file");
        file_len = load_end - load;
    }
    uint64_t mem_len = file_len;
    if (bss_end) {
        if (bss_end < load + file_len)
            return err_set(e, ERR_CORRUPT, "the kernel's Multiboot addresses contradict each other");
        mem_len = bss_end - load;
    }
    *entry = ld_le32(p + 28);
    if (*entry < load || *entry >= load + mem_len)
        return err_set(e, ERR_CORRUPT, "the kernel's entry point %#x lies outside of it", *entry);
    if (!loader_reserve(l, load, mem_len, "the kernel", e))
        return false;
    loader_copy(l, load, offset, file_len, mem_len);
    return true;
}

static bool load_by_elf(struct loader *l, uint32_t *entry, struct err *e)
{
    struct elf_info elf;
    uint64_t low, high;

    if (!elf_open(&l->image, &elf, e) || !elf_load_segments(l, &elf, &low, &high, e))
        return false;
    uint64_t at = elf.entry;
    if (at < low || at >= high) { /* some give a virtual address */
        for (unsigned n = 0; n < elf.phnum; n++) {
            struct elf_phdr ph;
            if (!elf_segment(&l->image, &elf, n, &ph, e))
                return false;
            if (ph.type == 1 && elf.entry >= ph.vaddr && elf.entry - ph.vaddr < ph.memsz)
                at = ph.paddr + (elf.entry - ph.vaddr);
        }
    }
    if (at < low || at >= high)
        return err_set(e, ERR_CORRUPT, "the kernel's entry point %#llx lies outside of it",
                       (unsigned long long)at);
    *entry = (uint32_t)at;
    return true;
}

static bool one_module(struct loader *l, uint8_t *entry, int fd, const char *args, struct err *e)
{
    uint64_t gpa, len;

    if (!loader_place_file(l, fd, "a module", MEM_LOW_MAX, false, &gpa, &len, e))
        return false;
    uint32_t text = loader_string(l, args ? args : "");
    if (!text)
        return err_set(e, ERR_INVALID, "the arguments of the modules are too long");
    st_le32(entry, (uint32_t)gpa);
    st_le32(entry + 4, (uint32_t)(gpa + len));
    st_le32(entry + 8, text);
    return true;
}

/* The initrd, where one is given, is the first module. */
static bool load_modules(struct loader *l, uint8_t *info, struct err *e)
{
    uint8_t table[(FW_MODULES_MAX + 1) * 16] = {0};
    const struct fw_boot_cfg *c = l->cfg;
    unsigned n = 0;

    if (c->initrd >= 0 && !one_module(l, table + 16 * n++, c->initrd, "", e))
        return false;
    for (unsigned i = 0; i < MIN(c->module_count, (unsigned)FW_MODULES_MAX); i++)
        if (!one_module(l, table + 16 * n++, c->modules[i], c->module_args[i], e))
            return false;
    loader_put(l, LOW_MODULES, table, n * 16);
    st_le32(info + 20, n);
    st_le32(info + 24, LOW_MODULES);
    return true;
}

static void memory_map(struct loader *l, uint8_t *info)
{
    uint8_t table[E820_MAX * MMAP_ENTRY];
    struct e820_entry map[E820_MAX];
    unsigned n = fw_e820(l->cfg->mem, map);

    for (unsigned i = 0; i < n; i++) {
        uint8_t *p = table + i * MMAP_ENTRY;
        st_le32(p, MMAP_ENTRY - 4);
        st_le64(p + 4, map[i].base);
        st_le64(p + 12, map[i].size);
        st_le32(p + 20, map[i].type);
    }
    loader_put(l, MMAP_AT, table, n * MMAP_ENTRY);
    st_le32(info + 4, EBDA / 1024);
    st_le32(info + 8, (uint32_t)((mem_low_size(l->cfg->mem) - BIOS_AREA_END) / 1024));
    st_le32(info + 44, n * MMAP_ENTRY);
    st_le32(info + 48, MMAP_AT);
}

bool load_multiboot(struct loader *l, struct x86_state *s, struct err *e)
{
    uint64_t header = (uint64_t)find_multiboot(&l->image);
    uint32_t flags = ld_le32(l->image.data + header + 4), entry = 0;
    uint8_t info[INFO_SIZE] = {0};

    if (flags & 0xffff & ~KNOWN_MANDATORY)
        return err_set(e, ERR_INVALID, "the kernel needs unknown Multiboot features %#x",
                       flags & 0xffff & ~KNOWN_MANDATORY);
    if (!(flags & WANT_ADDRESSES ? load_by_addresses(l, header, &entry, e) :
                                   load_by_elf(l, &entry, e)))
        return false;
    uint32_t cmdline = loader_string(l, l->cfg->cmdline ? l->cfg->cmdline : "");
    uint32_t name = loader_string(l, "vmdeck");
    if (!cmdline || !name)
        return err_set(e, ERR_INVALID, "the kernel's command line is too long");
    if (!load_modules(l, info, e))
        return false;
    memory_map(l, info);
    st_le32(info, INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MMAP | INFO_NAME);
    st_le32(info + 16, cmdline);
    st_le32(info + 64, name);
    loader_put(l, LOW_BOOT_INFO, info, sizeof(info));

    enter_protected(l, s, entry);
    s->gpr[X86_RAX] = LOADER_MAGIC;
    s->gpr[X86_RBX] = LOW_BOOT_INFO;
    return true;
}
