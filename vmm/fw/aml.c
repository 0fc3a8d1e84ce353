/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/aml.h"

#include <string.h>

#include "vmm/base/bits.h"

void aml_byte(struct buf *b, unsigned v)
{
    uint8_t byte = (uint8_t)v;

    buf_add(b, &byte, 1);
}

static void le_bytes(struct buf *b, uint64_t v, unsigned size)
{
    uint8_t bytes[8];

    st_le(bytes, v, size);
    buf_add(b, bytes, size);
}

void aml_int(struct buf *b, uint64_t v)
{
    if (v <= 1) {
        aml_byte(b, (unsigned)v); /* ZeroOp, OneOp */
        return;
    }
    unsigned size = v <= 0xff ? 1 : v <= 0xffff ? 2 : v <= UINT32_MAX ? 4 : 8;
    static const uint8_t prefix[] = {[1] = 0x0a, [2] = 0x0b, [4] = 0x0c, [8] = 0x0e};
    aml_byte(b, prefix[size]);
    le_bytes(b, v, size);
}

void aml_string(struct buf *b, const char *s)
{
    aml_byte(b, 0x0d);
    buf_add(b, s, strlen(s) + 1);
}

static void name_seg(struct buf *b, const char *s, size_t len)
{
    for (size_t i = 0; i < 4; i++)
        aml_byte(b, i < len ? (unsigned char)s[i] : '_');
}

void aml_path(struct buf *b, const char *path)
{
    unsigned segments = *path && path[strspn(path, "\\^")] ? 1 : 0;

    for (; *path == '\\' || *path == '^'; path++)
        aml_byte(b, (unsigned char)*path);
    for (const char *p = path; *p; p++)
        segments += *p == '.';
    if (segments == 0) {
        aml_byte(b, 0);
    } else if (segments == 2) {
        aml_byte(b, 0x2e);
    } else if (segments > 2) {
        aml_byte(b, 0x2f);
        aml_byte(b, segments);
    }
    while (*path) {
        size_t len = strcspn(path, ".");
        name_seg(b, path, len);
        path += len + (path[len] == '.');
    }
}

static unsigned hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

void aml_eisa(struct buf *b, const char *id)
{
    unsigned c1 = id[0] & 31u, c2 = id[1] & 31u, c3 = id[2] & 31u;

    aml_byte(b, 0x0c);
    aml_byte(b, c1 << 2 | c2 >> 3);
    aml_byte(b, (c2 & 7) << 5 | c3);
    aml_byte(b, hex(id[3]) << 4 | hex(id[4]));
    aml_byte(b, hex(id[5]) << 4 | hex(id[6]));
}

/* ---- scopes ---- */

static void insert(struct buf *b, size_t at, const uint8_t *p, size_t n)
{
    size_t tail = b->len - at;

    buf_add(b, p, n); /* makes room */
    memmove(b->data + at + n, b->data + at, tail);
    memcpy(b->data + at, p, n);
}

void aml_close(struct buf *b, size_t at)
{
    size_t len = b->len - at;
    uint8_t enc[4];
    unsigned n = len + 1 < 0x40 ? 1 : len + 2 < 0x1000 ? 2 : len + 3 < 0x100000 ? 3 : 4;

    len += n; /* the length counts itself */
    if (n == 1) {
        enc[0] = (uint8_t)len;
    } else {
        enc[0] = (uint8_t)((n - 1) << 6 | (len & 15));
        for (unsigned i = 1; i < n; i++)
            enc[i] = (uint8_t)(len >> (4 + 8 * (i - 1)));
    }
    insert(b, at, enc, n);
}

static void ext_op(struct buf *b, unsigned op)
{
    aml_byte(b, 0x5b);
    aml_byte(b, op);
}

size_t aml_scope(struct buf *b, const char *path)
{
    aml_byte(b, 0x10);
    size_t at = b->len;
    aml_path(b, path);
    return at;
}

size_t aml_device(struct buf *b, const char *name)
{
    ext_op(b, 0x82);
    size_t at = b->len;
    aml_path(b, name);
    return at;
}

size_t aml_method(struct buf *b, const char *name, unsigned flags)
{
    aml_byte(b, 0x14);
    size_t at = b->len;
    aml_path(b, name);
    aml_byte(b, flags);
    return at;
}

size_t aml_package(struct buf *b, unsigned elements)
{
    aml_byte(b, 0x12);
    size_t at = b->len;
    aml_byte(b, elements);
    return at;
}

size_t aml_if(struct buf *b)
{
    aml_byte(b, 0xa0);
    return b->len;
}

size_t aml_field(struct buf *b, const char *region)
{
    ext_op(b, 0x81);
    size_t at = b->len;
    aml_path(b, region);
    aml_byte(b, 1); /* byte access, no lock, preserve */
    return at;
}

void aml_field_unit(struct buf *b, const char *name, unsigned bits)
{
    name_seg(b, name, strlen(name));
    aml_byte(b, bits); /* below 64 */
}

void aml_name(struct buf *b, const char *name)
{
    aml_byte(b, 0x08);
    aml_path(b, name);
}

void aml_name_int(struct buf *b, const char *name, uint64_t v)
{
    aml_name(b, name);
    aml_int(b, v);
}

void aml_name_eisa(struct buf *b, const char *name, const char *id)
{
    aml_name(b, name);
    aml_eisa(b, id);
}

void aml_region(struct buf *b, const char *name, unsigned space, unsigned offset, unsigned len)
{
    ext_op(b, 0x80);
    aml_path(b, name);
    aml_byte(b, space);
    aml_int(b, offset);
    aml_int(b, len);
}

void aml_return(struct buf *b)
{
    aml_byte(b, 0xa4);
}

/* ---- resources (ACPI 6.4 ch. 6.4) ---- */

void aml_res_io(struct aml_template *t, unsigned base, unsigned len)
{
    aml_byte(&t->bytes, 0x47);
    aml_byte(&t->bytes, 1); /* 16-bit decode */
    le_bytes(&t->bytes, base, 2);
    le_bytes(&t->bytes, base, 2);
    aml_byte(&t->bytes, 1);
    aml_byte(&t->bytes, len);
}

void aml_res_irq(struct aml_template *t, unsigned irq)
{
    aml_byte(&t->bytes, 0x22);
    le_bytes(&t->bytes, 1u << irq, 2);
}

void aml_res_memory(struct aml_template *t, uint32_t base, uint32_t len)
{
    aml_byte(&t->bytes, 0x86);
    le_bytes(&t->bytes, 9, 2);
    aml_byte(&t->bytes, 1); /* writable */
    le_bytes(&t->bytes, base, 4);
    le_bytes(&t->bytes, len, 4);
}

void aml_res_interrupts(struct aml_template *t, const uint8_t *irqs, unsigned count)
{
    aml_byte(&t->bytes, 0x89);
    le_bytes(&t->bytes, 2 + 4 * count, 2);
    aml_byte(&t->bytes, 0x09); /* consumer, level, active high, shared */
    aml_byte(&t->bytes, count);
    for (unsigned i = 0; i < count; i++)
        le_bytes(&t->bytes, irqs[i], 4);
}

/* Address space descriptor; flags 0Ch: both ends fixed, decoded by this bridge. */
static void window(struct aml_template *t, unsigned type, unsigned type_flags, unsigned size,
                   uint64_t first, uint64_t last)
{
    aml_byte(&t->bytes, size == 2 ? 0x88 : 0x87);
    le_bytes(&t->bytes, 3 + 5 * size, 2);
    aml_byte(&t->bytes, type);
    aml_byte(&t->bytes, 0x0c);
    aml_byte(&t->bytes, type_flags);
    le_bytes(&t->bytes, 0, size);
    le_bytes(&t->bytes, first, size);
    le_bytes(&t->bytes, last, size);
    le_bytes(&t->bytes, 0, size);
    le_bytes(&t->bytes, last - first + 1, size);
}

void aml_res_bus_numbers(struct aml_template *t, unsigned first, unsigned last)
{
    window(t, 2, 0, 2, first, last);
}

void aml_res_io_window(struct aml_template *t, unsigned first, unsigned last)
{
    window(t, 1, 3, 2, first, last);
}

void aml_res_memory_window(struct aml_template *t, uint32_t first, uint32_t last, int cacheable)
{
    window(t, 0, cacheable ? 3 : 1, 4, first, last);
}

void aml_template(struct buf *b, struct aml_template *t)
{
    aml_byte(&t->bytes, 0x79); /* end tag without checksum */
    aml_byte(&t->bytes, 0);
    aml_byte(b, 0x11);
    size_t at = b->len;
    aml_int(b, t->bytes.len);
    buf_add(b, t->bytes.data, t->bytes.len);
    aml_close(b, at);
    buf_free(&t->bytes);
}
