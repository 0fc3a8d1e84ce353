/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions that are executed as themselves: encoded again with host registers for the guest's and a checked host
 * address for the memory operand. */
#include "vmm/cpu/interp/vec_priv.h"
#include "vmm/cpu/jit/jit_priv.h"

#define HOST_MEM_MAX 64u

/* ---- which ones ---- */

enum unit { UNIT_NONE, UNIT_INT, UNIT_VEC, UNIT_X87 /* and MMX */ };

static bool is_vector(const ZydisDecodedOperand *o)
{
    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    ZydisRegisterClass k = ZydisRegisterGetClass(o->reg.value);
    return k == ZYDIS_REGCLASS_XMM || k == ZYDIS_REGCLASS_YMM;
}

static bool is_mmx(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_MMX;
}

static bool is_gpr(const ZydisDecodedOperand *o)
{
    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    switch (ZydisRegisterGetClass(o->reg.value)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return true;
    default: return false;
    }
}

static bool is_written(const ZydisDecodedOperand *o)
{
    return o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
}

static bool is_high_byte(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->reg.value >= ZYDIS_REGISTER_AH &&
           o->reg.value <= ZYDIS_REGISTER_BH;
}

static bool integer(ZydisMnemonic m)
{
    switch (m) {
#define M(x) case ZYDIS_MNEMONIC_##x:
    M(ADD) M(OR) M(ADC) M(SBB) M(AND) M(SUB) M(XOR) M(CMP) M(TEST) M(INC) M(DEC) M(NEG) M(NOT) M(XADD) M(CMPXCHG)
    M(CMPXCHG8B) M(CMPXCHG16B) M(XCHG) M(ROL) M(ROR) M(RCL) M(RCR) M(SHL) M(SHR) M(SAR) M(SHLD) M(SHRD) M(MUL)
    M(IMUL) M(DIV) M(IDIV) M(BT) M(BTS) M(BTR) M(BTC) M(BSF) M(BSR) M(LZCNT) M(TZCNT) M(POPCNT) M(BSWAP) M(CRC32)
    M(ANDN) M(BEXTR) M(BLSI) M(BLSMSK) M(BLSR) M(BZHI) M(MULX) M(PDEP) M(PEXT) M(RORX) M(SARX) M(SHLX) M(SHRX)
    M(ADCX) M(ADOX) M(MOV) M(MOVZX) M(MOVSX) M(MOVSXD) M(MOVBE) M(MOVNTI) M(LEA) M(CBW) M(CWDE) M(CDQE) M(CWD)
    M(CDQ) M(CQO) M(SETO) M(SETNO) M(SETB) M(SETNB) M(SETZ) M(SETNZ) M(SETBE) M(SETNBE) M(SETS) M(SETNS) M(SETP)
    M(SETNP) M(SETL) M(SETNL) M(SETLE) M(SETNLE) M(CMOVO) M(CMOVNO) M(CMOVB) M(CMOVNB) M(CMOVZ) M(CMOVNZ)
    M(CMOVBE) M(CMOVNBE) M(CMOVS) M(CMOVNS) M(CMOVP) M(CMOVNP) M(CMOVL) M(CMOVNL) M(CMOVLE) M(CMOVNLE) M(LAHF)
    M(SAHF) M(CLC) M(STC) M(CMC)
        return true;
    default:
        return false;
    }
}

/* Vector and x87 instructions that need more than their operands. */
static bool vector_callback(ZydisMnemonic m)
{
    switch (m) {
    M(MASKMOVQ) M(MASKMOVDQU) M(VMASKMOVDQU) M(VMASKMOVPS) M(VMASKMOVPD) M(VPMASKMOVD) M(VPMASKMOVQ) M(VGATHERDPS)
    M(VGATHERQPS) M(VGATHERDPD) M(VGATHERQPD) M(VPGATHERDD) M(VPGATHERQD) M(VPGATHERDQ) M(VPGATHERQQ) M(FNINIT)
    M(FNSTENV) M(FLDENV) M(FNSAVE) M(FRSTOR) M(FENI8087_NOP) M(FDISI8087_NOP) M(FSETPM287_NOP) M(FXSAVE)
    M(FXSAVE64) M(FXRSTOR) M(FXRSTOR64) M(XSAVE) M(XSAVE64) M(XSAVEOPT) M(XSAVEOPT64) M(XSAVEC) M(XSAVEC64)
    M(XRSTOR) M(XRSTOR64) M(XSAVES) M(XSAVES64) M(XRSTORS) M(XRSTORS64)
    /* both MMX and MXCSR, with memory, too */
    M(CVTPI2PS) M(CVTPI2PD) M(CVTPS2PI) M(CVTPD2PI) M(CVTTPS2PI) M(CVTTPD2PI)
        return true;
#undef M
    default:
        return false;
    }
}

static bool is_x87(const ZydisDecodedInstruction *z)
{
    return z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && ((z->opcode & 0xf8) == 0xd8 || z->opcode == 0x9b) &&
           z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
}

static enum unit unit_of(const struct tr_insn *in)
{
    const ZydisDecodedInstruction *z = &in->z;

    if (is_x87(z) || z->mnemonic == ZYDIS_MNEMONIC_EMMS)
        return vector_callback(z->mnemonic) ? UNIT_NONE : UNIT_X87;
    bool sse2 = (z->mnemonic == ZYDIS_MNEMONIC_MOVSD || z->mnemonic == ZYDIS_MNEMONIC_CMPSD) &&
                z->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT;
    if (!sse2 && integer(z->mnemonic))
        return UNIT_INT;
    bool vec = z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX, mmx = false;
    for (unsigned n = 0; n < z->operand_count; n++) {
        vec |= is_vector(&in->ops[n]);
        mmx |= is_mmx(&in->ops[n]);
    }
    if (z->mnemonic == ZYDIS_MNEMONIC_LDMXCSR || z->mnemonic == ZYDIS_MNEMONIC_STMXCSR)
        vec = true;
    if (vector_callback(z->mnemonic) || (vec && mmx) || (mmx && z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX))
        return UNIT_NONE;
    return mmx ? UNIT_X87 : vec ? UNIT_VEC : UNIT_NONE;
}

static bool unit_enabled(const struct tr *t, const struct tr_insn *in, enum unit u)
{
    switch (u) {
    case UNIT_INT: return true;
    case UNIT_X87: return t->mode & JM_X87;
    case UNIT_VEC: return t->mode & (in->z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? JM_AVX : JM_SSE);
    default: return false;
    }
}

bool tr_segment_ok(const struct tr *t, const struct insn *i)
{
    if (t->code64)
        return true;
    if (i->seg < X86_FS)
        return i->seg != X86_CS; /* which is never written, and perhaps not read */
    return t->mode & (i->seg == X86_FS ? JM_FS : JM_GS);
}

static bool operand_ok(const struct tr *t, const struct tr_insn *in, const ZydisDecodedOperand *o)
{
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && in->z.mnemonic != ZYDIS_MNEMONIC_LEA) {
        if (o->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT || o->size == 0 || o->size > HOST_MEM_MAX * 8)
            return false;
        return in->i.addrsize >= 4 && tr_segment_ok(t, &in->i);
    }
    if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && is_gpr(o)) {
        unsigned id = (unsigned)ZydisRegisterGetId(o->reg.value);
        return is_high_byte(o) || (id < 8 && id != X86_RSP);
    }
    return true;
}

bool tr_generic_ok(const struct tr *t, const struct tr_insn *in)
{
    const struct insn *i = &in->i;
    unsigned high = 0, high_written = 0;

    if (in->uncertain || i->exec == op_ud || i->exec == op_mov_from_sreg || i->exec == op_mov_to_sreg ||
        i->exec == op_mov_from_cr || i->exec == op_mov_to_cr || i->exec == op_mov_from_dr || i->exec == op_mov_to_dr)
        return false;
    if (!unit_enabled(t, in, unit_of(in)))
        return false;
    if (in->z.mnemonic == ZYDIS_MNEMONIC_LEA && i->addrsize < 4)
        return false;
    if (in->z.mnemonic == ZYDIS_MNEMONIC_TZCNT && !cpu_has(t->c->set->cfg.model, CPUF_BMI1))
        return false;
    if (in->z.mnemonic == ZYDIS_MNEMONIC_LZCNT && !cpu_has(t->c->set->cfg.model, CPUF_LZCNT))
        return false;
    if ((i->flags & INSN_MEM) && (in->z.opcode_map == ZYDIS_OPCODE_MAP_0F) &&
        (in->z.opcode == 0xa3 || in->z.opcode == 0xab || in->z.opcode == 0xb3 || in->z.opcode == 0xbb))
        return false; /* BT and its kin with a bit string in memory */
    if (is_x87(&in->z) && (i->flags & INSN_MEM) && i->seg >= X86_FS)
        return false; /* the data pointer is an offset */
    for (unsigned n = 0; n < in->z.operand_count; n++) {
        if (!operand_ok(t, in, &in->ops[n]))
            return false;
        if (n < in->z.operand_count_visible && is_high_byte(&in->ops[n])) {
            high++;
            high_written += is_written(&in->ops[n]);
        }
    }
    return high == 0 || (high_written < 2 && in->z.mnemonic != ZYDIS_MNEMONIC_XCHG &&
                         in->z.mnemonic != ZYDIS_MNEMONIC_XADD && in->z.mnemonic != ZYDIS_MNEMONIC_CMPXCHG);
}

/* ---- the instruction as it will be ---- */

/* A general register in one of the encoding's fields. */
struct field {
    bool used, write, pure; /* pure: the old value does not matter */
    bool high;              /* AH to BH */
    uint8_t guest, host;
    unsigned size;
};

struct gen {
    struct tr *t;
    const struct tr_insn *in;
    struct enc x;
    struct field reg, rm, vvvv;
    const ZydisDecodedOperand *mem;
    bool rcx_in, rcx_out; /* hidden operand CL or ECX */
    bool rcx_busy, temp_busy, addr_busy;
};

/* An operation that reads nothing of what it writes, when it writes 32 or 64 bits. */
static bool overwrites(const struct tr_insn *in, const ZydisDecodedOperand *o)
{
    switch (in->z.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_MOVBE: return o->size >= 32 && o->actions == ZYDIS_OPERAND_ACTION_WRITE;
    default: return false;
    }
}

static void set_field(struct gen *g, struct field *f, const ZydisDecodedOperand *o, unsigned guest)
{
    f->used = true;
    f->high = is_high_byte(o);
    f->guest = (uint8_t)(f->high ? guest - 4 : guest);
    f->write = is_written(o);
    f->pure = overwrites(g->in, o);
    f->size = o->size / 8;
    f->host = jit_host_reg[f->guest];
}

/* The fields' numbers as the guest wrote them. */
static void raw_fields(struct gen *g, unsigned *reg, unsigned *rm, unsigned *vvvv)
{
    const ZydisDecodedInstruction *z = &g->in->z;
    bool vex = z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    unsigned r = vex ? !z->raw.vex.R : z->raw.rex.R, b = vex ? !z->raw.vex.B : z->raw.rex.B;

    if (!g->t->code64)
        r = b = 0;
    *reg = z->raw.modrm.reg | r << 3;
    *rm = z->raw.modrm.rm | b << 3;
    *vvvv = ~z->raw.vex.vvvv & (g->t->code64 ? 15u : 7u);
    if (!(z->attributes & ZYDIS_ATTRIB_HAS_MODRM))
        *rm = (z->opcode & 7u) | b << 3;
}

static void scan_operands(struct gen *g)
{
    const struct tr_insn *in = g->in;
    unsigned reg, rm, vvvv;

    raw_fields(g, &reg, &rm, &vvvv);
    g->x.reg = (uint8_t)reg;
    g->x.rm = rm_reg(rm);
    g->x.vvvv = in->z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? (uint8_t)vvvv : 0;
    for (unsigned n = 0; n < in->z.operand_count; n++) {
        const ZydisDecodedOperand *o = &in->ops[n];

        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && n < in->z.operand_count_visible) {
            g->mem = o;
        } else if (is_gpr(o) && o->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
            if (ZydisRegisterGetId(o->reg.value) == X86_RCX) {
                g->rcx_in = true;
                g->rcx_out |= is_written(o);
            }
        } else if (is_gpr(o)) {
            switch (o->encoding) {
            case ZYDIS_OPERAND_ENCODING_MODRM_REG: set_field(g, &g->reg, o, reg); break;
            case ZYDIS_OPERAND_ENCODING_MODRM_RM:
            case ZYDIS_OPERAND_ENCODING_OPCODE: set_field(g, &g->rm, o, rm); break;
            case ZYDIS_OPERAND_ENCODING_NDSNDD: set_field(g, &g->vvvv, o, vvvv); break;
            default: /* CL of a shift; or the accumulator, see normalise */
                g->rcx_in |= ZydisRegisterGetId(o->reg.value) == X86_RCX;
                break;
            }
        } else if (is_vector(o) || is_mmx(o)) {
            unsigned id = (unsigned)ZydisRegisterGetId(o->reg.value);
            if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
                g->x.reg = (uint8_t)id;
            else if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
                g->x.rm = rm_reg(id);
        }
    }
}

static void accumulator(struct field *f, const ZydisDecodedOperand *o)
{
    *f = (struct field){.used = true, .guest = X86_RAX, .host = H_RAX, .write = is_written(o), .size = o->size / 8};
}

/* Short forms become those with ModRM. */
static void normalise(struct gen *g)
{
    const struct tr_insn *in = g->in;
    unsigned op = in->z.opcode;

    if (in->z.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
        return;
    if (op == 0x82) /* like 80, outside 64-bit code */
        g->x.opcode = 0x80;
    if (in->z.attributes & ZYDIS_ATTRIB_HAS_MODRM)
        return;
    if (op < 0x40 && (op & 6) == 4) { /* arithmetic of the accumulator with an immediate */
        g->x.opcode = 0x80 | (op & 1);
        g->x.reg = (uint8_t)(op >> 3 & 7);
        accumulator(&g->rm, &in->ops[0]);
    } else if (op >= 0x40 && op < 0x50) { /* INC, DEC outside 64-bit code */
        g->x.opcode = 0xff;
        g->x.reg = op >= 0x48;
    } else if (op >= 0x90 && op < 0x98 && in->z.mnemonic == ZYDIS_MNEMONIC_XCHG) { /* XCHG with the accumulator */
        g->x.opcode = 0x87;
        accumulator(&g->reg, &in->ops[0]);
        g->reg.write = true;
    } else if (op >= 0xa0 && op < 0xa4) { /* MOV with an absolute address */
        g->x.opcode = op < 0xa2 ? 0x8a | (op & 1) : 0x88 | (op & 1);
        accumulator(&g->reg, &in->ops[op >= 0xa2]);
    } else if (op == 0xa8 || op == 0xa9) { /* TEST */
        g->x.opcode = 0xf6 | (op & 1);
        g->x.reg = 0;
        accumulator(&g->rm, &in->ops[0]);
    } else if (op >= 0xb0 && op < 0xc0) { /* MOV immediate */
        g->x.opcode = op < 0xb8 ? 0xc6 : 0xc7;
        g->x.reg = 0;
    }
}

/* A lone vCPU's read-modify-write needs no LOCK, for devices know no protocol in which both sides modify a word; Linux
 * takes its own prefixes out, too, when it has one processor. What serves as a barrier keeps it, for devices do run at
 * the same time: additions of a constant to what lies on the stack, and of zero. */
static bool needs_lock(const struct gen *g)
{
    const struct insn *i = &g->in->i;

    return g->t->c->set->cfg.count > 1 || i->base == X86_RSP || (g->in->z.raw.imm[0].size && i->imm == 0);
}

/* VEX.W stands for general registers of 64 bits, that only 64-bit code has, though none is named; elsewhere it is a part of the
 * opcode. */
static bool ignores_w(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VPINSRD:
    case ZYDIS_MNEMONIC_VCVTSI2SS:
    case ZYDIS_MNEMONIC_VCVTSI2SD:
    case ZYDIS_MNEMONIC_VPCMPESTRI:
    case ZYDIS_MNEMONIC_VPCMPESTRM: return true;
    default: return false;
    }
}

static void set_prefixes(struct gen *g)
{
    const ZydisDecodedInstruction *z = &g->in->z;
    struct enc *x = &g->x;

    x->opcode = z->opcode;
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        x->vex = true;
        x->map = z->raw.vex.m_mmmm;
        x->pp = z->raw.vex.pp;
        x->l = z->raw.vex.L;
        x->w = z->raw.vex.W;
        if (!g->t->code64 && (g->reg.used || g->rm.used || g->vvvv.used || ignores_w(z->mnemonic)))
            x->w = false;
        return;
    }
    x->map = z->opcode_map == ZYDIS_OPCODE_MAP_0F     ? MAP_0F
             : z->opcode_map == ZYDIS_OPCODE_MAP_0F38 ? MAP_0F38
             : z->opcode_map == ZYDIS_OPCODE_MAP_0F3A ? MAP_0F3A
                                                      : MAP_ONE;
    x->w = z->raw.rex.W;
    for (unsigned n = 0; n < z->raw.prefix_count; n++) {
        uint8_t p = z->raw.prefixes[n].value;
        if (p == 0xf0 && !needs_lock(g))
            continue;
        if ((p == 0x66 || p == 0xf2 || p == 0xf3 || p == 0xf0) && x->legacy_count < 4 &&
            !(is_x87(z) && p != 0xf0))
            x->legacy[x->legacy_count++] = p;
    }
}

static void set_immediate(struct gen *g)
{
    const struct tr_insn *in = g->in;
    const ZydisDecodedInstruction *z = &in->z;
    unsigned at;

    if (z->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
        at = z->raw.modrm.offset + 1u + z->raw.disp.size / 8u;
        if (z->raw.modrm.mod != 3 && z->raw.modrm.rm == 4 && z->address_width != 16)
            at++; /* SIB */
    } else if (z->raw.imm[0].size) {
        at = z->raw.imm[0].offset;
    } else {
        return;
    }
    g->x.imm_size = (uint8_t)(z->length - at);
    memcpy(&g->x.imm, in->i.bytes + at, g->x.imm_size);
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && !g->t->code64 && g->x.imm_size == 1)
        for (unsigned n = 0; n < z->operand_count_visible; n++)
            if (in->ops[n].encoding == ZYDIS_OPERAND_ENCODING_IS4)
                g->x.imm &= 0x7f;
}

/* ---- registers ---- */

static unsigned take_scratch(struct gen *g)
{
    if (!g->temp_busy) {
        g->temp_busy = true;
        return H_TEMP;
    }
    if (!g->rcx_busy) {
        g->rcx_busy = true;
        return H_SLOT;
    }
    g->addr_busy = true;
    return H_ADDR;
}

/* Whether the field of a register that lives in memory may be that memory. */
static bool memory_form(const struct gen *g, const struct field *f)
{
    switch (g->in->z.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_XCHG:
    case ZYDIS_MNEMONIC_XADD:
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_BSWAP: return false;
    default: break;
    }
    return unit_of(g->in) == UNIT_INT && (!f->write || f->size == 8);
}

static void load_high(struct emit *e, const struct field *f, unsigned scratch)
{
    emit_rorx(e, false, scratch, rm_reg(f->host), 8);
}

static void store_high(struct emit *e, const struct field *f, unsigned scratch)
{
    if (scratch != H_SLOT)
        emit_load(e, false, H_SLOT, rm_reg(scratch));
    if (f->host != H_GRCX) { /* mov ah, cl and so on */
        emit_enc(e, &(struct enc){.opcode = 0x88, .no_rex = true, .reg = H_RCX, .rm = rm_reg(f->host + 4u)});
        return;
    }
    emit_rorx(e, true, H_GRCX, rm_reg(H_GRCX), 8);
    emit_enc(e, &(struct enc){.opcode = 0x88, .reg = H_RCX, .rm = rm_reg(H_GRCX)});
    emit_rorx(e, true, H_GRCX, rm_reg(H_GRCX), 56);
}

/* Brings a register into the host; returns its number. */
static unsigned bring(struct gen *g, struct field *f)
{
    struct emit *e = &g->t->hot;

    if (f->high) {
        unsigned s = take_scratch(g);
        load_high(e, f, s);
        return s;
    }
    if (f->host != H_NONE)
        return f->host;
    unsigned s = take_scratch(g);
    if (!f->pure)
        emit_load(e, true, s, STATE(OFF_GPR(f->guest)));
    return s;
}

static void put_back(struct gen *g, const struct field *f, unsigned host)
{
    if (!f->used || !f->write)
        return;
    if (f->high)
        store_high(&g->t->hot, f, host);
    else if (f->host == H_NONE)
        emit_store(&g->t->hot, true, host, STATE(OFF_GPR(f->guest)));
}

/* ---- emission ---- */

static bool is_byte(const struct field *f)
{
    return f->used && f->size == 1;
}

static unsigned count_scratch(const struct gen *g)
{
    unsigned n = 0;

    n += g->reg.used && (g->reg.high || g->reg.host == H_NONE);
    n += g->vvvv.used && g->vvvv.host == H_NONE;
    n += g->rm.used && (g->rm.high || (g->rm.host == H_NONE && !memory_form(g, &g->rm)));
    return n;
}

static void memory_operand(struct gen *g)
{
    struct tr *t = g->t;
    struct tr_place p = tr_operand_place(g->in);

    /* the data pointer of x87 wants the address itself */
    g->x.rm = tr_memory(t, &p, 0, g->mem->size / 8, is_written(g->mem) ? TLB_WRITE : TLB_READ, is_x87(&g->in->z));
    if (g->rcx_in || g->rcx_out || count_scratch(g) > 1 || g->reg.high) {
        g->x.rm = tr_collapse(t, g->x.rm);
        g->rcx_busy = false;
        g->addr_busy = true;
    } else {
        g->rcx_busy = true;
        g->addr_busy = g->x.rm.base == H_ADDR;
    }
}

/* The last x87 instruction, as FNSTENV and FXSAVE report it. */
static void x87_pointers(struct gen *g)
{
    const struct tr_insn *in = g->in;
    uint16_t fop = (uint16_t)((in->z.opcode & 7) << 8 | in->i.bytes[in->z.raw.modrm.offset]);

    switch (in->z.mnemonic) {
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FNSTSW:
    case ZYDIS_MNEMONIC_FLDCW:
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FWAIT: return;
    default: break;
    }
    if (g->mem)
        emit_store(&g->t->hot, true, H_ADDR, STATE(OFF(s.fpu.fdp)));
    g->t->x87_last = (struct x87_last){.known = true, .rip = in->rip, .fop = fop};
}

static void emit_lea_insn(struct gen *g)
{
    const struct insn *i = &g->in->i;
    struct emit *e = &g->t->hot;
    unsigned dst = g->reg.host != H_NONE ? g->reg.host : H_TEMP;
    struct rm m = {.mem = true, .base = H_NONE, .index = H_NONE, .scale = i->scale, .disp = (int32_t)i->disp};

    if (dst == H_TEMP && i->opsize == 2)
        emit_load(e, true, H_TEMP, STATE(OFF_GPR(g->reg.guest)));
    if (i->base == REG_RIP || (i->base == REG_NONE && i->index == REG_NONE)) {
        uint64_t a = (uint64_t)i->disp + (i->base == REG_RIP ? g->in->rip + i->len : 0);
        unsigned to = i->opsize == 2 ? H_ADDR : dst;
        a = i->opsize == 8 && i->addrsize == 8 ? a : (uint32_t)a;
        if (i->base == REG_RIP)
            tr_mov_rip(g->t, e, to, a);
        else
            emit_mov_imm(e, to, a);
        m.base = H_ADDR; /* for the 16-bit form */
        m.disp = 0;
    }
    if (i->base < 16) {
        m.base = jit_host_reg[i->base];
        if (m.base == H_NONE)
            emit_load(e, true, m.base = H_ADDR, STATE(OFF_GPR(i->base)));
    }
    if (i->index < 16) {
        m.index = jit_host_reg[i->index];
        if (m.index == H_NONE)
            emit_load(e, true, m.index = H_SLOT, STATE(OFF_GPR(i->index)));
    }
    if (i->base < 16 || i->index < 16 || i->opsize == 2) {
        struct enc x = {.w = i->opsize == 8 && i->addrsize == 8, .opcode = 0x8d, .reg = (uint8_t)dst, .rm = m};
        if (i->opsize == 2)
            x.legacy[x.legacy_count++] = 0x66;
        emit_enc(e, &x);
    }
    put_back(g, &g->reg, dst);
}

/* MOV of a constant to a register: shorter than with ModRM, and the only one with 64 bits. */
static bool emit_mov_constant(struct gen *g)
{
    const struct insn *i = &g->in->i;
    bool form = g->in->z.mnemonic == ZYDIS_MNEMONIC_MOV && g->rm.used && !g->reg.used && i->opsize >= 4 &&
                (g->x.opcode == 0xc7);

    if (!form)
        return false;
    unsigned dst = g->rm.host != H_NONE ? g->rm.host : H_TEMP;
    uint64_t v = g->in->z.raw.imm[0].is_signed ? (uint64_t)g->in->z.raw.imm[0].value.s : g->in->z.raw.imm[0].value.u;
    emit_mov_imm(&g->t->hot, dst, i->opsize == 8 ? v : (uint32_t)v);
    put_back(g, &g->rm, dst);
    return true;
}

static void emit_bswap(struct gen *g)
{
    struct emit *e = &g->t->hot;
    unsigned r = bring(g, &g->rm);

    emit8(e, 0x40 | (g->x.w ? 8u : 0) | r >> 3);
    emit8(e, 0x0f);
    emit8(e, 0xc8 | (r & 7));
    put_back(g, &g->rm, r);
}

/* Instructions without operands in their encoding: CBW, CQO, LAHF, FWAIT, EMMS and their like. */
static void emit_bare(struct gen *g)
{
    struct emit *e = &g->t->hot;

    emit_bytes(e, g->x.legacy, g->x.legacy_count);
    if (g->x.vex) { /* VZEROUPPER, VZEROALL */
        emit_bytes(e, g->in->i.bytes, g->in->i.len);
        return;
    }
    if (g->x.w)
        emit8(e, 0x48);
    if (g->x.map == MAP_0F)
        emit8(e, 0x0f);
    emit8(e, g->x.opcode);
}

/* Outside 64-bit code VZEROUPPER and VZEROALL leave the upper eight registers alone. */
static bool is_half_zeroing(const struct gen *g)
{
    return !g->t->code64 &&
           (g->in->z.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER || g->in->z.mnemonic == ZYDIS_MNEMONIC_VZEROALL);
}

static void emit_half_zeroing(struct gen *g)
{
    bool all = g->in->z.mnemonic == ZYDIS_MNEMONIC_VZEROALL;

    for (uint8_t n = 0; n < 8; n++) /* VPXOR, or VMOVAPS of the register to itself, clears the upper half */
        emit_enc(&g->t->hot, &(struct enc){.vex = true, .map = MAP_0F, .pp = all ? 1 : 0, .opcode = all ? 0xef : 0x28,
                                           .reg = n, .vvvv = all ? n : 0, .rm = rm_reg(n)});
}

static bool is_bare(const struct gen *g)
{
    return !(g->in->z.attributes & ZYDIS_ATTRIB_HAS_MODRM) && !g->rm.used && !g->reg.used && !g->mem;
}

static void emit_ordinary(struct gen *g)
{
    struct emit *e = &g->t->hot;
    unsigned reg = 0, rm = 0, vvvv = 0;

    if (g->mem)
        memory_operand(g);
    if (g->rcx_in) {
        g->rcx_busy = true;
        emit_load(e, true, H_RCX, rm_reg(H_GRCX));
    }
    if (g->reg.used)
        g->x.reg = (uint8_t)(reg = bring(g, &g->reg));
    if (g->vvvv.used)
        g->x.vvvv = (uint8_t)(vvvv = bring(g, &g->vvvv));
    if (g->rm.used) {
        if (g->rm.host == H_NONE && memory_form(g, &g->rm))
            g->x.rm = STATE(OFF_GPR(g->rm.guest));
        else
            g->x.rm = rm_reg(rm = bring(g, &g->rm));
    }
    g->x.byte_reg = is_byte(&g->reg);
    g->x.byte_rm = is_byte(&g->rm);
    emit_enc(e, &g->x);
    if (g->rcx_out)
        emit_load(e, true, H_GRCX, rm_reg(H_RCX));
    if (g->vvvv.used) /* first: the register may be the same, and is the upper half's then */
        put_back(g, &g->vvvv, vvvv);
    put_back(g, &g->reg, reg);
    if (g->rm.used && !g->x.rm.mem)
        put_back(g, &g->rm, rm);
}

static bool may_trap(const struct gen *g, enum unit u)
{
    return u != UNIT_INT || g->in->z.mnemonic == ZYDIS_MNEMONIC_DIV || g->in->z.mnemonic == ZYDIS_MNEMONIC_IDIV ||
           g->in->z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B;
}

/* Whether H_SLOT has been left alone, or holds the addend of the operand's group. */
static unsigned group_in_slot(const struct gen *g, unsigned before)
{
    bool plain = !g->rcx_in && !g->rcx_out && !g->reg.high && !g->rm.high && g->in->z.mnemonic != ZYDIS_MNEMONIC_LEA;

    if (!plain)
        return 0;
    if (!g->mem)
        return g->rcx_busy ? 0 : before;
    return g->x.rm.mem && g->x.rm.index == H_SLOT ? g->in->access[0].group : 0;
}

void tr_generic_uses(const struct tr_insn *in, bool *vec, bool *x87)
{
    enum unit u = unit_of(in);

    *vec = u == UNIT_VEC;
    *x87 = u == UNIT_X87;
}

void tr_generic(struct tr *t)
{
    struct gen g = {.t = t, .in = t->in};
    enum unit u = unit_of(t->in);

    scan_operands(&g);
    set_prefixes(&g);
    set_immediate(&g);
    normalise(&g);
    unsigned slot = t->slot_group;
    if (u == UNIT_VEC)
        tr_need_vec(t);
    else if (u == UNIT_X87)
        tr_need_x87(t);
    if (!t->slot_group)
        slot = 0;
    /* a host exception is looked up by the address of the instruction that raised it */
    uint8_t *before = t->hot.p;
    if (t->in->z.mnemonic == ZYDIS_MNEMONIC_LEA)
        emit_lea_insn(&g);
    else if (emit_mov_constant(&g))
        return;
    else if (t->in->z.mnemonic == ZYDIS_MNEMONIC_BSWAP)
        emit_bswap(&g);
    else if (is_half_zeroing(&g))
        emit_half_zeroing(&g);
    else if (is_bare(&g))
        emit_bare(&g);
    else
        emit_ordinary(&g);
    t->slot_group = group_in_slot(&g, slot);
    if (may_trap(&g, u))
        tr_trap_site(t, before);
    if (is_x87(&t->in->z))
        x87_pointers(&g);
}
