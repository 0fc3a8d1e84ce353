/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Templates: every encoding of the instructions that are tested, enumerated once by decoding. What a
 * template leaves open (registers, addressing, immediates, odd prefixes) is random. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/cpu/diff_gen.h"
#include "vmm/base/bits.h"

/* Parts of a template that may be chosen. */
#define FREE_REG  1u
#define FREE_RM   2u
#define FREE_VVVV 4u
#define HAS_MODRM 8u
#define MEMORY    16u
#define VSIB      32u
#define LOCKABLE  64u

struct template {
    uint16_t mnemonic;
    uint8_t code32, vex;
    uint8_t prefix;      /* 0, 66, F2, F3 */
    uint8_t map;         /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
    uint8_t w, l;        /* REX.W or VEX.W, VEX.L */
    uint8_t opcode, modrm;
    uint8_t flags;
    uint8_t group;       /* index of groups */
};

#define TEMPLATES_MAX 65536u
static struct template templates[TEMPLATES_MAX];
static unsigned template_count;
/* Templates are sorted by mnemonic; first template of each mnemonic that occurs. */
static unsigned first[ZYDIS_MNEMONIC_MAX_VALUE + 2], first_count;
static ZydisDecoder decoder[2];

/* ---- what is tested ---- */

static const char *const groups[] = {"integer", "x87", "mmx", "sse", "avx", "xsave"};

static const char *group_of(const ZydisDecodedInstruction *z)
{
    switch (z->meta.isa_set) {
    case ZYDIS_ISA_SET_I86:
    case ZYDIS_ISA_SET_I186:
    case ZYDIS_ISA_SET_I386:
    case ZYDIS_ISA_SET_I486:
    case ZYDIS_ISA_SET_I486REAL:
    case ZYDIS_ISA_SET_PENTIUMREAL:
    case ZYDIS_ISA_SET_PPRO:
        return z->meta.isa_ext == ZYDIS_ISA_EXT_X87 ? "x87" : "integer";
    case ZYDIS_ISA_SET_ADOX_ADCX:
    case ZYDIS_ISA_SET_BMI1:
    case ZYDIS_ISA_SET_BMI2:
    case ZYDIS_ISA_SET_CMOV:
    case ZYDIS_ISA_SET_CMPXCHG16B:
    case ZYDIS_ISA_SET_FAT_NOP:
    case ZYDIS_ISA_SET_LAHF:
    case ZYDIS_ISA_SET_LONGMODE:
    case ZYDIS_ISA_SET_LZCNT:
    case ZYDIS_ISA_SET_MOVBE:
    case ZYDIS_ISA_SET_POPCNT:
    case ZYDIS_ISA_SET_PREFETCH_NOP:
    case ZYDIS_ISA_SET_SSE_PREFETCH:
    case ZYDIS_ISA_SET_PAUSE:
    case ZYDIS_ISA_SET_CLFSH:
    case ZYDIS_ISA_SET_CLFLUSHOPT:
    case ZYDIS_ISA_SET_CLWB:
        return "integer";
    case ZYDIS_ISA_SET_X87:
    case ZYDIS_ISA_SET_FCMOV:
    case ZYDIS_ISA_SET_SSE3X87:
        return "x87";
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_SSSE3MMX:
        return "mmx";
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSEMXCSR:
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSE4:
    case ZYDIS_ISA_SET_SSE42:
    case ZYDIS_ISA_SET_AES:
    case ZYDIS_ISA_SET_PCLMULQDQ:
    case ZYDIS_ISA_SET_SHA:
        return "sse";
    case ZYDIS_ISA_SET_GFNI:
        return __builtin_cpu_supports("gfni") ? "sse" : NULL;
    case ZYDIS_ISA_SET_AVX:
    case ZYDIS_ISA_SET_AVX2:
    case ZYDIS_ISA_SET_AVX2GATHER:
    case ZYDIS_ISA_SET_AVXAES:
    case ZYDIS_ISA_SET_F16C:
    case ZYDIS_ISA_SET_FMA:
        return "avx";
    case ZYDIS_ISA_SET_AVX_GFNI:
        return __builtin_cpu_supports("gfni") ? "avx" : NULL;
    case ZYDIS_ISA_SET_VAES:
    case ZYDIS_ISA_SET_VPCLMULQDQ:
        return __builtin_cpu_supports("vpclmulqdq") ? "avx" : NULL;
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64:
    case ZYDIS_ISA_SET_XSAVE:
    case ZYDIS_ISA_SET_XSAVEC:
    case ZYDIS_ISA_SET_XSAVEOPT:
        return "xsave";
    default:
        return NULL;
    }
}

/* Depends on the machine rather than the instruction, or would end the test. */
static bool excluded(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    if (z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return true;
    for (unsigned n = 0; n < z->operand_count; n++) /* loads of segment registers */
        if (ops[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(ops[n].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
            (ops[n].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            return true;
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_XGETBV:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RSM:
    case ZYDIS_MNEMONIC_MONITOR:
    case ZYDIS_MNEMONIC_MWAIT:
    case ZYDIS_MNEMONIC_XRSTORS:
    case ZYDIS_MNEMONIC_XSAVES:
        return true;
    default:
        return false;
    }
}

bool template_wanted(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    return group_of(z) && !excluded(z, ops);
}

static bool wanted(const char *only, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    const char *group = group_of(z);
    if (!group || excluded(z, ops))
        return false;
    return !only || !strcmp(only, group) || !strcasecmp(only, ZydisMnemonicGetString(z->mnemonic));
}

/* ---- templates ---- */

/* Bytes of a template with the choices in reg, rm, x, vvvv (0 to 15). */
struct choice {
    unsigned reg, rm, index, vvvv;
};

static unsigned put_opcode(const struct template *t, const struct choice *k, uint8_t *b)
{
    unsigned n = 0;
    if (t->vex) {
        b[n++] = 0xc4;
        b[n++] = (uint8_t)((k->reg & 8 ? 0 : 0x80) | (k->index & 8 ? 0 : 0x40) |
                           (k->rm & 8 ? 0 : 0x20) | t->map);
        b[n++] = (uint8_t)(t->w << 7 | (~k->vvvv & 15) << 3 | t->l << 2 |
                           (t->prefix == 0x66 ? 1 : t->prefix == 0xf3 ? 2 : t->prefix == 0xf2 ? 3 : 0));
    } else {
        if (t->prefix)
            b[n++] = t->prefix;
        const unsigned rex = t->w << 3 | (k->reg & 8) >> 1 | (k->index & 8) >> 2 | (k->rm & 8) >> 3;
        if (!t->code32 && (rex || rnd_one_in(8)))
            b[n++] = (uint8_t)(0x40 | rex);
        if (t->map)
            b[n++] = 0x0f;
        if (t->map == 2)
            b[n++] = 0x38;
        if (t->map == 3)
            b[n++] = 0x3a;
    }
    b[n++] = t->opcode;
    return n;
}

bool diff_decode(bool code32, const uint8_t *b, unsigned len, ZydisDecodedInstruction *z,
                   ZydisDecodedOperand *ops)
{
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder[code32], b, len, z, ops)))
        return false;
    /* Zydis 4.0: a base register where there is only a displacement, with REX.B and 32-bit addresses */
    if (z->address_width != 16 && z->raw.modrm.mod == 0 && z->raw.modrm.rm == 4 && z->raw.sib.base == 5)
        for (unsigned n = 0; n < z->operand_count_visible; n++)
            if (ops[n].type == ZYDIS_OPERAND_TYPE_MEMORY) {
                ops[n].mem.base = ZYDIS_REGISTER_NONE;
                ops[n].mem.disp.value = z->raw.disp.value;
            }
    return true;
}

static uint8_t free_parts(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    uint8_t flags = 0;
    if (z->attributes & ZYDIS_ATTRIB_HAS_MODRM)
        flags |= HAS_MODRM;
    for (unsigned n = 0; n < z->operand_count; n++) {
        if (ops[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
            flags |= FREE_REG;
        if (ops[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
            flags |= FREE_RM;
        if (ops[n].encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
            flags |= FREE_VVVV;
        if (ops[n].type == ZYDIS_OPERAND_TYPE_MEMORY && (flags & HAS_MODRM)) {
            flags |= ops[n].mem.type == ZYDIS_MEMOP_TYPE_VSIB ? VSIB : 0;
            if (ops[n].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
                flags |= LOCKABLE;
        }
    }
    if (z->raw.modrm.mod != 3 && (flags & HAS_MODRM))
        flags |= MEMORY;
    return flags;
}

/* Adds the template when it decodes to something wanted; reg and rm are in its modrm. */
static void consider(struct template *t, const char *only)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    uint8_t b[24] = {0};
    struct choice k = {.reg = t->modrm >> 3 & 7, .rm = t->modrm & 7};

    if (t->vex && t->map == 2 && t->opcode >= 0x90 && t->opcode <= 0x93) {
        t->modrm = 4; /* gathers: three different registers */
        k.rm = 4, k.vvvv = 2;
    }
    unsigned n = put_opcode(t, &k, b);
    b[n] = t->modrm;
    b[n + 1] = 0x08; /* SIB: index 1 */
    if (!diff_decode(t->code32, b, sizeof(b) < 15 ? sizeof(b) : 15, &z, ops) || !wanted(only, &z, ops))
        return;
    if (t->w && !(z.attributes & ZYDIS_ATTRIB_HAS_REX) && !t->vex)
        return;
    t->mnemonic = (uint16_t)z.mnemonic;
    t->flags = free_parts(&z, ops);
    t->group = 0;
    while (strcmp(groups[t->group], group_of(&z)))
        t->group++;
    if ((t->flags & FREE_REG) && k.reg)
        return;
    if (!(t->flags & HAS_MODRM) && t->modrm)
        return;
    if ((t->flags & FREE_RM) && (t->modrm >> 6) == 3 && k.rm)
        return;
    if (template_count < TEMPLATES_MAX)
        templates[template_count++] = *t;
}

static bool is_prefix(uint8_t b, bool code32)
{
    static const uint8_t prefixes[] = {0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66,
                                       0x67, 0xc4, 0xc5, 0xf0, 0xf2, 0xf3, 0x62};
    return memchr(prefixes, b, sizeof(prefixes)) || (!code32 && (b & 0xf0) == 0x40);
}

static void enumerate_modrm(struct template *t, const char *only)
{
    const bool all_rm = (t->map == 0 && (t->opcode & 0xf8) == 0xd8) ||
                        (t->map == 1 && (t->opcode == 0x01 || t->opcode == 0xae || t->opcode == 0x1e));
    for (unsigned reg = 0; reg < 8; reg++) {
        t->modrm = (uint8_t)(reg << 3); /* [rax] */
        consider(t, only);
        for (unsigned rm = 0; rm < (all_rm ? 8 : 1); rm++) {
            t->modrm = (uint8_t)(0xc0 | reg << 3 | rm);
            consider(t, only);
        }
    }
}

static void enumerate(const char *only)
{
    static const uint8_t prefixes[] = {0, 0x66, 0xf2, 0xf3};
    for (unsigned code32 = 0; code32 < 2; code32++)
        for (unsigned pw = 0; pw < 8; pw++) {
            struct template t = {.code32 = (uint8_t)code32, .prefix = prefixes[pw & 3], .w = pw >> 2};
            for (unsigned op = 0; op < 256 * 4; op++) {
                t.vex = 0;
                t.l = 0;
                t.map = (uint8_t)(op >> 8);
                t.opcode = (uint8_t)op;
                if ((t.map || !is_prefix(t.opcode, code32)) && !(code32 && t.w))
                    enumerate_modrm(&t, only);
                t.vex = 1;
                for (t.l = 0; t.map && t.l < 2; t.l++)
                    enumerate_modrm(&t, only);
            }
        }
}

static int by_mnemonic(const void *a, const void *b)
{
    const struct template *x = a, *y = b;
    return x->mnemonic != y->mnemonic ? x->mnemonic - y->mnemonic : memcmp(x, y, sizeof(*x));
}

bool template_init(const char *only)
{
    ZydisDecoderInit(&decoder[0], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecoderInit(&decoder[1], ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
    for (unsigned n = 0; n < 2; n++) { /* NOPs without their features */
        ZydisDecoderEnableMode(&decoder[n], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoder[n], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
    }
    rnd_seed(0);
    enumerate(only);
    qsort(templates, template_count, sizeof(templates[0]), by_mnemonic);
    for (unsigned n = 0; n < template_count; n++)
        if (!n || templates[n].mnemonic != templates[n - 1].mnemonic)
            first[first_count++] = n;
    first[first_count] = template_count;
    return template_count > 0;
}

unsigned gen_template_count(void)
{
    return template_count;
}

/* ---- an instruction ---- */

static unsigned put_random(uint8_t *b, unsigned n, unsigned count)
{
    for (unsigned k = 0; k < count; k++)
        b[n++] = (uint8_t)rnd();
    return n;
}

/* base: of the memory operand, or -1: any. */
static unsigned put_modrm(const struct template *t, struct choice *k, int base, uint8_t *b, unsigned n)
{
    const unsigned reg = (k->reg & 7) << 3;
    if (!(t->flags & HAS_MODRM))
        return n;
    if (!(t->flags & MEMORY)) {
        b[n++] = (uint8_t)(0xc0 | reg | (k->rm & 7));
        return n;
    }
    const unsigned mod = rnd_below(3);
    const uint8_t sib = (uint8_t)((rnd() & 0xc0) | (k->index & 7) << 3 | (base < 0 ? rnd_below(8) : (unsigned)base & 7));
    b[n++] = (uint8_t)(mod << 6 | reg | (k->rm & 7));
    if ((k->rm & 7) == 4)
        b[n++] = sib;
    return n; /* displacement: the random bytes that follow */
}

/* Prefixes that change nothing, or the address size, or the segment, or that make it invalid. */
static unsigned put_prefixes(const struct template *t, uint8_t *b)
{
    unsigned n = 0;
    if (rnd_one_in(16))
        b[n++] = 0x67;
    if (!t->code32 && rnd_one_in(16)) {
        static const uint8_t segments[] = {0x65, 0x3e, 0x2e, 0x26, 0x36};
        b[n++] = segments[rnd_below(ARRAY_LEN(segments))];
    }
    const bool mov_cr = t->map == 1 && (t->opcode & 0xfc) == 0x20; /* LOCK is CR8 on AMD */
    if ((t->flags & LOCKABLE) ? rnd_one_in(6) : !mov_cr && rnd_one_in(200))
        b[n++] = 0xf0;
    if (t->map == 0 && !t->prefix && rnd_one_in(32))
        b[n++] = rnd_one_in(2) ? 0xf2 : 0xf3;
    return n;
}

static unsigned synthesize(const struct template *t, int base, uint8_t *b)
{
    struct choice k = {.reg = t->modrm >> 3 & 7, .rm = t->modrm & 7};
    const unsigned regs = t->code32 ? 8 : 16;
    if (t->flags & FREE_REG)
        k.reg = rnd_below(regs);
    if (t->flags & (FREE_RM | MEMORY))
        k.rm = t->flags & VSIB ? 4 : rnd_below(regs);
    if (t->flags & MEMORY)
        k.index = rnd_below(regs);
    if (base >= 0 && (t->flags & MEMORY) && !(t->flags & VSIB)) {
        k.rm = (unsigned)base;
        if ((base & 7) != 4)
            k.index = rnd_one_in(4) ? k.index : 0;
        else if (!rnd_one_in(4))
            k.index = 4; /* none */
    }
    if (t->flags & FREE_VVVV)
        k.vvvv = rnd_below(regs);
    unsigned n = put_prefixes(t, b);
    n += put_opcode(t, &k, b + n);
    n = put_modrm(t, &k, base, b, n);
    return put_random(b, n, 12);
}

unsigned template_random(bool *code32, uint8_t *b)
{
    const unsigned m = rnd_below(first_count);
    const struct template *t = &templates[first[m] + rnd_below(first[m + 1] - first[m])];

    synthesize(t, -1, b);
    *code32 = t->code32;
    return t->mnemonic;
}

unsigned template_pick(const char *group, bool code32, int base, uint8_t *b)
{
    for (unsigned tries = 0; tries < 1000; tries++) {
        const unsigned m = rnd_below(first_count);
        const struct template *t = &templates[first[m] + rnd_below(first[m + 1] - first[m])];

        if (t->code32 != code32 || (group && strcmp(groups[t->group], group)))
            continue;
        synthesize(t, base, b);
        return t->mnemonic;
    }
    return 0;
}
