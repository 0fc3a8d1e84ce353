/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unaligned access with named byte order, and the usual integer helpers. */
#ifndef VMDECK_BASE_BITS_H
#define VMDECK_BASE_BITS_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_LEN(a)          (sizeof(a) / sizeof((a)[0]))
#define BIT(n)                (1u << (n))
#define BIT64(n)              (UINT64_C(1) << (n))
#define MIN(a, b)             ((a) < (b) ? (a) : (b))
#define MAX(a, b)             ((a) > (b) ? (a) : (b))
#define ALIGN_UP(x, a)        (((x) + ((a)-1)) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a)      ((x) & ~((__typeof__(x))(a)-1))
#define container_of(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

#define BITS_ACCESS(n, conv_le, conv_be)                                                           \
    static inline uint##n##_t ld_le##n(const void *p)                                              \
    {                                                                                              \
        uint##n##_t v;                                                                             \
        memcpy(&v, p, sizeof(v));                                                                  \
        return conv_le##toh(v);                                                                    \
    }                                                                                              \
    static inline uint##n##_t ld_be##n(const void *p)                                              \
    {                                                                                              \
        uint##n##_t v;                                                                             \
        memcpy(&v, p, sizeof(v));                                                                  \
        return conv_be##toh(v);                                                                    \
    }                                                                                              \
    static inline void st_le##n(void *p, uint##n##_t v)                                            \
    {                                                                                              \
        v = hto##conv_le(v);                                                                       \
        memcpy(p, &v, sizeof(v));                                                                  \
    }                                                                                              \
    static inline void st_be##n(void *p, uint##n##_t v)                                            \
    {                                                                                              \
        v = hto##conv_be(v);                                                                       \
        memcpy(p, &v, sizeof(v));                                                                  \
    }
BITS_ACCESS(16, le16, be16)
BITS_ACCESS(32, le32, be32)
BITS_ACCESS(64, le64, be64)
#undef BITS_ACCESS

/* Little-endian value of 1 to 8 bytes. */
static inline uint64_t ld_le(const void *p, unsigned size)
{
    uint64_t v = 0;
    memcpy(&v, p, size);
    return le64toh(v);
}

static inline void st_le(void *p, uint64_t v, unsigned size)
{
    v = htole64(v);
    memcpy(p, &v, size);
}

/* All ones in the low size bytes (1 to 8). */
static inline uint64_t mask_bytes(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;
}

/* True when [a, a+alen) lies in [b, b+blen) without overflow. */
static inline bool range_within(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
    return a >= b && alen <= blen && a - b <= blen - alen;
}

#endif
