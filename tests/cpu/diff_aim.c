/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where memory operands point. */
#include <string.h>

#include "tests/cpu/diff_gen.h"
#include "vmm/base/bits.h"

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

uint64_t aim_target(unsigned size)
{
    return pick_target(size, false, true);
}

int aim_gpr(ZydisRegister r)
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
    return aim_gpr(r) < 0 ? 0 : t->before.gpr[aim_gpr(r)] & address_mask(z);
}

static uint64_t offset_of(const struct diff_test *t, const ZydisDecodedInstruction *z,
                          const ZydisDecodedOperand *o)
{
    const uint64_t a = reg_value(t, z, o->mem.base) + reg_value(t, z, o->mem.index) * o->mem.scale +
                       (uint64_t)o->mem.disp.value;
    return a & address_mask(z);
}

static uint64_t segment_base(const ZydisDecodedOperand *o)
{
    return o->mem.segment == ZYDIS_REGISTER_GS ? DIFF_GS_BASE : 0;
}

uint64_t aim_address(const struct diff_test *t, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    return offset_of(t, z, o) + segment_base(o);
}

/* Makes base + index * scale + disp the target where the addressing form allows. */
static void aim(struct diff_test *t, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o,
                uint64_t target)
{
    const int base = aim_gpr(o->mem.base), index = aim_gpr(o->mem.index);
    const unsigned scale = o->mem.scale ? o->mem.scale : 1;
    target -= segment_base(o);
    if (base >= 0 && base != index) {
        if (index >= 0 && index != X86_RSP && rnd_one_in(2))
            t->before.gpr[index] = rnd_below(256);
        t->before.gpr[base] += target - offset_of(t, z, o);
    } else if (index >= 0) {
        t->before.gpr[index] = (target - (uint64_t)o->mem.disp.value) / (base >= 0 ? scale + 1 : scale);
    } else if (z->raw.disp.size == 32) {
        const uint64_t from = aim_gpr(o->mem.base) < 0 && o->mem.base != ZYDIS_REGISTER_NONE ? t->rip + t->len : 0;
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
    if (aim_gpr(o->mem.base) >= 0)
        t->before.gpr[aim_gpr(o->mem.base)] = DATA_BASE + 0x800 + rnd_below(0x1800) - (uint64_t)o->mem.disp.value;
    for (unsigned n = 0; n < 32 && !wild; n += wide ? 8 : 4)
        st_le(v + n, (uint64_t)((int64_t)rnd_below(0x300) - 0x180), wide ? 8 : 4);
    if (t->code32 && aim_gpr(o->mem.base) >= 0)
        t->before.gpr[aim_gpr(o->mem.base)] &= 0xffffffff;
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
    const uint64_t at = address - DATA_BASE;
    const unsigned room = at < DATA_SIZE ? (unsigned)(DATA_SIZE - at) : 0;
    uint8_t *m = diff_initial + (room ? at : 0);
    const bool bad = rnd_one_in(16);
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
        if (room < 4)
            return false;
        /* never bit 17, which AMD has for misaligned operands */
        st_le32(m, (uint32_t)rnd() & (bad ? 0xfffdffff : 0xffff));
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

bool aim_state_area(const ZydisDecodedInstruction *z)
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
    return (aim_state_area(z) && !rnd_one_in(16)) || z->meta.isa_set == ZYDIS_ISA_SET_SHA;
}

void aim_operands(struct diff_test *t, const ZydisDecodedInstruction *z,
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
        const int base = aim_gpr(o->mem.base);
        if (base == X86_RSP && n >= z->operand_count_visible)
            continue; /* the stack has its place */
        if (base < 0 || !aimed[base])
            aim(t, z, o, pick_target(aim_state_area(z) ? 832 : o->size / 8, wants_alignment(z),
                                          n < z->operand_count_visible));
        if (base >= 0)
            aimed[base] = true;
    }
}

/* Half of the branches go to the code page; the others meet what they meet. */
void aim_branch(struct diff_test *t, struct diff_info *info, const ZydisDecodedInstruction *z,
                const ZydisDecodedOperand *ops)
{
    const uint64_t target = CODE_BASE + rnd_below(0x400); /* the instruction is behind that */
    const unsigned size = t->code32 ? 4 : 8;
    uint64_t at = t->before.gpr[X86_RSP];

    if (z->meta.branch_type == ZYDIS_BRANCH_TYPE_NONE || rnd_one_in(2))
        return;
    if (z->raw.imm[0].is_relative) {
        if (z->raw.imm[0].size == 32)
            st_le32(t->bytes + z->raw.imm[0].offset, (uint32_t)(target - t->rip - t->len));
        return;
    }
    if (ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && aim_gpr(ops[0].reg.value) >= 0) {
        t->before.gpr[aim_gpr(ops[0].reg.value)] = target;
        return;
    }
    if (z->mnemonic != ZYDIS_MNEMONIC_RET)
        at = info->operand;
    if (at - DATA_BASE <= DATA_SIZE - size) {
        st_le(diff_initial + (at - DATA_BASE), target, size);
        info->window_changed = true;
    }
}

void aim_note(const struct diff_test *t, struct diff_info *info, const ZydisDecodedInstruction *z,
              const ZydisDecodedOperand *ops)
{
    info->state_area = aim_state_area(z);
    for (unsigned n = 0; n < z->operand_count; n++)
        if (ops[n].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            info->operand = aim_address(t, z, &ops[n]);
            break;
        }
}

void aim_prepare(struct diff_test *t, struct diff_info *info, const ZydisDecodedInstruction *z,
                 const ZydisDecodedOperand *ops)
{
    aim_note(t, info, z, ops);
    if (info->operand)
        info->window_changed = prepare_memory(t, z, info->operand);
}
