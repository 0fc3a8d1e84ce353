/* SPDX-License-Identifier: GPL-2.0-or-later */
/* difftest [--count N | --blocks N] [--seed S] [--only GROUP|MNEMONIC] [--stats] [--keep-going]
 *          [--seed-bug flag|error-code|avx-lane] [--fault-flags]
 *
 * Runs N random instructions on this processor and on the interpreter and compares; or N blocks of
 * instructions, with the translator too. Exit status: 0 no difference, 1 differences, 2 trouble.
 * --seed-bug falsifies what the interpreter or translator answers for some instruction, so that the
 * test can be seen to notice. --fault-flags compares status flags at faults in blocks, too, which are
 * not always up to date where nothing reads them. The seed of a block is that of the run and its
 * number. */
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/cpu/diff_block.h"
#include "vmm/base/bits.h"

#define REPORT_MAX 20

struct options {
    uint64_t count, blocks, seed;
    const char *only, *bug;
    bool stats, keep_going, fault_flags;
};

static uint32_t count_of[ZYDIS_MNEMONIC_MAX_VALUE + 1], faults_of[ZYDIS_MNEMONIC_MAX_VALUE + 1];

static struct soft *soft;

static void reset_windows(void)
{
    memcpy(host_window(), diff_initial, DATA_SIZE);
    memcpy(soft_window(soft), diff_initial, DATA_SIZE);
}

/* ---- seeded bugs ---- */

static void falsify(const char *bug, const struct diff_info *info, struct diff_result *r)
{
    if (!bug)
        return;
    if (!strcmp(bug, "flag") && info->mnemonic == ZYDIS_MNEMONIC_SBB && r->vector == NO_FAULT)
        r->after.rflags ^= X86_AF;
    else if (!strcmp(bug, "error-code") && r->vector == X86_PF_FAULT)
        r->error &= ~PF_W;
    else if (!strcmp(bug, "avx-lane") && info->mnemonic == ZYDIS_MNEMONIC_VPADDD &&
             r->vector == NO_FAULT)
        for (unsigned n = 0; n < 16; n++)
            memcpy(r->after.fpu.ymm[n] + 16, r->after.fpu.ymm[n], 16);
}

/* ---- report ---- */

static uint64_t compared(const struct diff_info *info)
{
    return DIFF_FLAGS & ~(uint64_t)info->undefined_flags;
}

static void report(const struct diff_test *t, const struct diff_info *info,
                   const struct diff_result *host, const struct diff_result *result, uint64_t number)
{
    char text[128];
    gen_disassemble(t, text, sizeof(text));
    printf("test %llu, %u-bit code at %llx:", (unsigned long long)number, t->code32 ? 32 : 64,
           (unsigned long long)t->rip);
    for (unsigned n = 0; n < t->len; n++)
        printf(" %02x", t->bytes[n]);
    printf("\n  %s", text);
    if (info->operand)
        printf("   ; operand at %llx", (unsigned long long)info->operand);
    printf("\n");
    const uint64_t at = info->operand - DATA_BASE;
    if (info->state_area && at < DATA_SIZE - 576) {
        printf("    components %llx, area: mxcsr %08x, header", (unsigned long long)t->before.gpr[X86_RAX],
               ld_le32(diff_initial + at + 24));
        for (unsigned n = 512; n < 576; n += 8)
            printf(" %llx", (unsigned long long)ld_le64(diff_initial + at + n));
        printf("\n");
    }
    diff_compare(t, info, compared(info), host, result, true);
}

static void print_stats(void)
{
    for (unsigned n = 1; n <= ZYDIS_MNEMONIC_MAX_VALUE; n++)
        if (count_of[n])
            printf("%-16s %8u  faults %u\n", ZydisMnemonicGetString((ZydisMnemonic)n), count_of[n],
                   faults_of[n]);
    printf("%-16s %8u\n", "(invalid)", count_of[0]);
}

/* ---- loop ---- */

static unsigned run(const struct options *o)
{
    unsigned differences = 0;
    static struct diff_test t;
    static struct diff_info info;
    static struct diff_result host, answer;

    rnd_seed(o->seed);
    for (uint64_t n = 0; n < o->count; n++) {
        if (n % 256 == 0) {
            rnd_window();
            reset_windows();
        }
        gen_next(&t, &info);
        if (info.window_changed)
            reset_windows();
        host_run(&t, &host);
        soft_run(soft, &t, &answer);
        falsify(o->bug, &info, &answer);
        count_of[info.mnemonic]++;
        faults_of[info.mnemonic] += host.vector != NO_FAULT;
        if (diff_compare(&t, &info, compared(&info), &host, &answer, false)) {
            differences++;
            report(&t, &info, &host, &answer, n);
            if (!o->keep_going || differences == REPORT_MAX)
                break;
        }
        if (memcmp(host_window(), diff_initial, DATA_SIZE) ||
            memcmp(soft_window(soft), diff_initial, DATA_SIZE))
            reset_windows();
    }
    return differences;
}

static bool parse(struct options *o, int argc, char **argv)
{
    for (int n = 1; n < argc; n++) {
        const char *a = argv[n], *v = n + 1 < argc ? argv[n + 1] : NULL;
        if (!strcmp(a, "--stats"))
            o->stats = true;
        else if (!strcmp(a, "--keep-going"))
            o->keep_going = true;
        else if (!strcmp(a, "--fault-flags"))
            o->fault_flags = true;
        else if (!v)
            return false;
        else if (!strcmp(a, "--count"))
            o->count = strtoull(v, NULL, 0), n++;
        else if (!strcmp(a, "--blocks"))
            o->blocks = strtoull(v, NULL, 0), n++;
        else if (!strcmp(a, "--seed"))
            o->seed = strtoull(v, NULL, 0), n++;
        else if (!strcmp(a, "--only"))
            o->only = v, n++;
        else if (!strcmp(a, "--seed-bug"))
            o->bug = v, n++;
        else
            return false;
    }
    return !o->bug || !strcmp(o->bug, "flag") || !strcmp(o->bug, "error-code") ||
           !strcmp(o->bug, "avx-lane");
}

int main(int argc, char **argv)
{
    struct options o = {.count = 1000000, .seed = (uint64_t)time(NULL)};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!parse(&o, argc, argv)) {
        fprintf(stderr, "usage: difftest [--count N | --blocks N] [--seed S] [--only GROUP|MNEMONIC] [--stats]\n"
                        "                [--keep-going] [--fault-flags] [--seed-bug flag|error-code|avx-lane]\n");
        return 2;
    }
    if (!__builtin_cpu_supports("avx2")) {
        fprintf(stderr, "difftest: this processor has no AVX2\n");
        return 2;
    }
    host_init(o.blocks > 0); /* first: the software CPU's signal handlers pass on what is not theirs */
    if (!gen_init(o.only)) {
        fprintf(stderr, "difftest: nothing is called \"%s\"\n", o.only ? o.only : "");
        return 2;
    }
    if (o.blocks) {
        const struct block_options b = {.count = o.blocks, .seed = o.seed, .bug = o.bug, .keep_going = o.keep_going,
                                        .fault_flags = o.fault_flags, .stats = o.stats};
        return blocks_run(&b) ? 1 : 0;
    }
    soft = soft_new(false, false);
    const unsigned differences = run(&o);
    if (o.stats)
        print_stats();
    printf("difftest: seed %llu, %u encodings, %llu instructions, %u differences\n",
           (unsigned long long)o.seed, gen_template_count(), (unsigned long long)o.count, differences);
    return differences ? 1 : 0;
}
