/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a decoded vector or x87 instruction to its handler, and to the form the host executes. */
#include "vmm/cpu/interp/vec_priv.h"

#include <Zydis/Zydis.h>

/* ---- features ---- */

#define ALWAYS CPUF_COUNT
#define NEVER  (CPUF_COUNT + 1)

/* The feature that brings an instruction set, ALWAYS for what every x86-64 CPU has. */
static unsigned isa_feature(ZydisISASet isa)
{
    switch (isa) {
    case ZYDIS_ISA_SET_X87:
    case ZYDIS_ISA_SET_FCMOV:
    case ZYDIS_ISA_SET_PPRO: /* FCOMI */
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_SSEMXCSR:
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64:
        return ALWAYS;
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSE3X87:
        return CPUF_SSE3;
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSSE3MMX:
        return CPUF_SSSE3;
    case ZYDIS_ISA_SET_SSE4:
        return CPUF_SSE41;
    case ZYDIS_ISA_SET_SSE42:
        return CPUF_SSE42;
    case ZYDIS_ISA_SET_AES:
    case ZYDIS_ISA_SET_AVXAES:
        return CPUF_AES;
    case ZYDIS_ISA_SET_PCLMULQDQ:
        return CPUF_PCLMUL;
    case ZYDIS_ISA_SET_AVX:
        return CPUF_AVX;
    case ZYDIS_ISA_SET_AVX2:
    case ZYDIS_ISA_SET_AVX2GATHER:
        return CPUF_AVX2;
    case ZYDIS_ISA_SET_F16C:
        return CPUF_F16C;
    case ZYDIS_ISA_SET_FMA:
        return CPUF_FMA;
    case ZYDIS_ISA_SET_SHA:
        return CPUF_SHA;
    case ZYDIS_ISA_SET_GFNI:
    case ZYDIS_ISA_SET_AVX_GFNI:
        return CPUF_GFNI;
    case ZYDIS_ISA_SET_VAES:
        return CPUF_VAES;
    case ZYDIS_ISA_SET_VPCLMULQDQ:
        return CPUF_VPCLMUL;
    case ZYDIS_ISA_SET_XSAVE:
        return CPUF_XSAVE;
    case ZYDIS_ISA_SET_XSAVEC:
        return CPUF_XSAVEC;
    case ZYDIS_ISA_SET_XSAVEOPT:
        return CPUF_XSAVEOPT;
    case ZYDIS_ISA_SET_XSAVES:
        return CPUF_XSAVES;
    default:
        return NEVER;
    }
}

static bool has_isa(const struct cpu *c, const ZydisDecodedInstruction *z)
{
    const unsigned f = isa_feature(z->meta.isa_set);
    if (f == NEVER)
        return false;
    if (f == ALWAYS)
        return true;
    /* GFNI, VAES and VPCLMULQDQ do not imply AVX in their VEX forms */
    return cpu_has(c->set->cfg.model, f) && (z->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX ||
                                             cpu_has(c->set->cfg.model, CPUF_AVX));
}

/* ---- operands ---- */

static bool is_vector(ZydisRegisterClass k)
{
    return k == ZYDIS_REGCLASS_XMM || k == ZYDIS_REGCLASS_YMM;
}

static bool is_gpr(ZydisRegisterClass k)
{
    return k == ZYDIS_REGCLASS_GPR32 || k == ZYDIS_REGCLASS_GPR64 || k == ZYDIS_REGCLASS_GPR16 ||
           k == ZYDIS_REGCLASS_GPR8;
}

static ZydisRegisterClass op_class(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(o->reg.value)
                                                  : ZYDIS_REGCLASS_INVALID;
}

static unsigned op_number(const ZydisDecodedOperand *o)
{
    return (unsigned)ZydisRegisterGetId(o->reg.value);
}

static bool op_float(const ZydisDecodedOperand *o)
{
    return o->element_type == ZYDIS_ELEMENT_TYPE_FLOAT16 ||
           o->element_type == ZYDIS_ELEMENT_TYPE_FLOAT32 ||
           o->element_type == ZYDIS_ELEMENT_TYPE_FLOAT64;
}

static void add_gpr(struct vec_spec *s, const ZydisDecodedOperand *o)
{
    const bool write = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    const unsigned n = op_number(o);
    if (o->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
        s->gpr_load |= (uint8_t)BIT(n & 3);
        if (write)
            s->gpr_store |= (uint8_t)BIT(n & 3);
    } else if (write) {
        s->gpr_out = (uint8_t)n;
    } else {
        s->gpr_in = (uint8_t)n;
    }
}

/* Zydis calls their operands integers. */
static bool is_rounding(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_ROUNDSS:
    case ZYDIS_MNEMONIC_ROUNDSD:
    case ZYDIS_MNEMONIC_ROUNDPS:
    case ZYDIS_MNEMONIC_ROUNDPD:
    case ZYDIS_MNEMONIC_VROUNDSS:
    case ZYDIS_MNEMONIC_VROUNDSD:
    case ZYDIS_MNEMONIC_VROUNDPS:
    case ZYDIS_MNEMONIC_VROUNDPD:
        return true;
    default:
        return false;
    }
}

static void add_operand(struct vec_spec *s, const ZydisDecodedOperand *o)
{
    const bool write = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    const ZydisRegisterClass k = op_class(o);

    if (op_float(o))
        s->flags |= VOP_MXCSR | VOP_OSFXSR; /* CVTSD2SI from memory names no XMM register */
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        s->mem_size = o->size / 8;
        s->flags |= write ? VOP_MEM_WRITE : VOP_MEM_READ;
    } else if (is_vector(k)) {
        s->flags |= VOP_OSFXSR;
        s->xmm_load |= (uint16_t)BIT(op_number(o)); /* also when written: legacy forms merge */
        if (write)
            s->xmm_store |= (uint16_t)BIT(op_number(o));
    } else if (k == ZYDIS_REGCLASS_MMX) {
        s->flags |= VOP_MMX;
        s->mmx_load |= (uint8_t)BIT(op_number(o));
        if (write)
            s->mmx_store |= (uint8_t)BIT(op_number(o));
    } else if (is_gpr(k)) {
        add_gpr(s, o);
    } else if (k == ZYDIS_REGCLASS_FLAGS) {
        s->flags |= VOP_FLAGS;
    }
}

/* Legacy SSE memory operands of 16 bytes are aligned, but for these. */
static bool may_be_unaligned(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
        return true;
    default:
        return false;
    }
}

/* Aligned also with VEX. */
static bool must_be_aligned(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA:
        return true;
    default:
        return false;
    }
}

static bool needs_alignment(const ZydisDecodedInstruction *z, unsigned size)
{
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
        return must_be_aligned(z->mnemonic);
    return size == 16 && !may_be_unaligned(z->mnemonic);
}

/* ---- the host's form ---- */

/* VEX.W chooses the width of a general register or of its memory form; ignored outside 64-bit code. */
static bool w_is_gpr_width(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VPINSRD:
    case ZYDIS_MNEMONIC_VCVTSI2SS:
    case ZYDIS_MNEMONIC_VCVTSI2SD:
    case ZYDIS_MNEMONIC_VCVTSS2SI:
    case ZYDIS_MNEMONIC_VCVTSD2SI:
    case ZYDIS_MNEMONIC_VCVTTSS2SI:
    case ZYDIS_MNEMONIC_VCVTTSD2SI:
    case ZYDIS_MNEMONIC_VPCMPESTRI:
    case ZYDIS_MNEMONIC_VPCMPESTRM:
        return true;
    default:
        return false;
    }
}

struct fields {
    unsigned reg, rm; /* with their extension bits */
    bool is4;
};

/* Register numbers of the host's form. A vector register keeps its number; a general register is RAX. */
static struct fields host_fields(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    struct fields f = {.reg = z->raw.modrm.reg, .rm = z->raw.modrm.rm};
    for (unsigned n = 0; n < z->operand_count_visible; n++) {
        const ZydisRegisterClass k = op_class(&ops[n]);
        const unsigned number = is_gpr(k) ? 0 : k != ZYDIS_REGCLASS_INVALID ? op_number(&ops[n]) : 0;
        if (ops[n].encoding == ZYDIS_OPERAND_ENCODING_IS4)
            f.is4 = true;
        if (k == ZYDIS_REGCLASS_INVALID)
            continue;
        if (ops[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
            f.reg = number;
        else if (ops[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
            f.rm = number;
    }
    return f;
}

static void put(struct vec_spec *s, uint8_t byte)
{
    if (s->len < sizeof(s->code))
        s->code[s->len++] = byte;
}

static void put_vex(struct vec_spec *s, const struct insn *i, const ZydisDecodedInstruction *z,
                    const struct fields *f)
{
    const uint8_t *b = i->bytes + z->raw.vex.offset;
    const bool three = b[0] == 0xc4;
    uint8_t map = three ? b[1] & 0x1f : 1, last = three ? b[2] : b[1] & 0x7f;
    if (!(i->mode & MODE_CODE64)) {
        last |= 0x40; /* there is no register above 7 */
        if (w_is_gpr_width(z->mnemonic))
            last &= 0x7f;
    }
    put(s, 0xc4);
    put(s, (uint8_t)((f->reg & 8 ? 0 : 0x80) | 0x40 | (f->rm & 8 ? 0 : 0x20) | map));
    put(s, last);
    put(s, z->opcode);
}

static void put_legacy(struct vec_spec *s, const struct insn *i, const ZydisDecodedInstruction *z,
                       const struct fields *f)
{
    const unsigned first = z->raw.prefix_count;
    const uint8_t rex = (uint8_t)((z->raw.rex.W ? 8 : 0) | (f->reg & 8 ? 4 : 0) | (f->rm & 8 ? 1 : 0));
    for (unsigned n = 0; n < first && !(s->flags & VOP_X87); n++)
        if (i->bytes[n] == 0x66 || i->bytes[n] == 0xf2 || i->bytes[n] == 0xf3)
            put(s, i->bytes[n]);
    if (rex)
        put(s, 0x40 | rex);
    for (unsigned n = first; n < z->raw.modrm.offset; n++)
        put(s, i->bytes[n]);
}

static void put_host_form(struct vec_spec *s, const struct insn *i, const ZydisDecodedInstruction *z,
                          const ZydisDecodedOperand *ops)
{
    struct fields f = host_fields(z, ops);
    const bool mem = s->flags & (VOP_MEM_READ | VOP_MEM_WRITE);
    if (mem)
        f.rm = 6;
    if (s->flags & VOP_X87)
        f.reg &= 7, f.rm &= 7;
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
        put_vex(s, i, z, &f);
    else
        put_legacy(s, i, z, &f);
    put(s, (uint8_t)((mem ? 0 : 0xc0) | (f.reg & 7) << 3 | (f.rm & 7)));

    unsigned imm = z->raw.modrm.offset + 1u + z->raw.disp.size / 8u;
    if (z->raw.modrm.mod != 3 && z->raw.modrm.rm == 4 && z->address_width != 16)
        imm++; /* SIB */
    for (; imm < z->length; imm++)
        put(s, f.is4 && !(i->mode & MODE_CODE64) ? i->bytes[imm] & 0x7f : i->bytes[imm]);
}

static bool make_spec(struct vec_spec *s, const struct insn *i, const ZydisDecodedInstruction *z,
                      const ZydisDecodedOperand *ops)
{
    memset(s, 0, sizeof(*s));
    s->gpr_in = s->gpr_out = REG_NONE;
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
        s->flags |= VOP_VEX;
    if (z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (z->opcode & 0xf8) == 0xd8)
        s->flags |= VOP_X87;
    if (is_rounding(z->mnemonic))
        s->flags |= VOP_MXCSR;
    for (unsigned n = 0; n < z->operand_count; n++)
        add_operand(s, &ops[n]);
    if (s->flags & VOP_X87)
        s->flags &= VOP_X87 | VOP_FLAGS | VOP_MEM_READ | VOP_MEM_WRITE;
    else if (needs_alignment(z, s->mem_size))
        s->flags |= VOP_ALIGN;
    put_host_form(s, i, z, ops);
    return (s->flags & (VOP_X87 | VOP_OSFXSR | VOP_MMX)) && s->mem_size <= sizeof(((struct vec_io *)0)->buf);
}

struct vec_op *vec_bind(struct cpu *c, const struct insn *i)
{
    ZydisDecoder d;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    struct vec_spec s;

    if (i->mode & MODE_CODE64)
        ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else if (i->mode & MODE_CODE32)
        ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, i->bytes, i->len, &z, ops)) ||
        !make_spec(&s, i, &z, ops))
        cpu_ud(c);
    struct vec_op *op = vec_op_get(c->vec, &s);
    ((struct insn *)i)->aux = vec_op_ref(c->vec, op); /* the cached decode is this vCPU's own */
    return op;
}

/* ---- moves ---- */

/* Plain moves of whole registers, or of a low part that clears the rest. */
static bool decode_move(struct insn *i, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVSS:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VMOVQ:
    case ZYDIS_MNEMONIC_VMOVSS:
    case ZYDIS_MNEMONIC_VMOVSD:
        if (z->raw.modrm.mod == 3)
            return false;
        break;
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTDQA:
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVUPS:
    case ZYDIS_MNEMONIC_VMOVUPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVDQU:
    case ZYDIS_MNEMONIC_VLDDQU:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA:
        break;
    default:
        return false;
    }
    const bool load = ops[1].type == ZYDIS_OPERAND_TYPE_MEMORY;
    const bool store = ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
    const unsigned size = (store ? ops[0].size : ops[1].size) / 8;
    if (!is_vector(op_class(&ops[store])))
        return false; /* MMX */

    i->imm = size;
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
        i->imm |= MOV_VEX;
    if ((load || store) && needs_alignment(z, size))
        i->imm |= MOV_ALIGN;
    i->reg = (uint8_t)op_number(&ops[store]);
    if (!load && !store)
        i->rm = (uint8_t)op_number(&ops[1]);
    i->exec = load ? vec_mov_load : store ? vec_mov_store : vec_mov_reg;
    return true;
}

static void decode_elements(struct insn *i, const ZydisDecodedInstruction *z,
                            const ZydisDecodedOperand *ops, unsigned size)
{
    i->imm = size | (z->avx.vector_length == 256 ? ELEM_YMM : 0);
    for (unsigned n = 0; n < z->operand_count_visible; n++) {
        if (!is_vector(op_class(&ops[n])))
            continue;
        if (ops[n].encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
            i->vvvv = (uint8_t)op_number(&ops[n]);
        else
            i->reg = (uint8_t)op_number(&ops[n]);
    }
}

static void decode_gather(struct insn *i, const ZydisDecodedInstruction *z,
                          const ZydisDecodedOperand *ops, unsigned size, bool qindex)
{
    decode_elements(i, z, ops, size);
    i->imm |= qindex ? ELEM_QINDEX : 0;
    i->imm |= (uint64_t)(unsigned)ZydisRegisterGetId(ops[1].mem.index) << ELEM_INDEX_SHIFT;
    i->index = REG_NONE; /* leaves base and displacement to insn_offset */
    i->exec = vec_gather;
}

/* Conditional accesses, element by element. */
static bool decode_masked(struct insn *i, const ZydisDecodedInstruction *z,
                          const ZydisDecodedOperand *ops)
{
    const bool store = ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
        decode_elements(i, z, ops,
                        z->mnemonic == ZYDIS_MNEMONIC_VMASKMOVPS ||
                                z->mnemonic == ZYDIS_MNEMONIC_VPMASKMOVD
                            ? 4
                            : 8);
        i->exec = store ? vec_maskmov_store : vec_maskmov_load;
        return true;
    case ZYDIS_MNEMONIC_VGATHERDPS:
    case ZYDIS_MNEMONIC_VPGATHERDD:
        decode_gather(i, z, ops, 4, false);
        return true;
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VPGATHERQD:
        decode_gather(i, z, ops, 4, true);
        return true;
    case ZYDIS_MNEMONIC_VGATHERDPD:
    case ZYDIS_MNEMONIC_VPGATHERDQ:
        decode_gather(i, z, ops, 8, false);
        return true;
    case ZYDIS_MNEMONIC_VGATHERQPD:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
        decode_gather(i, z, ops, 8, true);
        return true;
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
        i->imm = z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? MOV_VEX : 0;
        i->exec = vec_maskmovdqu;
        break;
    case ZYDIS_MNEMONIC_MASKMOVQ:
        i->exec = vec_maskmovq;
        break;
    default:
        return false;
    }
    i->reg = (uint8_t)op_number(&ops[0]);
    i->rm = (uint8_t)op_number(&ops[1]);
    i->base = X86_RDI;
    i->index = REG_NONE;
    i->disp = 0;
    return true;
}

/* ---- state and control ---- */

static const struct {
    ZydisMnemonic mnemonic;
    insn_fn *exec;
    uint64_t imm;
} control[] = {
    {ZYDIS_MNEMONIC_FNINIT, x87_fninit, 0},
    {ZYDIS_MNEMONIC_FNCLEX, x87_fnclex, 0},
    {ZYDIS_MNEMONIC_FNSTSW, x87_fnstsw, 0},
    {ZYDIS_MNEMONIC_FNSTCW, x87_fnstcw, 0},
    {ZYDIS_MNEMONIC_FLDCW, x87_fldcw, 0},
    {ZYDIS_MNEMONIC_FNSTENV, x87_fnstenv, 0},
    {ZYDIS_MNEMONIC_FLDENV, x87_fldenv, 0},
    {ZYDIS_MNEMONIC_FNSAVE, x87_fnsave, 0},
    {ZYDIS_MNEMONIC_FRSTOR, x87_frstor, 0},
    {ZYDIS_MNEMONIC_FWAIT, x87_fwait, 0},
    {ZYDIS_MNEMONIC_FENI8087_NOP, x87_nop, 0},
    {ZYDIS_MNEMONIC_FDISI8087_NOP, x87_nop, 0},
    {ZYDIS_MNEMONIC_FSETPM287_NOP, x87_nop, 0},
    {ZYDIS_MNEMONIC_EMMS, x87_emms, 0},
    {ZYDIS_MNEMONIC_VZEROUPPER, vec_zeroupper, 0},
    {ZYDIS_MNEMONIC_VZEROALL, vec_zeroall, 0},
    {ZYDIS_MNEMONIC_LDMXCSR, vec_ldmxcsr, 0},
    {ZYDIS_MNEMONIC_STMXCSR, vec_stmxcsr, 0},
    {ZYDIS_MNEMONIC_VLDMXCSR, vec_ldmxcsr, MOV_VEX},
    {ZYDIS_MNEMONIC_VSTMXCSR, vec_stmxcsr, MOV_VEX},
    {ZYDIS_MNEMONIC_FXSAVE, vec_fxsave, 0},
    {ZYDIS_MNEMONIC_FXSAVE64, vec_fxsave, 0},
    {ZYDIS_MNEMONIC_FXRSTOR, vec_fxrstor, 0},
    {ZYDIS_MNEMONIC_FXRSTOR64, vec_fxrstor, 0},
    {ZYDIS_MNEMONIC_XSAVE, vec_xsave, 0},
    {ZYDIS_MNEMONIC_XSAVE64, vec_xsave, 0},
    {ZYDIS_MNEMONIC_XSAVEOPT, vec_xsave, XSAVE_OPT},
    {ZYDIS_MNEMONIC_XSAVEOPT64, vec_xsave, XSAVE_OPT},
    {ZYDIS_MNEMONIC_XSAVEC, vec_xsave, XSAVE_COMPACT | XSAVE_OPT},
    {ZYDIS_MNEMONIC_XSAVEC64, vec_xsave, XSAVE_COMPACT | XSAVE_OPT},
    {ZYDIS_MNEMONIC_XRSTOR, vec_xrstor, 0},
    {ZYDIS_MNEMONIC_XRSTOR64, vec_xrstor, 0},
    {ZYDIS_MNEMONIC_XSAVES, vec_xsave, XSAVE_COMPACT | XSAVE_OPT | XSAVE_SUPERVISOR},
    {ZYDIS_MNEMONIC_XSAVES64, vec_xsave, XSAVE_COMPACT | XSAVE_OPT | XSAVE_SUPERVISOR},
    {ZYDIS_MNEMONIC_XRSTORS, vec_xrstor, XSAVE_SUPERVISOR},
    {ZYDIS_MNEMONIC_XRSTORS64, vec_xrstor, XSAVE_SUPERVISOR},
};

static bool decode_control(struct insn *i, const ZydisDecodedInstruction *z)
{
    for (size_t n = 0; n < ARRAY_LEN(control); n++) {
        if (control[n].mnemonic != z->mnemonic)
            continue;
        i->exec = control[n].exec;
        i->imm = control[n].imm;
        i->opsize = z->raw.rex.W ? 8 : z->operand_width == 16 ? 2 : 4;
        return true;
    }
    return false;
}

bool vec_decode(struct cpu *c, struct insn *i, const void *zinsn, const void *zops)
{
    const ZydisDecodedInstruction *z = zinsn;
    const ZydisDecodedOperand *ops = zops;
    const bool vex = z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    struct vec_spec s;

    if (!vex && z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return false;
    if (!has_isa(c, z) || (vex && !(i->mode & MODE_PE)))
        return false;
    if (decode_control(i, z) || decode_move(i, z, ops) || decode_masked(i, z, ops))
        return true;
    if (!make_spec(&s, i, z, ops))
        return false;
    i->aux = vec_op_ref(c->vec, vec_op_get(c->vec, &s));
    i->exec = s.flags & VOP_X87 ? vec_exec_x87 : vec_exec;
    return true;
}
