/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must be equal. Not compared: flags the instruction leaves undefined, and the x87 instruction
 * pointers, which processors differ in. */
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <string.h>

#include "tests/cpu/diff.h"
#include "vmm/base/bits.h"

static const char *const gpr_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

struct ctx {
    bool print;
    unsigned count;
};

static void check(struct ctx *c, const char *what, uint64_t before, uint64_t host, uint64_t soft)
{
    if (host == soft)
        return;
    c->count++;
    if (c->print)
        printf("    %-8s before %016llx  host %016llx  interpreter %016llx\n", what,
               (unsigned long long)before, (unsigned long long)host, (unsigned long long)soft);
}

static void print_bytes(const char *who, const uint8_t *b, unsigned size)
{
    printf("      %-11s ", who);
    for (unsigned n = size; n-- > 0;)
        printf("%02x%s", b[n], n % 8 ? "" : " ");
    printf("\n");
}

static void check_bytes(struct ctx *c, const char *what, unsigned number, const uint8_t *before,
                        const uint8_t *host, const uint8_t *soft, unsigned size)
{
    if (!memcmp(host, soft, size))
        return;
    c->count++;
    if (!c->print)
        return;
    printf("    %s%u\n", what, number);
    print_bytes("before", before, size);
    print_bytes("host", host, size);
    print_bytes("interpreter", soft, size);
}

static void check_fpu(struct ctx *c, const struct x86_fpu *b, const struct x86_fpu *h,
                      const struct x86_fpu *s)
{
    check(c, "fcw", b->fcw, h->fcw, s->fcw);
    check(c, "fsw", b->fsw, h->fsw, s->fsw);
    check(c, "ftw", b->ftw, h->ftw, s->ftw);
    check(c, "mxcsr", b->mxcsr, h->mxcsr, s->mxcsr);
    for (unsigned n = 0; n < 8; n++)
        check_bytes(c, "st", n, b->st[n], h->st[n], s->st[n], 10);
    for (unsigned n = 0; n < 16; n++)
        check_bytes(c, "ymm", n, b->ymm[n], h->ymm[n], s->ymm[n], 32);
}

static void check_window(struct ctx *c)
{
    const uint8_t *h = host_window(), *s = soft_window();
    if (!memcmp(h, s, DATA_SIZE))
        return;
    c->count++;
    for (unsigned n = 0, shown = 0; c->print && n < DATA_SIZE && shown < 8; n += 8)
        if (memcmp(h + n, s + n, 8)) {
            shown++;
            printf("    [%08x] before %016llx  host %016llx  interpreter %016llx\n", DATA_BASE + n,
                   (unsigned long long)ld_le64(diff_initial + n), (unsigned long long)ld_le64(h + n),
                   (unsigned long long)ld_le64(s + n));
        }
}

/* ---- memory that is not defined ---- */

static void blank(uint64_t address, unsigned size)
{
    for (unsigned n = 0; n < size; n++) {
        const uint64_t at = address + n - DATA_BASE;
        if (at < DATA_SIZE)
            host_window()[at] = soft_window()[at] = 0;
    }
}

static void blank_undefined(const struct diff_test *t, const struct diff_info *i)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_PUSH: /* of a segment register: the upper half is written or not */
        if (t->code32)
            blank(t->before.gpr[X86_RSP] - 2, 2);
        break;
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
        if (i->operand_width == 16)
            blank(i->operand + 6, 8);
        else
            blank(i->operand + 12, 16);
        break;
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        blank(i->operand + 6, 18);
        blank(i->operand + 28, 4); /* MXCSR_MASK: the host's knows bit 17 */
        break;
    default:
        break;
    }
}

/* These may have done a part of their accesses when a later one faults. */
static bool partial(const struct diff_info *i, const struct diff_result *host)
{
    return host->vector != NO_FAULT &&
           (i->mnemonic == ZYDIS_MNEMONIC_ENTER || i->mnemonic == ZYDIS_MNEMONIC_POPA ||
            i->mnemonic == ZYDIS_MNEMONIC_POPAD || i->mnemonic == ZYDIS_MNEMONIC_PUSHA ||
            i->mnemonic == ZYDIS_MNEMONIC_PUSHAD);
}

static void check_fault(struct ctx *c, const struct diff_info *info, const struct diff_result *host,
                        const struct diff_result *soft)
{
    uint32_t mask = UINT32_MAX;
    /* large areas: which of several missing pages is met first is the processor's choice */
    if ((info->state_area || info->mnemonic == ZYDIS_MNEMONIC_ENTER) && host->vector == X86_PF_FAULT)
        mask = info->state_area ? ~PF_P : 0;
    else
        check(c, "cr2", 0, host->cr2, soft->cr2);
    /* elsewhere the process or Linux may have mapped something */
    if (host->cr2 - CODE_PAGE >= 0x10000 && host->cr2 - DATA_BASE >= 0x10000)
        mask = ~PF_P;
    check(c, "error", 0, host->error & mask, soft->error & mask);
}

unsigned diff_compare(const struct diff_test *t, const struct diff_info *info,
                      const struct diff_result *host, const struct diff_result *soft, bool print)
{
    const struct diff_regs *b = &t->before, *h = &host->after, *s = &soft->after;
    const uint64_t mask = t->code32 ? UINT32_MAX : UINT64_MAX;
    const uint64_t flags = DIFF_FLAGS & ~(uint64_t)info->undefined_flags;
    struct ctx c = {.print = print};

    check(&c, "vector", NO_FAULT, host->vector, soft->vector);
    check_fault(&c, info, host, soft);
    check(&c, "rip", b->rip, h->rip, s->rip);
    check(&c, "flags", b->rflags & flags, h->rflags & flags, s->rflags & flags);
    for (unsigned n = 0; n < (t->code32 ? 8 : 16) && !partial(info, host); n++)
        check(&c, gpr_names[n], b->gpr[n], h->gpr[n] & mask, s->gpr[n] & mask);
    /* whether a store that faults has switched from x87 to MMX is the processor's choice */
    if (!(info->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ && host->vector != NO_FAULT))
        check_fpu(&c, &b->fpu, &h->fpu, &s->fpu);
    blank_undefined(t, info);
    if (!partial(info, host))
        check_window(&c);
    return c.count;
}
