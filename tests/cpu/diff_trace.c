/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interpreter's execution of a block, with eyes on what is undefined. */
#include <string.h>

#include "tests/cpu/diff_block.h"
#include "tests/cpu/diff_gen.h"
#include "vmm/base/bits.h"

void trace_begin(struct diff_trace *t)
{
    memset(t, 0, sizeof(*t));
}

/* Alone such an instruction is fine, but in a block which components are in use depends on the processor. */
static bool saves_components(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64: return true;
    default: return false;
    }
}

/* A repeated string instruction may read anything nearby. */
static bool reads_undefined(const struct diff_trace *t, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    if (z->cpu_flags && (z->cpu_flags->tested & t->undefined))
        return true;
    if (!t->blanks)
        return false;
    if (z->mnemonic == ZYDIS_MNEMONIC_ENTER) /* reads frame pointers */
        return true;
    const unsigned repeated = z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
    for (unsigned n = 0; n < z->operand_count; n++) {
        if (ops[n].type != ZYDIS_OPERAND_TYPE_MEMORY || !(ops[n].actions & ZYDIS_OPERAND_ACTION_MASK_READ))
            continue;
        if (repeated || ops[n].mem.type == ZYDIS_MEMOP_TYPE_VSIB)
            return true;
        const bool stack = ops[n].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
                           ZydisRegisterGetId(ops[n].mem.base) == X86_RSP; /* of any address size */
        const uint64_t a = stack ? t->last.before.gpr[X86_RSP] : aim_address(&t->last, z, &ops[n]);
        for (unsigned k = 0; k < t->blanks; k++)
            if (a < t->blank[k].address + t->blank[k].size && t->blank[k].address < a + MAX(ops[n].size / 8, 832u))
                return true;
    }
    return false;
}

/* AMD has a bit of MXCSR that is reserved elsewhere. */
static bool loads_mxcsr_bit17(struct soft *reference, ZydisMnemonic m, uint64_t a)
{
    const uint64_t at = a - DATA_BASE + (m == ZYDIS_MNEMONIC_LDMXCSR || m == ZYDIS_MNEMONIC_VLDMXCSR ? 0 : 24);

    switch (m) {
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64: return at <= DATA_SIZE - 4 && (ld_le32(soft_window(reference) + at) & 1u << 17);
    default: return false;
    }
}

/* Translated code reads and writes nothing there, without a fault: the page of TLB_NEVER, and what reaches into it. And
 * with AC, which of the checks comes first for areas and gathered elements depends on the processor. */
static bool differs(const struct diff_trace *t, struct soft *reference, const ZydisDecodedInstruction *z,
                    const ZydisDecodedOperand *ops)
{
    const uint64_t rflags = soft_rflags(reference);

    if (t->info.state_area && (rflags & X86_AC))
        return true;
    for (unsigned n = 0; n < z->operand_count; n++) {
        if (ops[n].type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        if (ops[n].mem.segment == ZYDIS_REGISTER_FS && !t->last.code32) /* the host's thread-local data */
            return true;
        if (ops[n].mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
            if (rflags & X86_AC)
                return true;
            continue;
        }
        const uint64_t a = aim_address(&t->last, z, &ops[n]);
        if (a - (BIT64(63) - 4096) < 3 * 4096u || loads_mxcsr_bit17(reference, z->mnemonic, a))
            return true;
        if (t->info.state_area && t->last.code32 && a > UINT32_MAX - 108) /* beyond the limit, or a page that is missing */
            return true;
    }
    return false;
}

/* What overwrites itself may be fetched again at any repetition. */
static bool repeats(const ZydisDecodedInstruction *z)
{
    for (unsigned n = 0; n < z->raw.prefix_count; n++)
        if (z->raw.prefixes[n].value == 0xf2 || z->raw.prefixes[n].value == 0xf3)
            return true;
    return false;
}

static bool note_blanks(struct diff_trace *t)
{
    struct diff_blank b[DIFF_BLANKS];
    const unsigned count = diff_undefined_memory(&t->last, &t->info, b);

    for (unsigned n = 0; n < count; n++) {
        if (t->blanks == TRACE_BLANKS || b[n].address - DATA_BASE >= DATA_SIZE)
            return false;
        t->blank[t->blanks++] = b[n];
    }
    return true;
}

static bool completed(struct diff_trace *t)
{
    t->steps++;
    t->undefined = ((t->undefined & ~t->info.written_flags) | t->info.undefined_flags) & X86_STATUS_FLAGS;
    t->executed[t->last.rip - CODE_BASE] = t->last.len;
    t->has[t->info.mnemonic] = true;
    return note_blanks(t);
}

enum trace_result trace_step(struct diff_trace *t, struct soft *reference, bool code32)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    const uint64_t rip = soft_rip(reference), at = rip - CODE_BASE;

    t->last.code32 = code32;
    t->last.rip = rip;
    for (unsigned n = 0; n < 16; n++)
        t->last.before.gpr[n] = soft_gpr(reference, n);
    if (at >= CODE_SIZE) { /* there is nothing elsewhere */
        t->last.len = 0;
        memset(&t->info, 0, sizeof(t->info));
        return soft_step(reference) ? TRACE_UNUSABLE : TRACE_RAISED;
    }
    t->last.len = (uint8_t)MIN(CODE_SIZE - at, sizeof(t->last.bytes));
    memcpy(t->last.bytes, soft_code(reference) + at, t->last.len);
    if (!gen_describe(&t->last, &t->info, &z, ops))
        return TRACE_UNUSABLE;
    if (t->info.mnemonic && differs(t, reference, &z, ops))
        return TRACE_UNUSABLE;
    if (t->info.mnemonic && (saves_components(z.mnemonic) || reads_undefined(t, &z, ops)))
        return TRACE_UNUSABLE;
    bool raised = !soft_step(reference);
    if (repeats(&z) && memcmp(soft_code(reference) + at, t->last.bytes, t->last.len) != 0)
        return TRACE_UNUSABLE;
    if (raised) /* a trap has completed it */
        return note_blanks(t) ? TRACE_RAISED : TRACE_UNUSABLE;
    return t->info.mnemonic && completed(t) ? TRACE_ON : TRACE_UNUSABLE;
}
