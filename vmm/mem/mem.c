/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flat view is an array of ranges sorted by GPA, rebuilt from the regions by painting them in
 * rising priority. A VM has some dozens of regions, so rebuilding costs microseconds; guests change
 * the map rarely (PAM, BARs). */
#include "vmm/mem/mem.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"

#ifdef __SANITIZE_THREAD__
/* of its run-time library, which has no header for it */
void AnnotateBenignRaceSized(const char *file, int line, const volatile void *mem, size_t size, const char *why);
#endif

#define LISTENERS_MAX 4
#define GPA_END       (UINT64_C(1) << GPA_BITS)
/* page indices of host regions follow those of guest RAM; room for 64 MiB of frame buffers and ROMs */
#define HOST_PAGES_MAX (64 * MIB / PAGE_SIZE)

struct mem_region {
    struct mem_region *next; /* in order of creation: the later wins among equals */
    const char *name;
    enum mem_kind kind;
    uint64_t gpa, size;
    int prio;
    bool enabled;
    const struct mmio_ops *ops;
    void *opaque;
    uint8_t *host;       /* RAM, ROM */
    uint64_t page_index; /* of host */
    bool log_on;
};

struct mem {
    int fd;
    uint8_t *ram;
    uint64_t size, low, high;
    struct mem_region *regions, *low_region, *high_region;
    pthread_rwlock_t view_lock; /* guards view, view_count */
    struct mem_range *view;
    size_t view_count;
    _Atomic uint64_t generation;
    unsigned depth;
    bool changed;
    uint8_t *flags;
    uint64_t pages, host_pages;
    struct {
        void (*fn)(void *);
        void *opaque;
    } listeners[LISTENERS_MAX];
    unsigned listener_count;
    void (*code_fn)(void *, uint64_t, unsigned, unsigned);
    void *code_opaque;
    void (*protect_fn)(void *);
    void *protect_opaque;
    void (*dirty_fn)(void *, struct mem_region *, uint64_t *);
    void *dirty_opaque;
};

static struct mem_region *add(struct mem *m, const struct mem_region *init)
{
    struct mem_region *r = X_NEW(struct mem_region), **p = &m->regions;

    *r = *init;
    r->enabled = true;
    while (*p)
        p = &(*p)->next;
    *p = r;
    mem_begin(m);
    m->changed = true;
    mem_commit(m);
    return r;
}

struct mem *mem_new(uint64_t size, struct err *e)
{
    struct mem *m = X_NEW(struct mem);

    pthread_rwlock_init(&m->view_lock, NULL);
    m->size = size;
    m->low = MIN(size, MEM_LOW_MAX);
    m->high = size - m->low;
    m->fd = fd_memfd("guest-ram", size, e);
    if (m->fd < 0)
        goto fail;
    m->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
    if (m->ram == MAP_FAILED) {
        m->ram = NULL;
        err_errno(e, errno, "cannot map %llu MiB of guest memory", (unsigned long long)(size / MIB));
        goto fail;
    }
    madvise(m->ram, size, MADV_DONTDUMP);
    madvise(m->ram, size, MADV_HUGEPAGE);
#ifdef __SANITIZE_THREAD__
    AnnotateBenignRaceSized(__FILE__, __LINE__, m->ram, size, "shared by vCPUs and devices; the guest orders accesses");
#endif
    m->pages = size / PAGE_SIZE;
    m->flags = try_alloc(m->pages + HOST_PAGES_MAX);
    if (!m->flags) {
        err_set(e, ERR_NOMEM, "cannot allocate the page table of guest memory");
        goto fail;
    }
    m->low_region = add(m, &(struct mem_region){.name = "ram", .kind = MEM_RAM, .size = m->low,
                                                .host = m->ram});
    if (m->high)
        m->high_region =
            add(m, &(struct mem_region){.name = "ram-high", .kind = MEM_RAM, .gpa = MEM_HIGH_GPA,
                                        .size = m->high, .host = m->ram + m->low,
                                        .page_index = m->low / PAGE_SIZE});
    return m;
fail:
    mem_free(m);
    return NULL;
}

void mem_free(struct mem *m)
{
    if (!m)
        return;
    while (m->regions) {
        struct mem_region *next = m->regions->next;
        x_free(m->regions);
        m->regions = next;
    }
    if (m->ram)
        munmap(m->ram, m->size);
    fd_close(&m->fd);
    x_free(m->flags);
    x_free(m->view);
    pthread_rwlock_destroy(&m->view_lock);
    x_free(m);
}

uint64_t mem_size(const struct mem *m)
{
    return m->size;
}

uint64_t mem_low_size(const struct mem *m)
{
    return m->low;
}

uint64_t mem_high_size(const struct mem *m)
{
    return m->high;
}

int mem_fd(const struct mem *m)
{
    return m->fd;
}

/* ---- regions ---- */

struct mem_region *mem_add_mmio(struct mem *m, const char *name, uint64_t gpa, uint64_t size,
                                int prio, const struct mmio_ops *ops, void *opaque)
{
    return add(m, &(struct mem_region){.name = name, .kind = MEM_MMIO, .gpa = gpa, .size = size,
                                       .prio = prio, .ops = ops, .opaque = opaque});
}

struct mem_region *mem_add_host(struct mem *m, const char *name, uint64_t gpa, uint64_t size,
                                int prio, void *host, bool readonly)
{
    uint64_t first = m->pages + m->host_pages;

    m->host_pages += size / PAGE_SIZE;
    if (m->host_pages > HOST_PAGES_MAX)
        return NULL;
    return add(m, &(struct mem_region){.name = name, .kind = readonly ? MEM_ROM : MEM_RAM,
                                       .gpa = gpa, .size = size, .prio = prio, .host = host,
                                       .page_index = first});
}

struct mem_region *mem_add_ram_alias(struct mem *m, const char *name, uint64_t gpa, uint64_t size,
                                     int prio, bool readonly)
{
    if (!range_within(gpa, size, 0, m->low))
        return NULL;
    return add(m, &(struct mem_region){.name = name, .kind = readonly ? MEM_ROM : MEM_RAM,
                                       .gpa = gpa, .size = size, .prio = prio,
                                       .host = m->ram + gpa, .page_index = gpa / PAGE_SIZE});
}

void mem_region_set(struct mem *m, struct mem_region *r, uint64_t gpa, bool enabled)
{
    if (r->enabled == enabled && (!enabled || r->gpa == gpa))
        return;
    mem_begin(m);
    r->gpa = gpa;
    r->enabled = enabled;
    m->changed = true;
    mem_commit(m);
}

/* ---- flat view ---- */

struct view {
    struct mem_range *r;
    size_t count, cap;
};

static void view_push(struct view *v, const struct mem_range *r)
{
    if (v->count == v->cap) {
        v->cap = v->cap ? v->cap * 2 : 32;
        v->r = x_realloc(v->r, v->cap * sizeof(v->r[0]));
    }
    v->r[v->count++] = *r;
}

/* The part [gpa, gpa+size) of a range that contains it. */
static struct mem_range slice(const struct mem_range *r, uint64_t gpa, uint64_t size)
{
    struct mem_range s = *r;
    uint64_t skip = gpa - r->gpa;

    s.gpa = gpa;
    s.size = size;
    s.offset += skip;
    s.page_index += skip / PAGE_SIZE;
    if (s.host)
        s.host += skip;
    return s;
}

static void paint(struct view *v, const struct mem_region *reg)
{
    struct view out = {0};
    uint64_t start = reg->gpa, end = reg->gpa + reg->size;
    struct mem_range mine = {.kind = reg->kind, .gpa = reg->gpa, .size = reg->size,
                             .host = reg->host, .page_index = reg->page_index,
                             .region = (struct mem_region *)(uintptr_t)reg, .ops = reg->ops,
                             .opaque = reg->opaque};
    bool placed = false;

    for (size_t i = 0; i < v->count; i++) {
        const struct mem_range *old = &v->r[i];
        uint64_t old_end = old->gpa + old->size;

        if (!placed && old->gpa >= end) {
            view_push(&out, &mine);
            placed = true;
        }
        if (old_end <= start || old->gpa >= end) {
            view_push(&out, old);
            continue;
        }
        if (old->gpa < start) {
            struct mem_range s = slice(old, old->gpa, start - old->gpa);
            view_push(&out, &s);
        }
        if (!placed) {
            view_push(&out, &mine);
            placed = true;
        }
        if (old_end > end) {
            struct mem_range s = slice(old, end, old_end - end);
            view_push(&out, &s);
        }
    }
    if (!placed)
        view_push(&out, &mine);
    x_free(v->r);
    *v = out;
}

static void rebuild(struct mem *m)
{
    struct view v = {0};
    struct mem_range *old;

    for (int prio = 0;; prio++) {
        bool more = false;
        for (struct mem_region *r = m->regions; r; r = r->next) {
            more |= r->prio > prio;
            if (r->enabled && r->prio == prio && r->size && r->gpa < GPA_END &&
                r->size <= GPA_END - r->gpa)
                paint(&v, r);
        }
        if (!more)
            break;
    }
    pthread_rwlock_wrlock(&m->view_lock);
    old = m->view;
    m->view = v.r;
    m->view_count = v.count;
    pthread_rwlock_unlock(&m->view_lock);
    x_free(old);
    m->generation++;
}

void mem_begin(struct mem *m)
{
    m->depth++;
}

void mem_commit(struct mem *m)
{
    if (--m->depth > 0 || !m->changed)
        return;
    m->changed = false;
    rebuild(m);
    for (unsigned i = 0; i < m->listener_count; i++)
        m->listeners[i].fn(m->listeners[i].opaque);
}

static void find_locked(struct mem *m, uint64_t gpa, struct mem_range *out)
{
    size_t lo = 0, hi = m->view_count;

    while (lo < hi) { /* first range that ends above gpa */
        size_t mid = (lo + hi) / 2;
        if (m->view[mid].gpa + m->view[mid].size > gpa)
            hi = mid;
        else
            lo = mid + 1;
    }
    if (lo < m->view_count && m->view[lo].gpa <= gpa) {
        *out = m->view[lo];
        return;
    }
    uint64_t start = lo ? m->view[lo - 1].gpa + m->view[lo - 1].size : 0;
    uint64_t end = lo < m->view_count ? m->view[lo].gpa : UINT64_MAX;
    *out = (struct mem_range){.kind = MEM_NONE, .gpa = start, .size = end - start};
}

void mem_find(struct mem *m, uint64_t gpa, struct mem_range *out)
{
    pthread_rwlock_rdlock(&m->view_lock);
    find_locked(m, gpa, out);
    pthread_rwlock_unlock(&m->view_lock);
}

void mem_each(struct mem *m, void (*fn)(void *, const struct mem_range *), void *opaque)
{
    pthread_rwlock_rdlock(&m->view_lock);
    for (size_t i = 0; i < m->view_count; i++)
        fn(opaque, &m->view[i]);
    pthread_rwlock_unlock(&m->view_lock);
}

uint64_t mem_generation(const struct mem *m)
{
    return m->generation;
}

void mem_listen(struct mem *m, void (*fn)(void *), void *opaque)
{
    if (m->listener_count == LISTENERS_MAX)
        return;
    m->listeners[m->listener_count].fn = fn;
    m->listeners[m->listener_count++].opaque = opaque;
}

void mem_unlisten(struct mem *m, void *opaque)
{
    for (unsigned i = 0; i < m->listener_count; i++)
        if (m->listeners[i].opaque == opaque) {
            m->listeners[i] = m->listeners[--m->listener_count];
            return;
        }
}

/* ---- DMA ---- */

/* Offset in the memfd of guest RAM [gpa, gpa+len), or UINT64_MAX. DMA sees RAM as the chipset's DMA
 * path does: PAM windows and VGA apertures do not hide it from devices, but a device's MMIO does. */
static uint64_t ram_offset(struct mem *m, uint64_t gpa, uint64_t len)
{
    if (range_within(gpa, len, 0, m->low))
        return gpa;
    if (range_within(gpa, len, MEM_HIGH_GPA, m->high))
        return gpa - MEM_HIGH_GPA + m->low;
    return UINT64_MAX;
}

bool mem_read(struct mem *m, uint64_t gpa, void *dst, uint64_t len)
{
    uint64_t off = ram_offset(m, gpa, len);

    if (off == UINT64_MAX)
        return false;
    memcpy(dst, m->ram + off, len);
    return true;
}

static void written(struct mem *m, uint64_t off, uint64_t len)
{
    /* the bytes must be visible before the flags are looked at: cpu/code.c sets a flag, then reads bytes */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    while (len > 0) {
        unsigned in = (unsigned)(off % PAGE_SIZE);
        unsigned n = (unsigned)MIN(PAGE_SIZE - in, len);
        if (__atomic_load_n(&m->flags[off / PAGE_SIZE], __ATOMIC_SEQ_CST))
            mem_page_written(m, off / PAGE_SIZE, in, n);
        off += n;
        len -= n;
    }
}

bool mem_write(struct mem *m, uint64_t gpa, const void *src, uint64_t len)
{
    uint64_t off = ram_offset(m, gpa, len);

    if (off == UINT64_MAX)
        return false;
    memcpy(m->ram + off, src, len);
    written(m, off, len);
    return true;
}

void *mem_host(struct mem *m, uint64_t gpa, uint64_t len)
{
    uint64_t off = ram_offset(m, gpa, len);

    return off == UINT64_MAX ? NULL : m->ram + off;
}

void mem_dirty(struct mem *m, uint64_t gpa, uint64_t len)
{
    uint64_t off = ram_offset(m, gpa, len);

    if (off != UINT64_MAX)
        written(m, off, len);
}

bool mem_write_rom(struct mem *m, uint64_t gpa, const void *src, uint64_t len)
{
    const uint8_t *p = src;

    while (len > 0) {
        struct mem_range r;
        mem_find(m, gpa, &r);
        if (!r.host)
            return false;
        uint64_t n = MIN(len, r.gpa + r.size - gpa);
        memcpy(r.host + (gpa - r.gpa), p, n);
        gpa += n;
        p += n;
        len -= n;
    }
    return true;
}

/* ---- page flags ---- */

uint8_t *mem_page_flags(struct mem *m)
{
    return m->flags;
}

uint64_t mem_page_count(struct mem *m)
{
    return m->pages + HOST_PAGES_MAX;
}

void mem_page_set(struct mem *m, uint64_t index, uint8_t flags)
{
    __atomic_fetch_or(&m->flags[index], flags, __ATOMIC_SEQ_CST);
}

void mem_page_clear(struct mem *m, uint64_t index, uint8_t flags)
{
    __atomic_fetch_and(&m->flags[index], (uint8_t)~flags, __ATOMIC_SEQ_CST);
}

void mem_page_written(struct mem *m, uint64_t index, unsigned offset, unsigned len)
{
    uint8_t f = __atomic_fetch_and(&m->flags[index], (uint8_t)~PAGE_CLEAN, __ATOMIC_SEQ_CST);

    if ((f & PAGE_HAS_CODE) && m->code_fn)
        m->code_fn(m->code_opaque, index, offset, len);
}

void mem_set_code_hook(struct mem *m, void (*fn)(void *, uint64_t, unsigned, unsigned), void *opaque)
{
    m->code_fn = fn;
    m->code_opaque = opaque;
}

void mem_set_protect_hook(struct mem *m, void (*fn)(void *), void *opaque)
{
    m->protect_fn = fn;
    m->protect_opaque = opaque;
}

void mem_region_dirty(struct mem *m, struct mem_region *r, uint64_t *bitmap)
{
    uint64_t pages = r->size / PAGE_SIZE;
    bool any = false;

    memset(bitmap, 0, (pages + 63) / 64 * sizeof(uint64_t));
    for (uint64_t i = 0; i < pages; i++) {
        uint8_t f = __atomic_fetch_or(&m->flags[r->page_index + i], PAGE_CLEAN, __ATOMIC_SEQ_CST);
        if (!(f & PAGE_CLEAN)) {
            bitmap[i / 64] |= BIT64(i % 64);
            any = true;
        }
    }
    r->log_on = true;
    if (any && m->protect_fn)
        m->protect_fn(m->protect_opaque);
    if (m->dirty_fn)
        m->dirty_fn(m->dirty_opaque, r, bitmap);
}

void mem_set_dirty_source(struct mem *m, void (*sync)(void *, struct mem_region *, uint64_t *),
                          void *opaque)
{
    m->dirty_fn = sync;
    m->dirty_opaque = opaque;
}
