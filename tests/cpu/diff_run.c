/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Executes blocks everywhere, compares, and reports: with what can be left out left out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cpu/diff_block.h"
#include "tests/cpu/diff_gen.h"
#include "vmm/base/bits.h"

#define INSNS_MAX    30
#define STEPS_MAX    2000u
#define REPORT_MAX   20
#define FORGET_EVERY 64  /* blocks; in between they replace each other */
#define TICKS_MAX    8

static struct soft *reference, *translator;
static const struct block_options *options;
static struct diff_block block;

/* From the registers before: on all sides, the translator as often as times. */
struct attempt {
    struct diff_regs before;
    unsigned times;
    struct diff_trace trace;
    struct diff_test last; /* the last instruction, but before: as at the start */
    struct diff_result reference, host, translator;
    unsigned time; /* that differs */
    uint64_t flags; /* to compare */
};

static uint64_t runs, dropped, instructions, stale_flags, vectors[256];

/* ---- the watch ---- */

static volatile unsigned ticks;

static void ticked(void)
{
    if (++ticks >= TICKS_MAX)
        soft_interrupt(translator);
}

static void print_code(const struct diff_trace *t);
static struct attempt *current; /* being made */

/* In translated code, most likely; what it has shrunk to when it crashes then. */
static void crashed(int sig)
{
    printf("signal %d in block of seed %llu\n", sig, (unsigned long long)options->seed);
    if (current)
        print_code(&current->trace);
    fflush(stdout);
}

/* ---- one execution ---- */

static void reset_memory(uint8_t *window)
{
    if (memcmp(window, diff_initial, DATA_SIZE))
        memcpy(window, diff_initial, DATA_SIZE);
}

static void reset_soft(struct soft *s)
{
    reset_memory(soft_window(s));
    if (memcmp(soft_code(s), block.image, CODE_SIZE))
        soft_put_code(s, 0, block.image, CODE_SIZE);
}

/* False: the outcome is undefined, or it takes too long. */
static bool run_reference(struct attempt *a)
{
    enum trace_result r;

    reset_soft(reference);
    soft_load(reference, block.code32, &a->before);
    trace_begin(&a->trace);
    do
        r = trace_step(&a->trace, reference, block.code32);
    while (r == TRACE_ON && a->trace.steps < STEPS_MAX);
    if (r != TRACE_RAISED)
        return false;
    soft_result(reference, &a->reference);
    diff_settle(&a->reference);
    instructions += a->trace.steps;
    return true;
}

static void run_host(struct attempt *a)
{
    reset_memory(host_window());
    if (memcmp(host_code(), block.image, CODE_SIZE))
        memcpy(host_code(), block.image, CODE_SIZE);
    host_execute(block.code32, &a->before, &a->host);
    diff_settle(&a->host);
}

static void falsify(const struct attempt *a, struct diff_result *r)
{
    const char *bug = options->bug;
    const bool done = r->vector == NO_FAULT;

    if (!bug)
        return;
    if (!strcmp(bug, "flag") && a->trace.has[ZYDIS_MNEMONIC_SBB] && done && a->time == 1)
        r->after.rflags ^= X86_AF; /* the chained execution alone is wrong */
    else if (!strcmp(bug, "error-code") && r->vector == X86_PF_FAULT)
        r->error &= ~PF_W;
    else if (!strcmp(bug, "avx-lane") && a->trace.has[ZYDIS_MNEMONIC_VPADDD] && done)
        for (unsigned n = 0; n < 16; n++)
            memcpy(r->after.fpu.ymm[n] + 16, r->after.fpu.ymm[n], 16);
}

static void run_translator(struct attempt *a)
{
    reset_soft(translator);
    soft_load(translator, block.code32, &a->before);
    ticks = 0;
    soft_execute(translator);
    soft_result(translator, &a->translator);
    diff_settle(&a->translator);
    falsify(a, &a->translator);
}

static unsigned compare(struct attempt *a, const struct diff_result *r, bool print)
{
    for (unsigned n = 0; n < a->trace.blanks; n++) {
        diff_blank(&a->host, &a->trace.blank[n]);
        diff_blank(r, &a->trace.blank[n]);
    }
    return diff_compare(&a->last, &a->trace.info, a->flags, &a->host, r, print);
}

/* False: all agree. */
static bool differs(struct attempt *a)
{
    uint64_t all;

    current = a;
    if (!run_reference(a)) {
        dropped++;
        return false;
    }
    run_host(a);
    runs++;
    vectors[a->host.vector & 0xff]++;
    a->last = a->trace.last;
    a->last.before = a->before;
    all = DIFF_FLAGS & ~(uint64_t)a->trace.undefined;
    a->flags = all;
    if (a->host.vector != NO_FAULT && !options->fault_flags)
        a->flags &= ~(uint64_t)X86_STATUS_FLAGS;
    for (a->time = 0; a->time < a->times; a->time++) {
        run_translator(a);
        if (compare(a, &a->translator, false))
            return true;
        stale_flags += ((a->translator.after.rflags ^ a->host.after.rflags) & all) != 0;
    }
    return compare(a, &a->reference, false) != 0;
}

/* ---- report ---- */

static void print_code(const struct diff_trace *t)
{
    for (unsigned n = 0; n < CODE_SIZE; n++) {
        struct diff_test i = {.code32 = block.code32, .len = t->executed[n], .rip = CODE_BASE + n};
        const bool last = t->last.rip == i.rip;
        char text[128];

        if ((!i.len && !last) || (i.len == 1 && block.image[n] == 0x90))
            continue; /* what NOPs replaced is not interesting */
        if (last)
            i.len = t->last.len;
        memcpy(i.bytes, block.image + n, MIN(sizeof(i.bytes), CODE_SIZE - n));
        gen_disassemble(&i, text, sizeof(text));
        printf(" %c%08x ", last ? '>' : ' ', CODE_BASE + n);
        for (unsigned k = 0; k < 11; k++)
            printf(k < i.len ? "%02x" : "  ", i.bytes[k]);
        printf(" %s%s\n", text, memcmp(i.bytes, soft_code(reference) + n, i.len) ? "   ; modified" : "");
    }
}

static void print_regs(const struct attempt *a)
{
    static const char names[16][4] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

    printf("  %-8s %-16s  %-16s  %-16s  %-16s\n", "", "before", "host", "interpreter", "translator");
#define ROW(name, b, field)                                                                        \
    printf("  %-8s %016llx  %016llx  %016llx  %016llx\n", name, (unsigned long long)(b),           \
           (unsigned long long)a->host.field, (unsigned long long)a->reference.field,              \
           (unsigned long long)a->translator.field)
    for (unsigned n = 0; n < (block.code32 ? 8 : 16); n++)
        ROW(names[n], a->before.gpr[n], after.gpr[n]);
    ROW("rip", a->before.rip, after.rip);
    ROW("rflags", a->before.rflags, after.rflags);
    ROW("mxcsr", a->before.fpu.mxcsr, after.fpu.mxcsr);
    ROW("fcw", a->before.fpu.fcw, after.fpu.fcw);
    ROW("fsw", a->before.fpu.fsw, after.fpu.fsw);
    ROW("ftw", a->before.fpu.ftw, after.fpu.ftw);
    ROW("vector", NO_FAULT, vector);
    ROW("error", 0, error);
    ROW("cr2", 0, cr2);
#undef ROW
}

/* Whether it still differs when nothing that ran before matters. */
static bool reproduces(struct attempt *a)
{
    soft_forget_code(translator);
    soft_forget_mapping(translator);
    return differs(a);
}

/* Instructions that need not be there become NOPs. */
static void shrink(struct attempt *a)
{
    static struct attempt try;
    static struct diff_trace was;

    was = a->trace;
    for (unsigned n = 0; n < CODE_SIZE; n++) {
        uint8_t saved[15];
        const unsigned len = was.executed[n];

        if (!len || n + len > CODE_SIZE)
            continue;
        memcpy(saved, block.image + n, len);
        memset(block.image + n, 0x90, len);
        try.before = a->before;
        try.times = a->times;
        if (!reproduces(&try))
            memcpy(block.image + n, saved, len);
    }
}

static void report(struct attempt *a, uint64_t seed)
{
    if (reproduces(a)) {
        shrink(a);
        reproduces(a);
    } else {
        printf("depends on what was executed before:\n");
    }
    printf("block of seed %llu, %u-bit code from %llx, %s:\n", (unsigned long long)seed, block.code32 ? 32 : 64,
           (unsigned long long)a->before.rip,
           a->time == a->times ? "the interpreter differs" : a->time ? "executed once more" : "executed for the first time");
    print_code(&a->trace);
    print_regs(a);
    compare(a, a->time == a->times ? &a->reference : &a->translator, true);
}

/* ---- loop ---- */

static bool one_block(uint64_t seed)
{
    static struct attempt a;

    rnd_seed(seed);
    rnd_window();
    if (!block_grow(&block, reference, 1 + rnd_below(INSNS_MAX)))
        return false;
    if (rnd_one_in(8))
        soft_forget_mapping(translator);
    a.before = block.before;
    a.times = 2;
    bool bad = differs(&a);
    if (!bad) {
        block_disturb(&block, &a.before);
        a.times = 1;
        bad = differs(&a);
    }
    if (bad)
        report(&a, seed);
    return bad;
}

static void print_stats(uint64_t blocks)
{
    printf("%llu executions (%llu dropped), by how they ended:", (unsigned long long)runs, (unsigned long long)dropped);
    for (unsigned n = 0; n < 256; n++)
        if (vectors[n])
            n == NO_FAULT ? printf(" completed %llu", (unsigned long long)vectors[n])
                          : printf(" #%u %llu", n, (unsigned long long)vectors[n]);
    printf("\n%.1f instructions each; %.1f instructions for each block went to the interpreter in three executions\n",
           (double)instructions / (double)MAX(runs, 1u), (double)soft_interpreted(translator) / (double)blocks);
    printf("status flags that were not up to date at faults: %llu\n", (unsigned long long)stale_flags);
}

unsigned blocks_run(const struct block_options *o)
{
    struct block_options now = *o;
    unsigned differences = 0;
    uint64_t n;

    reference = soft_new(false, true);
    translator = soft_new(true, true);
    options = &now;
    host_crashed = crashed;
    host_watch(ticked);
    for (n = 0; n < o->count; n++) {
        now.seed = o->seed + n;
        if (n % FORGET_EVERY == 0)
            soft_forget_code(translator);
        if (one_block(now.seed)) {
            differences++;
            if (!o->keep_going || differences == REPORT_MAX) {
                n++;
                break;
            }
        }
    }
    if (o->stats)
        print_stats(n);
    printf("difftest: %llu blocks of seeds from %llu, %u with differences\n", (unsigned long long)n,
           (unsigned long long)o->seed, differences);
    return differences;
}
