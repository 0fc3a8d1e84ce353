/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random instructions. All encodings are enumerated once and kept as templates by mnemonic; a test
 * takes a mnemonic, one of its templates, and fills in registers, addressing and immediates. Then the
 * registers of the memory operand are set so that it points into, or at the edge of, the window. */
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/cpu/diff.h"
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
    uint8_t code32, vex; /* vex: bytes 1 and 2 of the C4 form in p[0], p[1] */
    uint8_t prefix;      /* 0, 66, F2, F3 */
    uint8_t map;         /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
    uint8_t w, l;
    uint8_t opcode, modrm;
    uint8_t flags;
};

#define TEMPLATES_MAX 65536u
static struct template templates[TEMPLATES_MAX];
static unsigned template_count;
/* Templates are sorted by mnemonic; first template of each mnemonic that occurs. */
static unsigned first[ZYDIS_MNEMONIC_MAX_VALUE + 2], first_count;
static ZydisDecoder decoder[2];

/* ---- what is tested ---- */

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

static bool decode(bool code32, const uint8_t *b, unsigned len, ZydisDecodedInstruction *z,
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
    if (!decode(t->code32, b, sizeof(b) < 15 ? sizeof(b) : 15, &z, ops) || !wanted(only, &z, ops))
        return;
    if (t->w && !(z.attributes & ZYDIS_ATTRIB_HAS_REX) && !t->vex)
        return;
    t->mnemonic = (uint16_t)z.mnemonic;
    t->flags = free_parts(&z, ops);
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
    return x->mnemonic != y->mnemonic ? x->mnemonic - y->mnemonic : x < y ? -1 : 1;
}

bool gen_init(const char *only)
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

static unsigned put_modrm(const struct template *t, struct choice *k, uint8_t *b, unsigned n)
{
    const unsigned reg = (k->reg & 7) << 3;
    if (!(t->flags & HAS_MODRM))
        return n;
    if (!(t->flags & MEMORY)) {
        b[n++] = (uint8_t)(0xc0 | reg | (k->rm & 7));
        return n;
    }
    const unsigned mod = rnd_below(3);
    const uint8_t sib = (uint8_t)((rnd() & 0xc0) | (k->index & 7) << 3 | rnd_below(8));
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

static unsigned synthesize(const struct template *t, uint8_t *b)
{
    struct choice k = {.reg = t->modrm >> 3 & 7, .rm = t->modrm & 7};
    const unsigned regs = t->code32 ? 8 : 16;
    if (t->flags & FREE_REG)
        k.reg = rnd_below(regs);
    if (t->flags & (FREE_RM | MEMORY))
        k.rm = t->flags & VSIB ? 4 : rnd_below(regs);
    if (t->flags & MEMORY)
        k.index = rnd_below(regs);
    if (t->flags & FREE_VVVV)
        k.vvvv = rnd_below(regs);
    unsigned n = put_prefixes(t, b);
    n += put_opcode(t, &k, b + n);
    n = put_modrm(t, &k, b, n);
    return put_random(b, n, 12);
}

/* ---- operands ---- */

static uint64_t pick_target(unsigned size, bool must_align, bool wild)
{
    uint64_t a = DATA_BASE + rnd_below(DATA_RW - 64);
    switch (rnd_below(24)) {
    case 0: a = DATA_BASE + 0x1000 - rnd_below(size + 1); break;              /* page crossing */
    case 1: a = DATA_BASE + DATA_RW - rnd_below(size + 1); break;             /* into read-only */
    case 2: a = DATA_BASE + DATA_RW + rnd_below(DATA_SIZE - DATA_RW); break;  /* read-only */
    case 3: a = DATA_BASE + DATA_SIZE - rnd_below(size + 1); break;           /* into nothing */
    case 4: a = DATA_BASE + DATA_SIZE + rnd_below(0x2000); break;             /* nothing */
    case 5: a = DATA_BASE - rnd_below(size + 1); break;
    default: break;
    }
    if (must_align || rnd_one_in(2))
        a &= ~(uint64_t)63;
    if (wild && rnd_one_in(100))
        a |= BIT64(48 + rnd_below(16)); /* not canonical; meaningless in 32-bit code */
    return a;
}

static int gpr(ZydisRegister r)
{
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return ZydisRegisterGetId(r);
    default: return -1;
    }
}

static uint64_t address_mask(const ZydisDecodedInstruction *z)
{
    return z->address_width == 64 ? UINT64_MAX : (UINT64_C(1) << z->address_width) - 1;
}

static uint64_t reg_value(const struct diff_test *t, const ZydisDecodedInstruction *z, ZydisRegister r)
{
    if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
        return t->rip + t->len;
    return gpr(r) < 0 ? 0 : t->before.gpr[gpr(r)] & address_mask(z);
}

static uint64_t offset_of(const struct diff_test *t, const ZydisDecodedInstruction *z,
                          const ZydisDecodedOperand *o)
{
    const uint64_t a = reg_value(t, z, o->mem.base) + reg_value(t, z, o->mem.index) * o->mem.scale +
                       (uint64_t)o->mem.disp.value;
    return a & address_mask(z);
}

static uint64_t segment_base(const struct diff_test *t, const ZydisDecodedOperand *o)
{
    return o->mem.segment == ZYDIS_REGISTER_GS ? t->gs_base : 0;
}

static uint64_t operand_address(const struct diff_test *t, const ZydisDecodedInstruction *z,
                                const ZydisDecodedOperand *o)
{
    return offset_of(t, z, o) + segment_base(t, o);
}

/* Makes base + index * scale + disp the target where the addressing form allows. */
static void aim(struct diff_test *t, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o,
                uint64_t target)
{
    const int base = gpr(o->mem.base), index = gpr(o->mem.index);
    const unsigned scale = o->mem.scale ? o->mem.scale : 1;
    target -= segment_base(t, o);
    if (base >= 0 && base != index) {
        if (index >= 0 && index != X86_RSP && rnd_one_in(2))
            t->before.gpr[index] = rnd_below(256);
        t->before.gpr[base] += target - offset_of(t, z, o);
    } else if (index >= 0) {
        t->before.gpr[index] = (target - (uint64_t)o->mem.disp.value) / (base >= 0 ? scale + 1 : scale);
    } else if (z->raw.disp.size == 32) {
        const uint64_t from = gpr(o->mem.base) < 0 && o->mem.base != ZYDIS_REGISTER_NONE ? t->rip + t->len : 0;
        st_le32(t->bytes + z->raw.disp.offset, (uint32_t)(target - from));
    }
    if (t->code32)
        for (unsigned n = 0; n < 16; n++)
            t->before.gpr[n] = (uint32_t)t->before.gpr[n];
}

static void aim_vsib(struct diff_test *t, const ZydisDecodedOperand *o)
{
    uint8_t *v = t->before.fpu.ymm[ZydisRegisterGetId(o->mem.index) & 15];
    const bool wild = rnd_one_in(32), wide = rnd_one_in(2);
    if (gpr(o->mem.base) >= 0)
        t->before.gpr[gpr(o->mem.base)] = DATA_BASE + 0x800 + rnd_below(0x1800) - (uint64_t)o->mem.disp.value;
    for (unsigned n = 0; n < 32 && !wild; n += wide ? 8 : 4)
        st_le(v + n, (uint64_t)((int64_t)rnd_below(0x300) - 0x180), wide ? 8 : 4);
    if (t->code32 && gpr(o->mem.base) >= 0)
        t->before.gpr[gpr(o->mem.base)] &= 0xffffffff;
}

/* Registers with a meaning of their own. */
static void aim_implicit(struct diff_test *t, const ZydisDecodedInstruction *z)
{
    struct diff_regs *r = &t->before;
    if (z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))
        r->gpr[X86_RCX] = rnd_below(24);
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_LEAVE:
    case ZYDIS_MNEMONIC_ENTER:
        r->gpr[X86_RBP] = pick_target(8, false, true);
        break;
    case ZYDIS_MNEMONIC_XLAT:
        r->gpr[X86_RBX] = pick_target(256, false, true);
        break;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        if (!rnd_one_in(10) && (z->attributes & ZYDIS_ATTRIB_HAS_MODRM)) {
            const unsigned n = z->raw.modrm.reg | (t->code32 ? 0 : z->raw.rex.R << 3);
            r->gpr[n] = (uint64_t)((int64_t)rnd_below(0x2000) - 0x1000);
        }
        break;
    default:
        break;
    }
    if (rnd_one_in(64))
        r->gpr[X86_RSP] = pick_target(8, false, true);
}

/* Plausible contents for instructions that load state. */
static bool prepare_memory(struct diff_test *t, const ZydisDecodedInstruction *z, uint64_t address)
{
    uint8_t *m = diff_initial + (address - DATA_BASE);
    const unsigned room = address >= DATA_BASE && address < DATA_BASE + DATA_SIZE
                              ? (unsigned)(DATA_BASE + DATA_SIZE - address)
                              : 0;
    const bool bad = rnd_one_in(16);
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
        if (room < 4 || bad)
            return false;
        st_le32(m, (uint32_t)rnd() & 0xffff);
        return true;
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
        t->before.gpr[X86_RAX] = rnd_below(8);
        t->before.gpr[X86_RDX] = 0;
        if (room < 576)
            return false;
        st_le32(m + 24, (uint32_t)rnd() & 0xffff);
        memset(m + 512, 0, 64);
        m[512] = (uint8_t)rnd_below(8);
        if (rnd_one_in(2))
            st_le64(m + 520, BIT64(63) | m[512] | rnd_below(8));
        if (bad)
            m[512 + rnd_below(64)] ^= (uint8_t)(1 << rnd_below(8));
        m[513] = m[514] = m[521] = m[522] = 0; /* components that only one side has */
        m[512] &= 7;
        m[520] &= 7;
        return true;
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        t->before.gpr[X86_RAX] = rnd_below(8);
        t->before.gpr[X86_RDX] = 0;
        return false;
    default:
        return false;
    }
}

static bool state_area(const ZydisDecodedInstruction *z)
{
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
        return true;
    default:
        break;
    }
    return z->meta.isa_set == ZYDIS_ISA_SET_FXSAVE || z->meta.isa_set == ZYDIS_ISA_SET_FXSAVE64 ||
           z->meta.isa_ext == ZYDIS_ISA_EXT_XSAVE || z->meta.isa_ext == ZYDIS_ISA_EXT_XSAVEC ||
           z->meta.isa_ext == ZYDIS_ISA_EXT_XSAVEOPT;
}

static bool wants_alignment(const ZydisDecodedInstruction *z)
{
    /* AMD does not check SHA's operands */
    return (state_area(z) && !rnd_one_in(16)) || z->meta.isa_set == ZYDIS_ISA_SET_SHA;
}

static void aim_operands(struct diff_test *t, const ZydisDecodedInstruction *z,
                         const ZydisDecodedOperand *ops)
{
    bool aimed[16] = {false};
    aim_implicit(t, z);
    for (unsigned n = 0; n < z->operand_count; n++) {
        const ZydisDecodedOperand *o = &ops[n];
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        if (o->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
            aim_vsib(t, o);
            continue;
        }
        const int base = gpr(o->mem.base);
        if (base == X86_RSP && n >= z->operand_count_visible)
            continue; /* the stack has its place */
        if (base < 0 || !aimed[base])
            aim(t, z, o, pick_target(state_area(z) ? 832 : o->size / 8, wants_alignment(z),
                                          n < z->operand_count_visible));
        if (base >= 0)
            aimed[base] = true;
    }
}

static void note_operand(struct diff_test *t, struct diff_info *info, const ZydisDecodedInstruction *z,
                         const ZydisDecodedOperand *ops)
{
    info->state_area = state_area(z);
    for (unsigned n = 0; n < z->operand_count; n++)
        if (ops[n].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            info->operand = operand_address(t, z, &ops[n]);
            info->window_changed = prepare_memory(t, z, info->operand);
            break;
        }
}

/* ---- a test ---- */

/* A branch into its own bytes would execute something else, or for ever. */
static bool branches_into_itself(const struct diff_test *t, const ZydisDecodedInstruction *z)
{
    if (!z->raw.imm[0].is_relative)
        return false;
    uint64_t target = t->rip + t->len + (uint64_t)z->raw.imm[0].value.s;
    if (z->operand_width == 16)
        target &= 0xffff;
    if (t->code32)
        target &= 0xffffffff;
    return target - (t->rip - 15) < 15u + t->len;
}

static unsigned shift_count(const ZydisDecodedInstruction *z, const struct diff_test *t)
{
    if (z->raw.imm[0].size)
        return (unsigned)z->raw.imm[0].value.u;
    if (z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && z->opcode <= 0xd1)
        return 1;
    return (unsigned)t->before.gpr[X86_RCX];
}

static uint32_t undefined_flags(const struct diff_test *t, const ZydisDecodedInstruction *z)
{
    const uint32_t undefined = z->cpu_flags ? z->cpu_flags->undefined : 0;
    unsigned count;
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_SBB: /* Zydis 4.0 is wrong about AF */
        return 0;
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SHRD: /* OF is defined for a count of 1; 0 changes nothing */
        count = shift_count(z, t) & (z->operand_width == 64 ? 63 : 31);
        return count == 0 ? 0 : count == 1 ? undefined & ~X86_OF : undefined;
    default:
        return undefined;
    }
}

/* Results that the architecture leaves undefined as a whole. */
static bool undefined_result(const ZydisDecodedInstruction *z, const struct diff_test *t, uint64_t operand)
{
    if (z->meta.isa_set == ZYDIS_ISA_SET_SHA && (operand & 15))
        return true; /* AMD does not check alignment */
    /* 66h on near branches in 64-bit code: ignored by Intel, 16 bits on AMD */
    if (!t->code32 && z->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
        (z->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE))
        return true;
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD: /* 16 bits by more than 16 */
        return z->operand_width == 16 && (shift_count(z, t) & 31) > 16;
    case ZYDIS_MNEMONIC_BSWAP:
        return z->operand_width == 16;
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE: /* AMD: F2 and F3 choose the condition */
        return z->length > 2;
    case ZYDIS_MNEMONIC_NOP: /* PREFETCHW with a register: #UD on AMD */
        return z->opcode_map == ZYDIS_OPCODE_MAP_0F && z->opcode == 0x0d;
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64: /* how much of the area is looked at is the processor's choice */
        return operand + 832 > DATA_BASE + DATA_SIZE;
    case ZYDIS_MNEMONIC_CALL: /* indirect: target and stack are tested in either order */
        return !z->raw.imm[0].is_relative && t->before.gpr[X86_RSP] - DATA_BASE - 8 > DATA_RW - 8;
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1: /* AMD fetches no operand of these */
        return t->rip + t->len > CODE_PAGE + 0x1000;
    case ZYDIS_MNEMONIC_VPEXTRD: /* W set outside 64-bit code: ignored by Intel, #UD on AMD */
    case ZYDIS_MNEMONIC_VPINSRD:
        return t->code32 && t->bytes[z->raw.vex.offset] == 0xc4 && (t->bytes[z->raw.vex.offset + 2] & 0x80);
    default:
        return false;
    }
}

/* The mask of components must not double as an address. */
static bool mask_in_address(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    if (!state_area(z))
        return false;
    for (unsigned n = 0; n < z->operand_count; n++) {
        if (ops[n].type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        const int base = gpr(ops[n].mem.base), index = gpr(ops[n].mem.index);
        if (base == X86_RAX || base == X86_RDX || index == X86_RAX || index == X86_RDX)
            return true;
    }
    return false;
}

static bool try_template(const struct template *p, struct diff_test *t, struct diff_info *info)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    uint8_t b[40];

    memset(info, 0, sizeof(*info));
    synthesize(p, b);
    t->code32 = p->code32;
    if (!decode(t->code32, b, 15, &z, ops)) {
        /* LOCK where it must not be, same registers in a gather and the like: #UD on both */
        t->len = 15;
        info->name = "(invalid)";
    } else {
        if (z.mnemonic != p->mnemonic)
            return false;
        t->len = z.length;
        info->mnemonic = z.mnemonic;
        info->name = ZydisMnemonicGetString(z.mnemonic);
    }
    memcpy(t->bytes, b, sizeof(t->bytes));
    t->rip = CODE_PAGE + 0x400 + rnd_below(0x400);
    if (info->mnemonic && rnd_one_in(64))
        t->rip = CODE_PAGE + 0x1000 - 1 - rnd_below(t->len);
    t->gs_base = DATA_BASE;
    rnd_regs(&t->before, t->code32);
    t->before.rip = t->rip;
    if (!info->mnemonic)
        return true;
    if (mask_in_address(&z, ops))
        return false;
    aim_operands(t, &z, ops);
    decode(t->code32, t->bytes, t->len, &z, ops); /* the displacement may be another now */
    note_operand(t, info, &z, ops);
    info->undefined_flags = undefined_flags(t, &z);
    info->operand_width = z.operand_width;
    return !branches_into_itself(t, &z) && !undefined_result(&z, t, info->operand);
}

void gen_next(struct diff_test *t, struct diff_info *info)
{
    for (;;) {
        const unsigned m = rnd_below(first_count);
        const unsigned n = first[m] + rnd_below(first[m + 1] - first[m]);
        if (try_template(&templates[n], t, info))
            return;
    }
}

void gen_disassemble(const struct diff_test *t, char *buf, unsigned size)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    ZydisFormatter f;

    ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
    if (!decode(t->code32, t->bytes, t->len, &z, ops) ||
        !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&f, &z, ops, z.operand_count_visible, buf, size,
                                                      t->rip, NULL)))
        snprintf(buf, size, "(invalid)");
}
