/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cpu/decode/decode.h"

#include <Zydis/Zydis.h>
#include <pthread.h>
#include <string.h>

#include "vmm/cpu/interp/ops.h"
#include "vmm/cpu/sys.h"

struct row {
    insn_fn *exec;
    insn_select_fn *select; /* or NULL */
    uint8_t flags;
};

static struct row rows[ZYDIS_MNEMONIC_MAX_VALUE + 1];
static ZydisDecoder decoders[3]; /* 64, 32, 16 bits */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init(void)
{
    static const struct {
        uint16_t mnemonic;
        struct row row;
    } table[] = {
#define INSN(m, fn, fl)   {ZYDIS_MNEMONIC_##m, {fn, NULL, fl}},
#define SELECT(m, fn, fl) {ZYDIS_MNEMONIC_##m, {NULL, fn, fl}},
#include "vmm/cpu/decode/insn.def"
#include "vmm/cpu/decode/insn_sys.def"
#undef SELECT
#undef INSN
    };

    for (unsigned i = 0; i < ARRAY_LEN(table); i++)
        rows[table[i].mnemonic] = table[i].row;
    ZydisDecoderInit(&decoders[0], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecoderInit(&decoders[1], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&decoders[2], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    for (unsigned i = 0; i < ARRAY_LEN(decoders); i++) { /* without these features, their opcodes are NOPs */
        ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
    }
}

static uint8_t gpr_number(ZydisRegister r)
{
    if (r == ZYDIS_REGISTER_NONE)
        return REG_NONE;
    if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
        return REG_RIP;
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return (uint8_t)ZydisRegisterGetId(r);
    default: return REG_NONE; /* vector index registers are the vector module's */
    }
}

static uint8_t sreg_number(ZydisRegister r)
{
    switch (r) {
    case ZYDIS_REGISTER_ES: return X86_ES;
    case ZYDIS_REGISTER_CS: return X86_CS;
    case ZYDIS_REGISTER_SS: return X86_SS;
    case ZYDIS_REGISTER_FS: return X86_FS;
    case ZYDIS_REGISTER_GS: return X86_GS;
    default: return X86_DS;
    }
}

/* With mod 0, SIB base 5 is no register but a 32-bit displacement, whatever REX.B says; Zydis 4.0 forgets that when
 * the address size is 32 in 64-bit code. */
static bool sib_without_base(const ZydisDecodedInstruction *z)
{
    return z->address_width != 16 && z->raw.modrm.mod == 0 && z->raw.modrm.rm == 4 && z->raw.sib.base == 5;
}

static void set_memory(struct insn *i, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op)
{
    i->base = gpr_number(op->mem.base);
    i->index = gpr_number(op->mem.index);
    i->scale = op->mem.scale ? op->mem.scale : 1;
    i->seg = sreg_number(op->mem.segment);
    i->disp = op->mem.disp.has_displacement ? op->mem.disp.value : 0;
    i->memsize = (uint8_t)(op->size / 8 <= 255 ? op->size / 8 : 0);
    if ((i->flags & INSN_MEM) && sib_without_base(z)) {
        i->base = REG_NONE;
        i->disp = z->raw.disp.value;
    }
}

/* Numbers of register operands, by where the encoding holds them. */
static void set_registers(struct insn *i, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    bool vex = z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    unsigned r = vex ? !z->raw.vex.R : z->raw.rex.R, b = vex ? !z->raw.vex.B : z->raw.rex.B;

    if (!(i->mode & MODE_CODE64))
        r = b = 0;
    i->reg = (uint8_t)(z->raw.modrm.reg | r << 3);
    i->rm = (uint8_t)(z->raw.modrm.rm | b << 3);
    if (!(z->attributes & ZYDIS_ATTRIB_HAS_MODRM)) /* in the opcode, or the accumulator */
        i->rm = z->operand_count && ops[0].encoding == ZYDIS_OPERAND_ENCODING_OPCODE
                    ? (uint8_t)((z->opcode & 7) | b << 3)
                    : X86_RAX;
    i->vvvv = vex ? (uint8_t)(~z->raw.vex.vvvv & 15) : REG_NONE;
    if (vex && !(i->mode & MODE_CODE64))
        i->vvvv &= 7;
}

static enum insn_form form_of(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    bool imm = z->raw.imm[0].size > 0;
    bool first_rm = ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY || ops[0].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
                    ops[0].encoding == ZYDIS_OPERAND_ENCODING_OPCODE || ops[0].encoding == ZYDIS_OPERAND_ENCODING_NONE;

    if (z->operand_count_visible <= 1)
        return FORM_RM;
    if (ops[0].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
        return z->operand_count_visible == 3 && imm ? FORM_R_RM_I : FORM_R_RM;
    if (first_rm && imm && ops[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return FORM_RM_I;
    return FORM_RM_R;
}

static void set_immediates(struct insn *i, const ZydisDecodedInstruction *z)
{
    i->imm = z->raw.imm[0].is_signed ? (uint64_t)z->raw.imm[0].value.s : z->raw.imm[0].value.u;
    i->aux = z->raw.imm[1].value.u;
    /* ALU immediates of 32 bits are kept sign-extended, as 64-bit operations want them */
}

static enum decode_result undefined(struct insn *i, unsigned len)
{
    i->exec = op_ud;
    i->len = (uint8_t)len;
    i->flags = 0;
    return DECODE_END;
}

/* Features whose instructions share no mnemonic with others; an absent one means #UD. */
static bool feature_missing(enum cpu_model m, const ZydisDecodedInstruction *z)
{
    switch (z->meta.isa_set) {
    case ZYDIS_ISA_SET_BMI1: return z->mnemonic != ZYDIS_MNEMONIC_TZCNT && !cpu_has(m, CPUF_BMI1);
    case ZYDIS_ISA_SET_BMI2: return !cpu_has(m, CPUF_BMI2);
    case ZYDIS_ISA_SET_ADOX_ADCX: return !cpu_has(m, CPUF_ADX);
    case ZYDIS_ISA_SET_MOVBE: return !cpu_has(m, CPUF_MOVBE);
    case ZYDIS_ISA_SET_CLFLUSHOPT: return !cpu_has(m, CPUF_CLFLUSHOPT);
    case ZYDIS_ISA_SET_CLWB: return !cpu_has(m, CPUF_CLWB);
    case ZYDIS_ISA_SET_CMPXCHG16B: return !cpu_has(m, CPUF_CX16);
    default: break;
    }
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_POPCNT: return !cpu_has(m, CPUF_POPCNT);
    case ZYDIS_MNEMONIC_CRC32: return !cpu_has(m, CPUF_SSE42);
    default: return false;
    }
}

/* MOV to and from segment, control and debug registers, PUSH and POP of segment registers, far transfers: they share
 * their mnemonic with ordinary instructions. Returns false when it is none of them. */
static bool decode_special(struct insn *i, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    bool two = z->opcode_map == ZYDIS_OPCODE_MAP_0F;

    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        if (!two && z->opcode == 0x8c)
            i->exec = op_mov_from_sreg;
        else if (!two && z->opcode == 0x8e)
            i->exec = op_mov_to_sreg;
        else if (two && z->opcode == 0x20)
            i->exec = op_mov_from_cr;
        else if (two && z->opcode == 0x22)
            i->exec = op_mov_to_cr;
        else if (two && z->opcode == 0x21)
            i->exec = op_mov_from_dr;
        else if (two && z->opcode == 0x23)
            i->exec = op_mov_to_dr;
        else
            return false;
        return true;
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
        if (ops[0].type != ZYDIS_OPERAND_TYPE_REGISTER ||
            ZydisRegisterGetClass(ops[0].reg.value) != ZYDIS_REGCLASS_SEGMENT)
            return false;
        i->reg = sreg_number(ops[0].reg.value);
        i->exec = z->mnemonic == ZYDIS_MNEMONIC_PUSH ? op_push_sreg : op_pop_sreg;
        return true;
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_JMP:
        if (z->meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
            return false;
        i->exec = z->mnemonic == ZYDIS_MNEMONIC_CALL ? op_call_far : op_jmp_far;
        if (ops[0].type == ZYDIS_OPERAND_TYPE_POINTER) {
            i->imm = ops[0].ptr.offset;
            i->aux = ops[0].ptr.segment;
        }
        return true;
    case ZYDIS_MNEMONIC_RET:
        if (z->meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
            return false;
        i->exec = op_ret_far;
        return true;
    default: return false;
    }
}

enum decode_result insn_decode(struct cpu *c, const uint8_t *bytes, unsigned len, struct insn *i)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];

    return insn_decode_full(c, bytes, len, i, &z, ops);
}

enum decode_result insn_decode_full(struct cpu *c, const uint8_t *bytes, unsigned len, struct insn *i, void *zinsn,
                                    void *zops)
{
    ZydisDecodedInstruction *z = zinsn;
    ZydisDecodedOperand *ops = zops;
    const ZydisDecoder *d;

    pthread_once(&once, init);
    d = &decoders[c->mode & MODE_CODE64 ? 0 : c->mode & MODE_CODE32 ? 1 : 2];
    memset(i, 0, sizeof(*i));
    i->mode = c->mode;
    ZyanStatus st = ZydisDecoderDecodeFull(d, bytes, len, z, ops);
    if (st == ZYDIS_STATUS_NO_MORE_DATA || st == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
        return DECODE_MORE;
    if (ZYAN_FAILED(st)) /* LOCK where it is not allowed is among them */
        return undefined(i, len);

    i->len = z->length;
    memcpy(i->bytes, bytes, z->length);
    i->mnemonic = z->mnemonic;
    i->opcode = z->opcode;
    i->has_modrm = !!(z->attributes & ZYDIS_ATTRIB_HAS_MODRM);
    i->opsize = (uint8_t)(z->operand_width / 8);
    i->addrsize = z->address_width / 8;
    i->base = i->index = REG_NONE;
    i->scale = 1;
    i->seg = X86_DS;
    if (z->attributes & ZYDIS_ATTRIB_HAS_LOCK)
        i->flags |= INSN_LOCK;
    if (z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
        i->flags |= INSN_REP;
    if (z->attributes & ZYDIS_ATTRIB_HAS_REPNE)
        i->flags |= INSN_REPNE;
    if (z->raw.prefix_count && (z->attributes & ZYDIS_ATTRIB_HAS_REX))
        i->flags |= INSN_REX;
    set_registers(i, z, ops);
    set_immediates(i, z);
    i->cond = z->opcode & 15;
    i->form = form_of(z, ops);
    for (unsigned k = 0; k < z->operand_count; k++)
        if (ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            if (k < z->operand_count_visible && (z->attributes & ZYDIS_ATTRIB_HAS_MODRM))
                i->flags |= INSN_MEM;
            if (!(i->flags & INSN_MEM) || k < z->operand_count_visible)
                set_memory(i, z, &ops[k]);
            if (i->seg != X86_ES || i->base != X86_RDI)
                break; /* else the destination of a string; what can be overridden is its source */
        }
    if (z->operand_count_visible > 1)
        i->srcsize = (uint8_t)(ops[1].size / 8);

    if (feature_missing(c->set->cfg.model, z))
        return undefined(i, z->length);
    if (decode_special(i, z, ops))
        return i->flags & INSN_LOCK ? undefined(i, z->length) : DECODE_END;
    const struct row *row = &rows[z->mnemonic];
    /* MOVSD and CMPSD name a string and an SSE2 instruction each */
    bool sse2 = (z->mnemonic == ZYDIS_MNEMONIC_MOVSD || z->mnemonic == ZYDIS_MNEMONIC_CMPSD) &&
                z->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT;
    if (sse2 || (!row->exec && !row->select)) {
        if (!vec_decode(c, i, z, ops) || (i->flags & INSN_LOCK))
            return undefined(i, z->length);
        return DECODE_OK;
    }
    i->exec = row->exec ? row->exec : row->select(i);
    if (!i->exec)
        return undefined(i, z->length);
    return row->flags & I_END ? DECODE_END : DECODE_OK;
}
