/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bench_interp [NAME]: how many instructions the interpreter runs in a second of CPU time, over small
 * 64-bit programs. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/lib/vcpu.h"

#define EXIT "\nmov $0xf4, %dx\nout %al, %dx\nhlt\n"

GUEST_CODE(bench_loop, "mov $30000000, %ecx\n"
                       "1: add %rcx, %rax\n"
                       "xor %rax, %rbx\n"
                       "dec %ecx\n"
                       "jnz 1b\n" EXIT);

GUEST_CODE(bench_fib, "mov $29, %edi\n"
                      "call 1f\n"
                      "jmp 9f\n"
                      "1: cmp $2, %edi\n"
                      "jb 2f\n"
                      "push %rbx\n"
                      "push %rbp\n"
                      "mov %edi, %ebx\n"
                      "lea -1(%rbx), %edi\n"
                      "call 1b\n"
                      "mov %eax, %ebp\n"
                      "lea -2(%rbx), %edi\n"
                      "call 1b\n"
                      "add %ebp, %eax\n"
                      "pop %rbp\n"
                      "pop %rbx\n"
                      "ret\n"
                      "2: mov %edi, %eax\n"
                      "ret\n"
                      "9:" EXIT);

GUEST_CODE(bench_sieve, "mov $0x400000, %ebx\n"
                        "mov $8, %r8d\n"
                        "5: mov %rbx, %rdi\n"
                        "mov $1000000, %ecx\n"
                        "mov $1, %al\n"
                        "rep stosb\n"
                        "mov $2, %ecx\n"
                        "1: cmpb $0, (%rbx,%rcx)\n"
                        "je 3f\n"
                        "mov %ecx, %edx\n"
                        "add %ecx, %edx\n"
                        "2: cmp $1000000, %edx\n"
                        "jae 3f\n"
                        "movb $0, (%rbx,%rdx)\n"
                        "add %ecx, %edx\n"
                        "jmp 2b\n"
                        "3: inc %ecx\n"
                        "cmp $1000000, %ecx\n"
                        "jb 1b\n"
                        "dec %r8d\n"
                        "jnz 5b\n" EXIT);

/* Indirect calls, a table, byte loads and shifts, as an interpreter or a checksum would. */
GUEST_CODE(bench_mixed, "mov $0x400000, %ebx\n"
                        "mov $3000000, %ecx\n"
                        "lea 7f(%rip), %rbp\n"
                        "1: mov %ecx, %eax\n"
                        "and $0xfff, %eax\n"
                        "movzbl (%rbx,%rax), %edx\n"
                        "shl $3, %rdx\n"
                        "add %rdx, %rsi\n"
                        "mov %rsi, 0x2000(%rbx,%rax,8)\n"
                        "test $1, %cl\n"
                        "lea 8f(%rip), %rdi\n"
                        "cmovz %rbp, %rdi\n"
                        "call *%rdi\n"
                        "sub $1, %ecx\n"
                        "jnz 1b\n"
                        "jmp 9f\n"
                        "7: mov 8(%rbx), %r8\n"
                        "add $3, %r8\n"
                        "mov %r8, 8(%rbx)\n"
                        "ret\n"
                        "8: imul $31, %rsi, %rsi\n"
                        "xor %rcx, %rsi\n"
                        "ret\n"
                        "9:" EXIT);

/* A counter in the same line as the loop that counts: mixed code and data. */
GUEST_CODE(bench_smc, "mov $200000, %ecx\n"
                      "1: incl 2f(%rip)\n"
                      "dec %ecx\n"
                      "jnz 1b\n" EXIT ".balign 4\n2: .long 0\n");

/* An address space switch, and a page invalidated, between touches of some pages. */
GUEST_CODE(bench_flush, "mov $100000, %ecx\n"
                        "1: mov %cr3, %rax\n"
                        "mov %rax, %cr3\n"
                        "mov 0x400000, %edx\n"
                        "mov 0x401000, %edx\n"
                        "dec %ecx\n"
                        "jnz 1b\n" EXIT);
GUEST_CODE(bench_invlpg, "mov $100000, %ecx\n"
                         "1: invlpg 0x400000\n"
                         "mov 0x400000, %edx\n"
                         "mov 0x401000, %edx\n"
                         "dec %ecx\n"
                         "jnz 1b\n" EXIT);

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void bench(const char *name, const uint8_t *code, const uint8_t *end)
{
    struct vcpu *v = vcpu_new(1, 64);
    struct cpu_stats before, after;

    vcpu_load(v, code, end);
    cpu_get_stats(v->cpu, &before);
    double start = cpu_seconds();
    vcpu_run(v);
    double s = cpu_seconds() - start;
    cpu_get_stats(v->cpu, &after);
    double n = (double)(after.instructions - before.instructions);
    printf("%-8s %7.1f M insn/s (%.0f M in %.2f s)\n", name, n / s / 1e6, n / 1e6, s);
    vcpu_free(v);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        const uint8_t *code, *end;
    } all[] = {
        {"loop", bench_loop, bench_loop_end},
        {"fib", bench_fib, bench_fib_end},
        {"sieve", bench_sieve, bench_sieve_end},
        {"mixed", bench_mixed, bench_mixed_end},
        {"smc", bench_smc, bench_smc_end},
        {"cr3", bench_flush, bench_flush_end},
        {"invlpg", bench_invlpg, bench_invlpg_end},
    };

    for (unsigned n = 0; n < ARRAY_LEN(all); n++)
        if (argc < 2 || !strcmp(argv[1], all[n].name))
            bench(all[n].name, all[n].code, all[n].end);
    return 0;
}
