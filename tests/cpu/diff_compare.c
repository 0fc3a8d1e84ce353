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
    const char *a, *b;
};

static void check(struct ctx *c, const char *what, uint64_t before, uint64_t host, uint64_t soft)
{
    if (host == soft)
        return;
    c->count++;
    if (c->print)
        printf("    %-8s before %016llx  %s %016llx  %s %016llx\n", what, (unsigned long long)before, c->a,
               (unsigned long long)host, c->b, (unsigned long long)soft);
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
    print_bytes(c->a, host, size);
    print_bytes(c->b, soft, size);
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

static void check_memory(struct ctx *c, uint32_t base, const uint8_t *before, const uint8_t *h, const uint8_t *s,
                         unsigned size)
{
    if (!memcmp(h, s, size))
        return;
    c->count++;
    for (unsigned n = 0, shown = 0; c->print && n < size && shown < 8; n += 8)
        if (memcmp(h + n, s + n, 8)) {
            shown++;
            printf("    [%08x]", base + n);
            if (before)
                printf(" before %016llx ", (unsigned long long)ld_le64(before + n));
            printf(" %s %016llx  %s %016llx\n", c->a, (unsigned long long)ld_le64(h + n), c->b,
                   (unsigned long long)ld_le64(s + n));
        }
}

/* ---- memory that is not defined ---- */

unsigned diff_undefined_memory(const struct diff_test *t, const struct diff_info *i, struct diff_blank *out)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_PUSH: /* of a segment register: the upper half is written or not */
        out[0] = (struct diff_blank){t->before.gpr[X86_RSP] - 2, 2};
        return t->code32;
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
        out[0] = i->operand_width == 16 ? (struct diff_blank){i->operand + 6, 8}
                                        : (struct diff_blank){i->operand + 12, 16};
        return 1;
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        out[0] = (struct diff_blank){i->operand + 6, 18};
        out[1] = (struct diff_blank){i->operand + 28, 4}; /* MXCSR_MASK: the host's knows bit 17 */
        return 2;
    default:
        return 0;
    }
}

void diff_blank(const struct diff_result *r, const struct diff_blank *b)
{
    for (unsigned n = 0; n < b->size; n++) {
        const uint64_t at = b->address + n - DATA_BASE;
        if (at < DATA_SIZE)
            r->window[at] = 0;
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
    if (host->cr2 - CODE_BASE >= 0x10000 && host->cr2 - DATA_BASE >= 0x10000)
        mask = ~PF_P;
    check(c, "error", 0, host->error & mask, soft->error & mask);
}

unsigned diff_compare(const struct diff_test *t, const struct diff_info *info, uint64_t flags, const struct diff_result *host,
                      const struct diff_result *soft, bool print)
{
    const struct diff_regs *b = &t->before, *h = &host->after, *s = &soft->after;
    const uint64_t mask = t->code32 ? UINT32_MAX : UINT64_MAX;
    struct diff_blank blanks[DIFF_BLANKS];
    struct ctx c = {.print = print, .a = host->who, .b = soft->who};

    check(&c, "stuck", 0, host->stuck, soft->stuck);
    check(&c, "vector", NO_FAULT, host->vector, soft->vector);
    check_fault(&c, info, host, soft);
    check(&c, "rip", b->rip, h->rip, s->rip);
    check(&c, "flags", b->rflags & flags, h->rflags & flags, s->rflags & flags);
    for (unsigned n = 0; n < (t->code32 ? 8 : 16) && !partial(info, host); n++)
        check(&c, gpr_names[n], b->gpr[n], h->gpr[n] & mask, s->gpr[n] & mask);
    /* whether a store that faults has switched from x87 to MMX is the processor's choice */
    if (!(info->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ && host->vector != NO_FAULT))
        check_fpu(&c, &b->fpu, &h->fpu, &s->fpu);
    for (unsigned n = diff_undefined_memory(t, info, blanks); n-- > 0;) {
        diff_blank(host, &blanks[n]);
        diff_blank(soft, &blanks[n]);
    }
    if (!partial(info, host)) {
        check_memory(&c, DATA_BASE, diff_initial, host->window, soft->window, DATA_SIZE);
        check_memory(&c, CODE_BASE, NULL, host->code, soft->code, CODE_SIZE);
    }
    return c.count;
}

void diff_settle(struct diff_result *r)
{
    const uint64_t at = r->after.rip - CODE_BASE;

    if (r->vector == X86_GP && r->error == 0 && at < CODE_SIZE && r->code[at] == OPCODE_HLT)
        r->vector = NO_FAULT;
}
