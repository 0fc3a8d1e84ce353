/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Split virtqueues (VIRTIO 1.1 2.6). */
#include <string.h>

#include "vmm/dev/virtio/virtio.h"

#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

#define AVAIL_NO_INTERRUPT 1u
#define CHAIN_BYTES_MAX    (UINT64_C(1) << 32)

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

static struct mem *mem_of(const struct virtio *v)
{
    return v->dev->env->mem;
}

static bool read16(struct virtio *v, uint64_t gpa, uint16_t *out)
{
    uint8_t raw[2];

    if (!mem_read(mem_of(v), gpa, raw, 2)) {
        virtio_break(v, "ring outside of memory");
        return false;
    }
    *out = ld_le16(raw);
    return true;
}

static bool read_desc(struct virtio *v, uint64_t table, unsigned index, struct desc *d)
{
    uint8_t raw[16];

    if (!mem_read(mem_of(v), table + 16 * (uint64_t)index, raw, 16)) {
        virtio_break(v, "descriptor outside of memory");
        return false;
    }
    *d = (struct desc){ld_le64(raw), ld_le32(raw + 8), ld_le16(raw + 12), ld_le16(raw + 14)};
    return true;
}

static bool add_segment(struct virtio *v, struct virtio_chain *c, const struct desc *d)
{
    unsigned n = c->out_count + c->in_count;
    bool in = d->flags & DESC_WRITE;

    if (n == VIRTIO_QUEUE_SIZE) {
        virtio_break(v, "descriptor chain too long");
        return false;
    }
    if (!in && c->in_count) {
        virtio_break(v, "readable descriptor behind a writable one");
        return false;
    }
    if (d->len == 0) {
        virtio_break(v, "empty descriptor");
        return false;
    }
    void *host = mem_host(mem_of(v), d->addr, d->len);
    if (!host) {
        virtio_break(v, "buffer outside of memory");
        return false;
    }
    c->iov[n] = (struct iovec){host, d->len};
    c->gpa[n] = d->addr;
    if (in) {
        c->in_count++;
        c->in_len += d->len;
    } else {
        c->out_count++;
        c->out_len += d->len;
    }
    if (c->in_len + c->out_len >= CHAIN_BYTES_MAX) {
        virtio_break(v, "descriptor chain of more than 4 GiB");
        return false;
    }
    return true;
}

/* Follows a table of count descriptors from index; an indirect table is entered at most once. */
static bool walk(struct virtio *v, struct virtio_chain *c, uint64_t table, unsigned count,
                 unsigned index, bool indirect)
{
    for (unsigned steps = 0;; steps++) {
        struct desc d;

        if (index >= count || steps >= count) {
            virtio_break(v, "descriptor index out of range or loop");
            return false;
        }
        if (!read_desc(v, table, index, &d))
            return false;
        if (d.flags & DESC_INDIRECT) {
            if (indirect || !virtio_has_feature(v, VIRTIO_F_INDIRECT_DESC) || d.len == 0 ||
                d.len % 16 || d.len / 16 > 65535 || (d.flags & DESC_NEXT)) {
                virtio_break(v, "bad indirect descriptor");
                return false;
            }
            return walk(v, c, d.addr, d.len / 16, 0, true);
        }
        if (!add_segment(v, c, &d))
            return false;
        if (!(d.flags & DESC_NEXT))
            return true;
        index = d.next;
    }
}

bool virtio_pop(struct virtio *v, unsigned n, struct virtio_chain *c)
{
    struct virtio_queue_state *q = &v->s.q[n];
    uint16_t avail, head;

    if (!virtio_running(v) || !q->enabled || !read16(v, q->avail + 2, &avail))
        return false;
    uint16_t pending = (uint16_t)(avail - q->last_avail);
    if (pending == 0) {
        /* tell the driver to ring again, then look once more: it may have added meanwhile */
        if (virtio_has_feature(v, VIRTIO_F_EVENT_IDX)) {
            uint8_t raw[2];
            st_le16(raw, q->last_avail);
            if (!mem_write(mem_of(v), q->used + 4 + 8 * (uint64_t)q->size, raw, 2)) {
                virtio_break(v, "ring outside of memory");
                return false;
            }
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
            if (!read16(v, q->avail + 2, &avail) || avail == q->last_avail)
                return false;
        } else {
            return false;
        }
        pending = (uint16_t)(avail - q->last_avail);
    }
    if (pending > q->size) {
        virtio_break(v, "avail index ran ahead of the ring");
        return false;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (!read16(v, q->avail + 4 + 2 * (uint64_t)(q->last_avail % q->size), &head))
        return false;
    c->head = head;
    c->out_count = c->in_count = 0;
    c->out_len = c->in_len = 0;
    if (!walk(v, c, q->desc, q->size, head, false))
        return false;
    q->last_avail++;
    return true;
}

void virtio_unpop(struct virtio *v, unsigned n)
{
    v->s.q[n].last_avail--;
}

static void mark_dirty(struct virtio *v, const struct virtio_chain *c, uint64_t written)
{
    for (unsigned i = 0; i < c->in_count && written > 0; i++) {
        unsigned k = c->out_count + i;
        uint64_t n = MIN(written, (uint64_t)c->iov[k].iov_len);
        mem_dirty(mem_of(v), c->gpa[k], n);
        written -= n;
    }
}

void virtio_fill(struct virtio *v, unsigned n, const struct virtio_chain *c, uint64_t written,
                 unsigned index)
{
    struct virtio_queue_state *q = &v->s.q[n];
    uint16_t at = (uint16_t)(q->used_idx + index);
    uint8_t elem[8];

    mark_dirty(v, c, written);
    if (!virtio_running(v) || !q->enabled)
        return;
    st_le32(elem, c->head);
    st_le32(elem + 4, (uint32_t)written);
    if (!mem_write(mem_of(v), q->used + 4 + 8 * (uint64_t)(at % q->size), elem, 8))
        virtio_break(v, "ring outside of memory");
}

void virtio_show(struct virtio *v, unsigned n, unsigned count)
{
    struct virtio_queue_state *q = &v->s.q[n];
    uint8_t idx[2];

    if (!virtio_running(v) || !q->enabled)
        return;
    st_le16(idx, (uint16_t)(q->used_idx + count));
    __atomic_thread_fence(__ATOMIC_RELEASE);
    if (!mem_write(mem_of(v), q->used + 2, idx, 2)) {
        virtio_break(v, "ring outside of memory");
        return;
    }
    q->used_idx = (uint16_t)(q->used_idx + count);
}

void virtio_push(struct virtio *v, unsigned n, const struct virtio_chain *c, uint64_t written)
{
    virtio_fill(v, n, c, written, 0);
    virtio_show(v, n, 1);
}

void virtio_signal(struct virtio *v, unsigned n)
{
    struct virtio_queue_state *q = &v->s.q[n];
    uint16_t flags, event;

    if (!virtio_running(v) || !q->enabled)
        return;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (virtio_has_feature(v, VIRTIO_F_EVENT_IDX)) {
        uint16_t old = q->signalled, now = q->used_idx;
        bool valid = q->signalled_valid;

        if (!read16(v, q->avail + 4 + 2 * (uint64_t)q->size, &event))
            return;
        q->signalled = now;
        q->signalled_valid = true;
        if (valid && (uint16_t)(now - event - 1) >= (uint16_t)(now - old))
            return;
    } else {
        if (!read16(v, q->avail, &flags) || (flags & AVAIL_NO_INTERRUPT))
            return;
    }
    virtio_interrupt(v, q->vector, 1);
}

static size_t copy(const struct iovec *iov, unsigned count, size_t offset, char *buf, size_t len,
                   bool to_iov)
{
    size_t done = 0;

    for (unsigned i = 0; i < count && done < len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t n = MIN(iov[i].iov_len - offset, len - done);
        char *p = (char *)iov[i].iov_base + offset;
        if (to_iov)
            memcpy(p, buf + done, n);
        else
            memcpy(buf + done, p, n);
        done += n;
        offset = 0;
    }
    return done;
}

size_t virtio_read_out(const struct virtio_chain *c, size_t offset, void *dst, size_t len)
{
    return copy(c->iov, c->out_count, offset, dst, len, false);
}

size_t virtio_write_in(const struct virtio_chain *c, size_t offset, const void *src, size_t len)
{
    return copy(c->iov + c->out_count, c->in_count, offset, (char *)(uintptr_t)src, len, true);
}
