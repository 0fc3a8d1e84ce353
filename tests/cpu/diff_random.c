/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random values: xoshiro256**, and distributions that meet the corners of integers and floats. */
#include <string.h>

#include "tests/cpu/diff.h"
#include "vmm/base/bits.h"

uint8_t diff_initial[DATA_SIZE];
static uint64_t s[4];

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t rnd(void)
{
    const uint64_t r = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return r;
}

void rnd_seed(uint64_t seed)
{
    for (unsigned n = 0; n < 4; n++) { /* splitmix64 */
        uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        s[n] = z ^ z >> 31;
    }
}

static uint64_t integer(void)
{
    static const uint64_t corner[] = {
        0, 1, 2, UINT64_MAX, UINT64_MAX - 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
        0x80000000, 0xffffffff, INT64_MAX, UINT64_C(1) << 63, 0x100, 0x10000, UINT64_C(1) << 32,
    };
    switch (rnd_below(6)) {
    case 0: return corner[rnd_below(ARRAY_LEN(corner))];
    case 1: return rnd_below(64);
    case 2: return rnd() >> rnd_below(64);
    case 3: return DATA_BASE + rnd_below(DATA_SIZE);
    default: return rnd();
    }
}

static uint32_t float32(void)
{
    const uint32_t sign = (uint32_t)rnd() & 0x80000000u;
    switch (rnd_below(10)) {
    case 0: return sign;                                             /* zero */
    case 1: return sign | 0x7f800000u;                               /* infinity */
    case 2: return sign | 0x7fc00000u | ((uint32_t)rnd() & 0x3fffff); /* quiet NaN */
    case 3: return sign | 0x7f800000u | ((uint32_t)rnd() & 0x3fffff) | 1;
    case 4: return sign | ((uint32_t)rnd() & 0x7fffff);              /* denormal */
    case 5: return sign | 0x7f000000u | ((uint32_t)rnd() & 0x7fffff); /* large */
    case 6: return sign | 0x00800000u | ((uint32_t)rnd() & 0x7fffff); /* small */
    case 7: return sign | 0x3f800000u;
    case 8: return sign | (0x3f800000u + (rnd_below(40) << 23)) | ((uint32_t)rnd() & 0x7fffff);
    default: return (uint32_t)rnd();
    }
}

static uint64_t float64(void)
{
    const uint64_t sign = rnd() & BIT64(63), m = rnd() >> 12;
    switch (rnd_below(10)) {
    case 0: return sign;
    case 1: return sign | UINT64_C(0x7ff) << 52;
    case 2: return sign | UINT64_C(0xfff) << 51 | m >> 1;
    case 3: return sign | UINT64_C(0x7ff) << 52 | m >> 1 | 1;
    case 4: return sign | m;
    case 5: return sign | UINT64_C(0x7fe) << 52 | m;
    case 6: return sign | UINT64_C(1) << 52 | m;
    case 7: return sign | UINT64_C(0x3ff) << 52;
    case 8: return sign | (uint64_t)(0x3ff + rnd_below(70)) << 52 | m;
    default: return rnd();
    }
}

static void float80(uint8_t *b)
{
    uint64_t m = rnd();
    unsigned e = rnd_below(0x8000), sign = (unsigned)rnd() & 0x8000;
    switch (rnd_below(10)) {
    case 0: m = 0, e = 0; break;
    case 1: m = BIT64(63), e = 0x7fff; break;                         /* infinity */
    case 2: m |= UINT64_C(3) << 62, e = 0x7fff; break;                /* quiet NaN */
    case 3: m = (m & ~BIT64(62)) | BIT64(63) | 1, e = 0x7fff; break;  /* signalling NaN */
    case 4: m &= ~BIT64(63), e = 0; break;                            /* denormal */
    case 5: e = rnd_below(3); break;                                  /* pseudo-denormal, unnormal */
    case 6: m |= BIT64(63), e = 0x7ffe; break;
    case 7: m = BIT64(63), e = 0x3fff + rnd_below(4); break;          /* small power of two */
    case 8: m |= BIT64(63), e = 0x3ff0 + rnd_below(90); break;        /* like an integer */
    default: m |= BIT64(63); break;
    }
    st_le64(b, m);
    st_le16(b + 8, (uint16_t)(e | sign));
}

static void vector(uint8_t *b, unsigned kind)
{
    for (unsigned n = 0; n < 32; n += 8)
        switch (kind) {
        case 0: st_le32(b + n, float32()), st_le32(b + n + 4, float32()); break;
        case 1: st_le64(b + n, float64()); break;
        case 2: st_le64(b + n, integer()); break;
        case 3: st_le64(b + n, (rnd() & UINT64_C(0x8080808080808080)) | (rnd() & UINT64_C(0x1f1f1f1f1f1f1f1f))); break;
        default: st_le64(b + n, rnd()); break;
        }
}

static void fpu(struct x86_fpu *f)
{
    const unsigned kind = rnd_below(6);
    memset(f, 0, 32);
    f->fcw = 0x37f;
    if (rnd_one_in(2))
        f->fcw = (uint16_t)(0x7f | (rnd() & 0xf00)) | 0x40;
    if (rnd_one_in(4))
        f->fcw &= (uint16_t)(0x1f40 | rnd());
    f->fcw = (f->fcw & 0x1f3fu) | 0x40;
    f->fsw = (uint16_t)(rnd() & 0x7f7f);
    if (!rnd_one_in(16))
        f->fsw &= (uint16_t)~(~f->fcw & 0x3fu); /* nothing pending */
    if (f->fsw & ~f->fcw & 0x3f)
        f->fsw |= 0x8080;
    f->ftw = rnd_one_in(3) ? (uint8_t)rnd() : 0xff;
    f->mxcsr = 0x1f80;
    if (rnd_one_in(2))
        f->mxcsr = (uint32_t)rnd() & 0xffff;
    else if (rnd_one_in(2))
        f->mxcsr |= (uint32_t)rnd() & 0xe07f;
    for (unsigned n = 0; n < 8; n++)
        float80(f->st[n]);
    for (unsigned n = 0; n < 16; n++)
        vector(f->ymm[n], kind);
}

void rnd_regs(struct diff_regs *r, bool code32)
{
    for (unsigned n = 0; n < 16; n++)
        r->gpr[n] = code32 ? (uint32_t)integer() : integer();
    r->gpr[X86_RSP] = DATA_BASE + 0x1000 + 8 * rnd_below(0x100) + (rnd_one_in(8) ? rnd_below(8) : 0);
    r->rflags = 0x202 | (rnd() & (X86_STATUS_FLAGS | (rnd_one_in(4) ? X86_DF : 0)));
    fpu(&r->fpu);
}

void rnd_window(void)
{
    for (unsigned n = 0; n < DATA_SIZE; n += 32) {
        if (rnd_one_in(8))
            for (unsigned k = 0; k < 32; k += 16)
                float80(diff_initial + n + k), st_le(diff_initial + n + k + 10, rnd(), 6);
        else
            vector(diff_initial + n, rnd_below(6));
    }
}
