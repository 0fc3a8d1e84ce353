/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory slots follow the flat view of struct mem; the kernel's dirty log of frame buffers is
 * merged into mem_region_dirty. A change of the map deletes the slots that are gone and adds the
 * new ones; the others stay, because changing a slot is slow. */
#include <errno.h>
#include <string.h>

#include "vmm/accel/kvm_priv.h"
#include "vmm/base/alloc.h"
#include "vmm/base/log.h"

struct slot_list {
    struct kvm *k;
    struct kvm_slot *slots;
    unsigned count, cap;
};

static bool is_logged(const struct kvm *k, const struct mem_region *r)
{
    for (unsigned i = 0; i < k->logged_count; i++)
        if (k->logged[i] == r)
            return true;
    return false;
}

static void want_range(void *opaque, const struct mem_range *r)
{
    struct slot_list *l = opaque;

    if (!r->host)
        return;
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        l->slots = x_realloc(l->slots, l->cap * sizeof(l->slots[0]));
    }
    l->slots[l->count++] = (struct kvm_slot){.gpa = r->gpa,
                                             .size = r->size,
                                             .host = r->host,
                                             .readonly = r->kind == MEM_ROM,
                                             .region = r->region,
                                             .logged = is_logged(l->k, r->region),
                                             .offset = r->offset};
}

static bool same(const struct kvm_slot *a, const struct kvm_slot *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->host == b->host &&
           a->readonly == b->readonly && a->region == b->region;
}

static bool put_slot(struct kvm *k, const struct kvm_slot *s, bool remove)
{
    struct kvm_userspace_memory_region m = {.slot = s->id,
                                            .guest_phys_addr = s->gpa,
                                            .memory_size = remove ? 0 : s->size,
                                            .userspace_addr = (uintptr_t)s->host};

    if (s->readonly)
        m.flags |= KVM_MEM_READONLY;
    if (s->logged)
        m.flags |= KVM_MEM_LOG_DIRTY_PAGES;
    if (kvm_ioctl(k->vm_fd, KVM_SET_USER_MEMORY_REGION, &m) < 0) {
        log_error("kvm", "cannot %s memory slot at 0x%llx: %s", remove ? "remove" : "set",
                  (unsigned long long)s->gpa, strerror(errno));
        return false;
    }
    return true;
}

static const struct kvm_slot *find_same(const struct kvm_slot *list, unsigned n,
                                        const struct kvm_slot *s)
{
    for (unsigned i = 0; i < n; i++)
        if (same(&list[i], s))
            return &list[i];
    return NULL;
}

static bool id_used(const struct kvm_slot *list, unsigned n, uint32_t id)
{
    for (unsigned i = 0; i < n; i++)
        if (list[i].id == id)
            return true;
    return false;
}

static uint32_t free_id(const struct kvm *k, const struct kvm_slot *a, unsigned na)
{
    uint32_t id = 1;

    while (id_used(k->slots, k->slot_count, id) || id_used(a, na, id))
        id++;
    return id;
}

void kvm_mem_changed(void *opaque)
{
    struct kvm *k = opaque;
    struct slot_list want = {.k = k};

    mem_each(bus_mem(k->bus), want_range, &want);
    for (unsigned i = 0; i < k->slot_count; i++)
        if (!find_same(want.slots, want.count, &k->slots[i]))
            put_slot(k, &k->slots[i], true);
    for (unsigned i = 0; i < want.count; i++) {
        const struct kvm_slot *old = find_same(k->slots, k->slot_count, &want.slots[i]);

        if (old) {
            want.slots[i] = *old;
            continue;
        }
        want.slots[i].id = free_id(k, want.slots, i);
        put_slot(k, &want.slots[i], false);
    }
    x_free(k->slots);
    k->slots = want.slots;
    k->slot_count = want.count;
}

static void sync_dirty(void *opaque, struct mem_region *r, uint64_t *bitmap)
{
    struct kvm *k = opaque;

    if (!is_logged(k, r)) {
        if (k->logged_count == KVM_LOGGED_MAX)
            return;
        k->logged[k->logged_count++] = r;
        for (unsigned i = 0; i < k->slot_count; i++)
            if (k->slots[i].region == r) {
                k->slots[i].logged = true;
                put_slot(k, &k->slots[i], false);
            }
        return; /* the first call reports everything anyway */
    }
    for (unsigned i = 0; i < k->slot_count; i++) {
        struct kvm_slot *s = &k->slots[i];
        uint64_t pages = s->size / PAGE_SIZE, first = s->offset / PAGE_SIZE;

        if (s->region != r || s->readonly)
            continue;
        uint64_t *bits = x_calloc((pages + 63) / 64, sizeof(uint64_t));
        struct kvm_dirty_log log = {.slot = s->id, .dirty_bitmap = bits};
        if (kvm_ioctl(k->vm_fd, KVM_GET_DIRTY_LOG, &log) == 0)
            for (uint64_t p = 0; p < pages; p++)
                if (bits[p / 64] & BIT64(p % 64))
                    bitmap[(first + p) / 64] |= BIT64((first + p) % 64);
        x_free(bits);
    }
}

bool kvm_mem_init(struct kvm *k, struct err *e)
{
    (void)e;
    mem_listen(bus_mem(k->bus), kvm_mem_changed, k);
    mem_set_dirty_source(bus_mem(k->bus), sync_dirty, k);
    kvm_mem_changed(k);
    return true;
}
