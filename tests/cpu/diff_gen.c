/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A test: an instruction from a template, registers for it, and what of its result is not defined.
 * Where AMD differs from Intel, whom the guest is told to run on, the case is left out, so that the
 * comparison holds on both. */
#include <stdio.h>
#include <string.h>

#include "tests/cpu/diff_gen.h"
#include "vmm/base/bits.h"

/* A branch into its own bytes would execute something else, or for ever. */
static bool branch_unusable(const struct diff_test *t, const ZydisDecodedInstruction *z)
{
    if (!z->raw.imm[0].is_relative)
        return false;
    uint64_t target = t->rip + t->len + (uint64_t)z->raw.imm[0].value.s;
    if (z->operand_width == 16)
        target &= 0xffff;
    if (t->code32)
        target &= 0xffffffff;
    if (target >> 12 == 0xffffffffff600) /* Linux' vsyscall page */
        return true;
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

/* Instructions that do nothing by a count of 0 leave flags as they are. */
static uint32_t written_flags(const struct diff_test *t, const ZydisDecodedInstruction *z)
{
    const ZydisAccessedFlags *f = z->cpu_flags;

    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SHRD:
        if (!(shift_count(z, t) & (z->operand_width == 64 ? 63 : 31)))
            return 0;
        break;
    default:
        if ((z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) &&
            !(t->before.gpr[X86_RCX] & (z->address_width == 64 ? UINT64_MAX : (1ull << z->address_width) - 1)))
            return 0;
        break;
    }
    return f ? f->modified | f->set_0 | f->set_1 | f->undefined : 0;
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
        return t->rip + t->len > CODE_BASE + CODE_SIZE;
    case ZYDIS_MNEMONIC_VPEXTRD: /* W set outside 64-bit code: ignored by Intel, #UD on AMD */
    case ZYDIS_MNEMONIC_VPINSRD:
        return t->code32 && t->bytes[z->raw.vex.offset] == 0xc4 && (t->bytes[z->raw.vex.offset + 2] & 0x80);
    default:
        return false;
    }
}

bool gen_mask_in_address(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    if (!aim_state_area(z))
        return false;
    for (unsigned n = 0; n < z->operand_count; n++) {
        if (ops[n].type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        const int base = aim_gpr(ops[n].mem.base), index = aim_gpr(ops[n].mem.index);
        if (base == X86_RAX || base == X86_RDX || index == X86_RAX || index == X86_RDX)
            return true;
    }
    return false;
}

static bool try_one(struct diff_test *t, struct diff_info *info)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    uint8_t b[TEMPLATE_BYTES];

    memset(info, 0, sizeof(*info));
    const unsigned mnemonic = template_random(&t->code32, b);
    if (!diff_decode(t->code32, b, 15, &z, ops)) {
        /* LOCK where it must not be, same registers in a gather and the like: #UD on both */
        t->len = 15;
        info->name = "(invalid)";
    } else {
        if (z.mnemonic != mnemonic)
            return false;
        t->len = z.length;
        info->mnemonic = z.mnemonic;
        info->name = ZydisMnemonicGetString(z.mnemonic);
    }
    memcpy(t->bytes, b, sizeof(t->bytes));
    t->rip = CODE_BASE + 0x400 + rnd_below(0x400);
    if (info->mnemonic && rnd_one_in(64))
        t->rip = CODE_BASE + CODE_SIZE - 1 - rnd_below(t->len);
    rnd_regs(&t->before, t->code32);
    t->before.rip = t->rip;
    if (!info->mnemonic)
        return true;
    if (gen_mask_in_address(&z, ops))
        return false;
    aim_operands(t, &z, ops);
    diff_decode(t->code32, t->bytes, t->len, &z, ops); /* the displacement may be another now */
    aim_prepare(t, info, &z, ops);
    aim_branch(t, info, &z, ops);
    diff_decode(t->code32, t->bytes, t->len, &z, ops);
    info->undefined_flags = undefined_flags(t, &z);
    info->operand_width = z.operand_width;
    return !branch_unusable(t, &z) && !undefined_result(&z, t, info->operand);
}

bool gen_describe(struct diff_test *t, struct diff_info *info, ZydisDecodedInstruction *z, ZydisDecodedOperand *ops)
{
    memset(info, 0, sizeof(*info));
    if (!diff_decode(t->code32, t->bytes, t->len, z, ops))
        return true;
    t->len = z->length;
    info->mnemonic = z->mnemonic;
    info->name = ZydisMnemonicGetString(z->mnemonic);
    aim_note(t, info, z, ops);
    info->undefined_flags = undefined_flags(t, z);
    info->written_flags = written_flags(t, z);
    info->operand_width = z->operand_width;
    return template_wanted(z, ops) && !undefined_result(z, t, info->operand) && !gen_mask_in_address(z, ops);
}

bool gen_init(const char *only)
{
    return template_init(only);
}

void gen_next(struct diff_test *t, struct diff_info *info)
{
    while (!try_one(t, info))
        ;
}

void gen_disassemble(const struct diff_test *t, char *buf, unsigned size)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    ZydisFormatter f;

    ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
    if (!diff_decode(t->code32, t->bytes, t->len, &z, ops) ||
        !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&f, &z, ops, z.operand_count_visible, buf, size,
                                                      t->rip, NULL)))
        snprintf(buf, size, "(invalid)");
}
