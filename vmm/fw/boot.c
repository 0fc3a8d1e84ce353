/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/boot_priv.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/alloc.h"

#define KERNEL_MAX (512 * MIB)

/* ---- memory ---- */

unsigned fw_e820(const struct mem *mem, struct e820_entry map[E820_MAX])
{
    uint64_t low = mem_low_size(mem), high = mem_high_size(mem);
    unsigned n = 0;

    map[n++] = (struct e820_entry){0, EBDA, E820_RAM};
    map[n++] = (struct e820_entry){EBDA, BIOS_AREA - EBDA, E820_RESERVED};
    map[n++] = (struct e820_entry){0xe0000, BIOS_AREA_END - 0xe0000, E820_RESERVED};
    map[n++] = (struct e820_entry){BIOS_AREA_END, low - BIOS_AREA_END, E820_RAM};
    if (high)
        map[n++] = (struct e820_entry){MEM_HIGH_GPA, high, E820_RAM};
    return n;
}

static bool overlaps(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
    return a < b_end && b < a_end;
}

/* The first taken range that [start, end) touches. */
static bool taken(const struct loader *l, uint64_t start, uint64_t end, uint64_t *s, uint64_t *e)
{
    if (overlaps(start, end, 0, LOW_END)) {
        *s = 0;
        *e = LOW_END;
        return true;
    }
    if (overlaps(start, end, EBDA, BIOS_AREA_END)) {
        *s = EBDA;
        *e = BIOS_AREA_END;
        return true;
    }
    for (unsigned i = 0; i < l->used_count; i++)
        if (overlaps(start, end, l->used[i].start, l->used[i].end)) {
            *s = l->used[i].start;
            *e = l->used[i].end;
            return true;
        }
    return false;
}

bool loader_reserve(struct loader *l, uint64_t gpa, uint64_t len, const char *what, struct err *e)
{
    uint64_t ram = mem_low_size(l->cfg->mem), s, end;

    if (!range_within(gpa, len, 0, ram))
        return err_set(e, ERR_INVALID, "%s wants memory %#llx-%#llx, the guest has %llu MiB there",
                       what, (unsigned long long)gpa, (unsigned long long)(gpa + len),
                       (unsigned long long)(ram / MIB));
    if (len && taken(l, gpa, gpa + len, &s, &end))
        return err_set(e, ERR_INVALID, "%s wants memory %#llx-%#llx, which is in use at %#llx", what,
                       (unsigned long long)gpa, (unsigned long long)(gpa + len),
                       (unsigned long long)s);
    if (l->used_count == LOADER_RANGES)
        return err_set(e, ERR_INVALID, "%s has more than %d segments", what, LOADER_RANGES);
    l->used[l->used_count].start = gpa;
    l->used[l->used_count++].end = gpa + len;
    return true;
}

void loader_put(struct loader *l, uint64_t gpa, const void *p, uint64_t len)
{
    mem_write(l->cfg->mem, gpa, p, len);
}

void loader_copy(struct loader *l, uint64_t gpa, uint64_t offset, uint64_t file_len,
                 uint64_t mem_len)
{
    uint8_t *host = mem_host(l->cfg->mem, gpa, mem_len);

    if (!host)
        return;
    memcpy(host, l->image.data + offset, file_len);
    memset(host + file_len, 0, mem_len - file_len);
    mem_dirty(l->cfg->mem, gpa, mem_len);
}

uint32_t loader_string(struct loader *l, const char *s)
{
    uint32_t at = l->strings;
    size_t len = strlen(s) + 1;

    if (len > LOW_STRINGS + LOW_STRINGS_SZ - at)
        return 0;
    loader_put(l, at, s, len);
    l->strings += (uint32_t)len;
    return at;
}

/* ---- files ---- */

static bool file_size(int fd, const char *what, uint64_t max, uint64_t *size, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "cannot read %s", what);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, "%s is not a regular file", what);
    if ((uint64_t)st.st_size > max)
        return err_set(e, ERR_INVALID, "%s is larger than %llu MiB", what,
                       (unsigned long long)(max / MIB));
    *size = (uint64_t)st.st_size;
    return true;
}

static bool read_fully(int fd, const char *what, uint8_t *dst, uint64_t len, struct err *e)
{
    uint64_t done = 0;

    while (done < len) {
        ssize_t n = pread(fd, dst + done, len - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, errno, "cannot read %s", what);
        if (n == 0)
            return err_set(e, ERR_CORRUPT, "%s became shorter while it was read", what);
        done += (uint64_t)n;
    }
    return true;
}

static uint64_t place_low(const struct loader *l, uint64_t len)
{
    uint64_t at = BIOS_AREA_END, s, end;

    while (taken(l, at, at + len, &s, &end))
        at = ALIGN_UP(end, PAGE_SIZE);
    return at;
}

static uint64_t place_high(const struct loader *l, uint64_t len, uint64_t limit)
{
    uint64_t s, end;

    while (limit >= len) {
        uint64_t at = ALIGN_DOWN(limit - len, PAGE_SIZE);
        if (!taken(l, at, at + len, &s, &end))
            return at;
        limit = s;
    }
    return UINT64_MAX;
}

bool loader_place_file(struct loader *l, int fd, const char *what, uint64_t limit, bool high,
                       uint64_t *gpa, uint64_t *len, struct err *e)
{
    uint64_t ram = mem_low_size(l->cfg->mem);

    if (!file_size(fd, what, ram, len, e))
        return false;
    uint64_t room = MAX(*len, UINT64_C(1)); /* an empty file has an address, too */
    *gpa = high ? place_high(l, room, MIN(limit, ram)) : place_low(l, room);
    if (*gpa == UINT64_MAX || !range_within(*gpa, room, 0, MIN(limit, ram))) {
        err_set(e, ERR_INVALID, "%s of %llu MiB does not fit into %llu MiB of guest memory", what,
                (unsigned long long)(*len / MIB), (unsigned long long)(ram / MIB));
        return err_hint(e, "give the VM more memory");
    }
    if (!loader_reserve(l, *gpa, room, what, e) ||
        !read_fully(fd, what, mem_host(l->cfg->mem, *gpa, room), *len, e))
        return false;
    mem_dirty(l->cfg->mem, *gpa, room);
    return true;
}

/* ---- processor state ---- */

#define ATTR_CODE32 (0x9bu | SEG_DB | SEG_G)
#define ATTR_CODE64 (0x9bu | SEG_L | SEG_G)
#define ATTR_DATA   (0x93u | SEG_DB | SEG_G)

static uint64_t flat_descriptor(unsigned attr)
{
    return UINT64_C(0x000f00000000ffff) | (uint64_t)attr << 40;
}

static void set_segments(struct loader *l, struct x86_state *s, unsigned code_attr)
{
    uint8_t gdt[32] = {0};

    st_le64(gdt + SEL_CODE, flat_descriptor(code_attr));
    st_le64(gdt + SEL_DATA, flat_descriptor(ATTR_DATA));
    loader_put(l, LOW_GDT, gdt, sizeof(gdt));
    s->gdt.base = LOW_GDT;
    s->gdt.limit = sizeof(gdt) - 1;
    s->idt.base = 0;
    s->idt.limit = 0;
    for (unsigned i = 0; i < 6; i++)
        s->seg[i] = (struct x86_seg){.limit = UINT32_MAX, .sel = SEL_DATA, .attr = ATTR_DATA};
    s->seg[X86_CS].sel = SEL_CODE;
    s->seg[X86_CS].attr = (uint16_t)code_attr;
    s->rflags = 2; /* interrupts off */
    s->gpr[X86_RSP] = LOW_STACK;
}

void enter_protected(struct loader *l, struct x86_state *s, uint32_t entry)
{
    set_segments(l, s, ATTR_CODE32);
    s->cr0 = CR0_PE | CR0_ET;
    s->cr3 = s->cr4 = s->efer = 0;
    s->rip = entry;
}

void enter_long(struct loader *l, struct x86_state *s, uint64_t entry)
{
    const uint64_t rw = 3, large = 0x80;
    uint8_t page[PAGE_SIZE] = {0};

    set_segments(l, s, ATTR_CODE64);
    st_le64(page, (LOW_PAGES + PAGE_SIZE) | rw);
    loader_put(l, LOW_PAGES, page, sizeof(page));
    for (unsigned i = 0; i < 4; i++)
        st_le64(page + i * 8, (LOW_PAGES + (2 + i) * PAGE_SIZE) | rw);
    loader_put(l, LOW_PAGES + PAGE_SIZE, page, sizeof(page));
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned n = 0; n < 512; n++)
            st_le64(page + n * 8, (i * GIB + n * 2 * MIB) | rw | large);
        loader_put(l, LOW_PAGES + (2 + i) * PAGE_SIZE, page, sizeof(page));
    }
    s->cr0 = CR0_PE | CR0_ET | CR0_PG;
    s->cr3 = LOW_PAGES;
    s->cr4 = CR4_PAE;
    s->efer = EFER_LME | EFER_LMA;
    s->rip = entry;
}

/* ---- entry ---- */

static bool load(struct loader *l, struct x86_state *s, struct err *e)
{
    if (is_bzimage(&l->image))
        return load_bzimage(l, s, e);
    if (find_multiboot(&l->image) >= 0)
        return load_multiboot(l, s, e);
    if (is_elf(&l->image))
        return load_elf(l, s, e);
    err_set(e, ERR_INVALID, "the kernel is none of: Linux bzImage, Multiboot, PVH, ELF64 vmlinux");
    return err_hint(e, "boot it from a disk or CD image instead");
}

bool fw_boot_load(const struct fw_boot_cfg *cfg, struct x86_state *s, struct err *e)
{
    struct loader l = {.cfg = cfg, .strings = LOW_STRINGS};
    bool ok = false;

    if (!file_size(cfg->kernel, "the kernel", KERNEL_MAX, &l.image.len, e))
        return false;
    if (mem_low_size(cfg->mem) < 2 * MIB)
        return err_set(e, ERR_INVALID, "direct boot needs at least 2 MiB of guest memory");
    l.image.data = try_alloc(l.image.len + 1);
    if (!l.image.data)
        return err_set(e, ERR_NOMEM, "no memory for the kernel");
    ok = read_fully(cfg->kernel, "the kernel", l.image.data, l.image.len, e) && load(&l, s, e);
    x_free(l.image.data);
    return ok;
}
