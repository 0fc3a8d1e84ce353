/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interpreter's core: decoding, arithmetic, paging, self-modifying code, strings, atomics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/lib/vcpu.h"

/* Runs code both ways: one step at a time, and as blocks (which ends with the exit port). */
#define EXIT "\nmov $0xf4, %dx\nout %al, %dx\nhlt\n"

static void both(const uint8_t *code, const uint8_t *end, unsigned bits,
                 void (*check)(struct vcpu *v))
{
    for (unsigned way = 0; way < 2; way++) {
        struct vcpu *v = vcpu_new(1, bits);

        vcpu_load(v, code, end);
        if (way)
            vcpu_run(v);
        else
            vcpu_step(v);
        check(v);
        vcpu_free(v);
    }
}

/* ---- arithmetic ---- */

GUEST_CODE(code_sum, "xor %eax, %eax\n"
                     "mov $100000, %ecx\n"
                     "1: add %rcx, %rax\n"
                     "dec %rcx\n"
                     "jnz 1b\n" EXIT);

static void test_sum(void **state)
{
    (void)state;
    struct vcpu *v = vcpu_new(1, 64);

    vcpu_load(v, code_sum, code_sum_end);
    vcpu_run(v);
    assert_int_equal(v->st.gpr[X86_RAX], UINT64_C(100000) * 100001 / 2);
    vcpu_free(v);
}

GUEST_CODE(code_alu, "mov $0x7fffffff, %eax\n"
                     "add $1, %eax\n"
                     "pushf\n"
                     "pop %r8\n" /* OF SF AF PF */
                     "mov $0x1122334455667788, %rax\n"
                     "mov $0xff, %ah\n"
                     "mov %rax, %r9\n"
                     "mov $5, %al\n"
                     "sub $6, %al\n"
                     "sbb %ecx, %ecx\n"
                     "mov %rcx, %r10\n"
                     "lea 8(%rsp,%rax,2), %r11\n"
                     "movl $7, 0x200000\n"
                     "imul $6, 0x200000, %r12d\n"
                     "mov $-7, %eax\n"
                     "cdq\n"
                     "mov $2, %esi\n"
                     "idiv %esi\n"
                     "mov %rax, %r13\n"
                     "mov %rdx, %r14\n"
                     "mov $0x80000001, %eax\n"
                     "rol $1, %eax\n"
                     "mov %rax, %r15\n" EXIT);

static void check_alu(struct vcpu *v)
{
    const uint64_t *r = v->st.gpr;

    assert_int_equal(r[X86_R8] & X86_STATUS_FLAGS, X86_OF | X86_SF | X86_AF | X86_PF);
    assert_int_equal(r[X86_R9], 0x112233445566ff88);
    assert_int_equal(r[X86_R10], 0xffffffff);
    assert_int_equal(r[X86_R11], VCPU_STACK + 8 + 2 * (r[X86_R9] | 0xff));
    assert_int_equal(r[X86_R12], 42);
    assert_int_equal(r[X86_R13], 0xfffffffd);
    assert_int_equal(r[X86_R14], 0xffffffff);
    assert_int_equal(r[X86_R15], 3);
}

static void test_alu(void **state)
{
    (void)state;
    both(code_alu, code_alu_end, 64, check_alu);
}

GUEST_CODE(code_32, ".code32\n"
                    "mov $0x12345678, %eax\n"
                    "push %eax\n"
                    "call 1f\n"
                    "jmp 2f\n"
                    "1: mov 4(%esp), %ebx\n"
                    "ret\n"
                    "2: pop %ecx\n"
                    "mov $0x99, %al\n"
                    "add $1, %al\n"
                    "daa\n"
                    "movzx %al, %esi\n"
                    "pusha\n"
                    "popa\n" EXIT);

static void check_32(struct vcpu *v)
{
    assert_int_equal(v->st.gpr[X86_RBX], 0x12345678);
    assert_int_equal(v->st.gpr[X86_RCX], 0x12345678);
    assert_int_equal(v->st.gpr[X86_RSI], 0);
    assert_int_equal(v->st.gpr[X86_RSP], VCPU_STACK);
}

static void test_32bit(void **state)
{
    (void)state;
    both(code_32, code_32_end, 32, check_32);
}

GUEST_CODE(code_16, ".code16\n"
                    "mov $0x2000, %ax\n"
                    "mov %ax, %ds\n"
                    "movw $0x1234, (0x10)\n"
                    "mov $0x10, %si\n"
                    "lodsw\n"
                    "mov %ax, %bx\n"
                    "xor %ax, %ax\n"
                    "mov $3, %cx\n"
                    "1: inc %ax\n"
                    "loop 1b\n" EXIT);

static void check_16(struct vcpu *v)
{
    assert_int_equal(v->st.gpr[X86_RBX] & 0xffff, 0x1234);
    assert_int_equal(vcpu_peek(v, 0x20010, 2), 0x1234);
    assert_int_equal(v->st.gpr[X86_RCX] & 0xffff, 0);
}

static void test_16bit(void **state)
{
    (void)state;
    both(code_16, code_16_end, 16, check_16);
}

/* ---- faults ---- */

static int fault_of(const uint8_t *code, const uint8_t *end, unsigned bits, uint64_t *error,
                    uint64_t *cr2, uint64_t *rip)
{
    struct vcpu *v = vcpu_new(1, bits);

    vcpu_load(v, code, end);
    vcpu_step(v);
    int vector = vcpu_exception(v, error);
    *cr2 = v->st.cr2;
    unsigned slot = vector == X86_PF_FAULT || vector == X86_GP ? 8 : 0;
    *rip = vcpu_peek(v, v->st.gpr[X86_RSP] + slot, 8) - VCPU_CODE;
    vcpu_free(v);
    return vector;
}

GUEST_CODE(code_ud, "nop\nud2\n");
GUEST_CODE(code_de, "xor %ecx, %ecx\ndiv %ecx\n");
GUEST_CODE(code_pf_read, "mov $0x40000000, %eax\nmov (%rax), %ecx\n");
GUEST_CODE(code_pf_write, "mov $0x40000000, %eax\naddl $1, (%rax)\n");
GUEST_CODE(code_pf_fetch, "mov $0x40000000, %eax\njmp *%rax\n");
GUEST_CODE(code_pf_cross, "mov $0x3ffffffe, %eax\nmov (%rax), %ecx\n");
GUEST_CODE(code_noncanonical, "mov $0x800000000000, %rax\nmov (%rax), %ecx\n");
GUEST_CODE(code_lock, ".byte 0xf0, 0x90\n"); /* lock nop */
GUEST_CODE(code_lock_reg, ".byte 0xf0, 0x01, 0xc0\n"); /* lock add %eax, %eax */
GUEST_CODE(code_too_long, ".fill 15, 1, 0x66\nnop\n");

static void test_faults(void **state)
{
    uint64_t error, cr2, rip;

    (void)state;
#define FAULT(code) fault_of(code, code##_end, 64, &error, &cr2, &rip)
    assert_int_equal(FAULT(code_ud), X86_UD);
    assert_int_equal(rip, 1);
    assert_int_equal(FAULT(code_de), X86_DE);
    assert_int_equal(rip, 2);
    assert_int_equal(FAULT(code_pf_read), X86_PF_FAULT);
    assert_int_equal(error, 0);
    assert_int_equal(cr2, 0x40000000);
    assert_int_equal(rip, 5);
    assert_int_equal(FAULT(code_pf_write), X86_PF_FAULT);
    assert_int_equal(error, PF_W);
    assert_int_equal(FAULT(code_pf_fetch), X86_PF_FAULT);
    assert_int_equal(error, PF_I);
    assert_int_equal(rip, 0x40000000 - VCPU_CODE);
    assert_int_equal(FAULT(code_pf_cross), X86_PF_FAULT);
    assert_int_equal(cr2, 0x40000000);
    assert_int_equal(FAULT(code_noncanonical), X86_GP);
    assert_int_equal(error, 0);
    assert_int_equal(FAULT(code_lock), X86_UD);
    assert_int_equal(FAULT(code_lock_reg), X86_UD);
    assert_int_equal(FAULT(code_too_long), X86_GP);
#undef FAULT
}

/* ---- paging ---- */

/* A 4 KiB mapping at 1 GiB, which the identity map leaves free. */
#define PAGE_AT     0x40000000u
#define PAGE_TABLES 0x20000u

static void map_page(struct vcpu *v, uint64_t gpa, uint64_t flags)
{
    vcpu_poke(v, VCPU_TABLES + 0x1000 + 8, PAGE_TABLES | 7, 8);
    vcpu_poke(v, PAGE_TABLES, (PAGE_TABLES + 0x1000) | 7, 8);
    vcpu_poke(v, PAGE_TABLES + 0x1000, gpa | flags, 8);
}

static uint64_t leaf(struct vcpu *v)
{
    return vcpu_peek(v, PAGE_TABLES + 0x1000, 8);
}

GUEST_CODE(code_ad, "mov $0x40000000, %ebx\nmov (%rbx), %eax\nhlt\n"
                    "movl $5, 8(%rbx)\nhlt\n");

static void test_accessed_dirty(void **state)
{
    (void)state;
    struct vcpu *v = vcpu_new(1, 64);

    map_page(v, VCPU_DATA, 3);
    vcpu_load(v, code_ad, code_ad_end);
    vcpu_step(v);
    assert_int_equal(leaf(v) & 0x60, 0x20);
    vcpu_step(v);
    assert_int_equal(leaf(v) & 0x60, 0x60);
    assert_int_equal(vcpu_peek(v, VCPU_DATA + 8, 4), 5);
    vcpu_free(v);
}

GUEST_CODE(code_touch, "mov $0x40000000, %ebx\nmov %eax, (%rbx)\nhlt\n");

static void test_error_codes(void **state)
{
    static const struct {
        uint64_t flags;
        uint64_t error;
    } cases[] = {
        {0x02, PF_W},                                   /* not present */
        {0x01, PF_W | PF_P},                            /* read-only, WP */
        {0x03 | BIT64(GPA_BITS), PF_W | PF_P | PF_RSV}, /* address bit that does not exist */
    };

    (void)state;
    for (unsigned n = 0; n < ARRAY_LEN(cases); n++) {
        struct vcpu *v = vcpu_new(1, 64);
        uint64_t error;

        map_page(v, VCPU_DATA, cases[n].flags);
        vcpu_load(v, code_touch, code_touch_end);
        vcpu_step(v);
        assert_int_equal(vcpu_exception(v, &error), X86_PF_FAULT);
        assert_int_equal(error, cases[n].error);
        assert_int_equal(v->st.cr2, PAGE_AT);
        vcpu_free(v);
    }
}

/* INVLPG and CR3 make a changed entry seen, also one piece of a large page. */
GUEST_CODE(code_invlpg, "mov $0x40000000, %ebx\n"
                        "mov (%rbx), %r8d\n"
                        "movq $0x201003, 0x21000\n" /* the next physical page */
                        "invlpg (%rbx)\n"
                        "mov (%rbx), %r9d\n"
                        "mov 0x400000, %r10d\n"
                        "mov 0x401000, %r10d\n"
                        "movq $0x200083, 0x12010\n" /* 2 MiB at 4 MiB: map 2 MiB */
                        "invlpg 0x400000\n"
                        "mov 0x401000, %r10d\n"
                        "movq $0x200003, 0x21000\n"
                        "mov %cr3, %rax\n"
                        "mov %rax, %cr3\n"
                        "mov (%rbx), %r11d\n" EXIT);

static void test_flush(void **state)
{
    (void)state;
    struct vcpu *v = vcpu_new(1, 64);

    map_page(v, 0x200000, 3);
    vcpu_poke(v, 0x200000, 111, 4);
    vcpu_poke(v, 0x201000, 222, 4);
    vcpu_load(v, code_invlpg, code_invlpg_end);
    vcpu_run(v);
    assert_int_equal(v->st.gpr[X86_R8], 111);
    assert_int_equal(v->st.gpr[X86_R9], 222);
    assert_int_equal(v->st.gpr[X86_R10], 222);
    assert_int_equal(v->st.gpr[X86_R11], 111);
    vcpu_free(v);
}

/* ---- decoding ---- */

/* An instruction across a page boundary whose second page changes its mapping. */
GUEST_CODE(code_crossing, "mov $2, %ecx\n"
                          "1: mov $0x40000ffd, %eax\n"
                          "call *%rax\n"
                          "mov %r8d, %r9d\n"
                          "mov %ebx, %r8d\n"
                          "movq $0x202003, 0x21008\n" /* second page: elsewhere */
                          "invlpg 0x40001000\n"
                          "dec %ecx\n"
                          "jnz 1b\n" EXIT);

static void test_crossing(void **state)
{
    static const uint8_t head[] = {0xbb, 0x11, 0x22}; /* mov $0x....2211, %ebx */
    static const uint8_t one[] = {0x33, 0x44, 0xc3}, two[] = {0x55, 0x66, 0xc3};

    (void)state;
    struct vcpu *v = vcpu_new(1, 64);
    map_page(v, 0x200000, 3);
    vcpu_poke(v, PAGE_TABLES + 0x1008, 0x201003, 8);
    mem_write(v->mem, 0x200ffd, head, sizeof(head));
    mem_write(v->mem, 0x201000, one, sizeof(one));
    mem_write(v->mem, 0x202000, two, sizeof(two));
    vcpu_load(v, code_crossing, code_crossing_end);
    vcpu_run(v);
    assert_int_equal(v->st.gpr[X86_R9], 0x44332211);
    assert_int_equal(v->st.gpr[X86_R8], 0x66552211);
    vcpu_free(v);
}

/* ---- self-modifying code ---- */

/* The immediate of the next instruction, in the running block. */
GUEST_CODE(code_smc_next, "movb $7, 1f+1(%rip)\n"
                          "1: mov $1, %eax\n" EXIT);

static void check_smc_next(struct vcpu *v)
{
    assert_int_equal(v->st.gpr[X86_RAX] & 0xff, 7);
}

static void test_smc_next(void **state)
{
    (void)state;
    both(code_smc_next, code_smc_next_end, 64, check_smc_next);
}

/* A loop that changes itself in each round, and a counter beside it. */
GUEST_CODE(code_smc_loop, "xor %eax, %eax\n"
                          "mov $1000, %ecx\n"
                          "1: add $0, %eax\n" /* 83 c0 ib */
                          "incb 1b+2(%rip)\n"
                          "incl 2f(%rip)\n"
                          "dec %ecx\n"
                          "jnz 1b\n"
                          "mov 2f(%rip), %ebx\n" EXIT ".balign 4\n2: .long 0\n");

static void test_smc_loop(void **state)
{
    int8_t add = 0;
    int32_t sum = 0;

    (void)state;
    for (unsigned n = 0; n < 1000; n++)
        sum += add++;
    struct vcpu *v = vcpu_new(1, 64);
    vcpu_load(v, code_smc_loop, code_smc_loop_end);
    vcpu_run(v);
    assert_int_equal((int32_t)v->st.gpr[X86_RAX], sum);
    assert_int_equal(v->st.gpr[X86_RBX], 1000);
    vcpu_free(v);
}

/* Code that was copied over by a string instruction, and by DMA. */
GUEST_CODE(code_smc_copy, "mov $0x300000, %ebx\n"
                          "lea 2f(%rip), %rsi\n"
                          "mov %rbx, %rdi\n"
                          "mov $6, %ecx\n"
                          "rep movsb\n"
                          "call *%rbx\n"
                          "mov %eax, %r8d\n"
                          "lea 3f(%rip), %rsi\n"
                          "mov %rbx, %rdi\n"
                          "mov $6, %ecx\n"
                          "rep movsb\n"
                          "call *%rbx\n"
                          "mov %eax, %r9d\n" EXIT "2: mov $1, %eax\nret\n3: mov $2, %eax\nret\n");

static void test_smc_copy(void **state)
{
    (void)state;
    struct vcpu *v = vcpu_new(1, 64);
    static const uint8_t three[] = {0xb8, 3, 0, 0, 0, 0xf4}; /* mov $3, %eax; hlt */

    vcpu_load(v, code_smc_copy, code_smc_copy_end);
    vcpu_run(v);
    assert_int_equal(v->st.gpr[X86_R8], 1);
    assert_int_equal(v->st.gpr[X86_R9], 2);
    mem_write(v->mem, 0x300000, three, sizeof(three));
    v->st.rip = 0x300000;
    vcpu_step(v);
    assert_int_equal(v->st.gpr[X86_RAX], 3);
    vcpu_free(v);
}

/* Two vCPUs: one rewrites a function and rings a bell, the other serialises and calls it, both ways,
 * while they also write data beside it. */
GUEST_CODE(code_smc_smp, "mov $0x300000, %esi\n" /* mov imm32, %eax; ret */
                         "mov $0x301000, %edi\n" /* bell */
                         "test %ebx, %ebx\n"
                         "jnz 2f\n"
                         "mov $1, %ecx\n"
                         "1: mov %ecx, 1(%rsi)\n"
                         "incl 32(%rsi)\n"
                         "mov %ecx, (%rdi)\n"
                         "3: cmp %ecx, 4(%rdi)\n"
                         "pause\n"
                         "jne 3b\n"
                         "inc %ecx\n"
                         "cmp $2000, %ecx\n"
                         "jne 1b\n"
                         "jmp 9f\n"
                         "2: mov $1, %ebp\n"
                         "4: cmp %ebp, (%rdi)\n"
                         "pause\n"
                         "jne 4b\n"
                         "xor %eax, %eax\n"
                         "cpuid\n"
                         "call *%rsi\n"
                         "cmp %ebp, %eax\n"
                         "je 5f\n"
                         "incl 8(%rdi)\n" /* errors */
                         "5: mov %ebp, 4(%rdi)\n"
                         "inc %ebp\n"
                         "cmp $2000, %ebp\n"
                         "jne 4b\n"
                         "hlt\n"
                         "9:" EXIT);

static void test_smc_smp(void **state)
{
    static const uint8_t function[] = {0xb8, 0, 0, 0, 0, 0xc3};

    (void)state;
    struct vcpu *v = vcpu_new(2, 64);
    mem_write(v->mem, 0x300000, function, sizeof(function));
    vcpu_load(v, code_smc_smp, code_smc_smp_end);
    vcpu_run(v);
    assert_int_equal(vcpu_peek(v, 0x301004, 4), 1999);
    assert_int_equal(vcpu_peek(v, 0x301008, 4), 0);
    assert_int_equal(vcpu_peek(v, 0x300020, 4), 1999);
    vcpu_free(v);
}

/* ---- strings ---- */

/* REP MOVSB into a page that is not there: exact progress, and it goes on after the repair. */
GUEST_CODE(code_rep, "mov $0x200000, %esi\n"
                     "mov $0x40000ff0, %edi\n"
                     "mov $0x100, %ecx\n"
                     "rep movsb\n"
                     "hlt\n");

static void test_rep_restart(void **state)
{
    (void)state;
    struct vcpu *v = vcpu_new(1, 64);

    map_page(v, 0x400000, 3);
    for (unsigned n = 0; n < 0x100; n++)
        vcpu_poke(v, VCPU_DATA + n, n, 1);
    vcpu_load(v, code_rep, code_rep_end);
    vcpu_step(v);
    assert_int_equal(vcpu_exception(v, NULL), X86_PF_FAULT);
    assert_int_equal(v->st.cr2, 0x40001000);
    assert_int_equal(v->st.gpr[X86_RCX], 0xf0);
    assert_int_equal(v->st.gpr[X86_RSI], VCPU_DATA + 0x10);
    assert_int_equal(v->st.gpr[X86_RDI], 0x40001000);
    vcpu_poke(v, PAGE_TABLES + 0x1008, 0x402003, 8);
    v->st.rip = vcpu_peek(v, v->st.gpr[X86_RSP] + 8, 8);
    v->st.gpr[X86_RSP] = VCPU_STACK;
    vcpu_step(v);
    assert_int_equal(v->st.gpr[X86_RCX], 0);
    for (unsigned n = 0; n < 0x100; n++)
        assert_int_equal(vcpu_peek(v, n < 0x10 ? 0x400ff0 + n : 0x402000 + n - 0x10, 1), n);
    vcpu_free(v);
}

/* Overlap upwards repeats a pattern; downwards copies; SCAS and CMPS stop where they should. */
GUEST_CODE(code_strings, "mov $0x200000, %ebx\n"
                         "movl $0x04030201, (%rbx)\n"
                         "mov %rbx, %rsi\n"
                         "lea 4(%rbx), %rdi\n"
                         "mov $12, %ecx\n"
                         "rep movsb\n"
                         "mov 12(%rbx), %r8d\n"
                         "std\n"
                         "lea 15(%rbx), %rsi\n"
                         "lea 16(%rbx), %rdi\n"
                         "mov $16, %ecx\n"
                         "rep movsb\n"
                         "cld\n"
                         "mov 13(%rbx), %r9d\n"
                         "mov %rbx, %rdi\n"
                         "mov $100, %ecx\n"
                         "mov $3, %al\n"
                         "repne scasb\n"
                         "mov %ecx, %r10d\n"
                         "lea 1(%rbx), %rsi\n"
                         "lea 5(%rbx), %rdi\n"
                         "mov $100, %ecx\n"
                         "repe cmpsb\n"
                         "mov %ecx, %r11d\n" EXIT);

static void check_strings(struct vcpu *v)
{
    assert_int_equal(v->st.gpr[X86_R8], 0x04030201);
    assert_int_equal(v->st.gpr[X86_R9], 0x04030201);
    assert_int_equal(v->st.gpr[X86_R10], 100 - 4);
    assert_int_equal(v->st.gpr[X86_R11], 100 - 13);
}

static void test_strings(void **state)
{
    (void)state;
    both(code_strings, code_strings_end, 64, check_strings);
}

/* Without an interrupt a long REP INS still comes up for air, and goes on where it was. */
GUEST_CODE(code_rep_ins, "mov $0x200000, %edi\n"
                         "mov $10000, %ecx\n"
                         "mov $0x80, %edx\n"
                         "rep insb\n" EXIT);

static void check_rep_ins(struct vcpu *v)
{
    assert_int_equal(v->st.gpr[X86_RCX], 0);
    assert_int_equal(v->st.gpr[X86_RDI], VCPU_DATA + 10000);
}

static void test_rep_ins(void **state)
{
    (void)state;
    struct vcpu *v = vcpu_new(1, 64);

    vcpu_load(v, code_rep_ins, code_rep_ins_end);
    for (unsigned n = 0; n < 4; n++)
        cpu_step(v->cpu);
    cpu_get_state(v->cpu, &v->st);
    assert_in_range(v->st.gpr[X86_RCX], 1, 9999);
    assert_int_equal(v->st.gpr[X86_RDI] + v->st.gpr[X86_RCX], VCPU_DATA + 10000);
    assert_int_equal(v->st.rip, VCPU_CODE + 15);
    vcpu_free(v);
    both(code_rep_ins, code_rep_ins_end, 64, check_rep_ins);
}

/* ---- atomics ---- */

/* Two vCPUs count in every way there is, in one line and across a page boundary. */
GUEST_CODE(code_atomic, "mov $0x200000, %edi\n"
                        "mov $20000, %ecx\n"
                        "1: lock incl (%rdi)\n"
                        "mov $1, %eax\n"
                        "lock xadd %eax, 8(%rdi)\n"
                        "2: mov 16(%rdi), %rax\n"
                        "lea 1(%rax), %rdx\n"
                        "lock cmpxchg %rdx, 16(%rdi)\n"
                        "jne 2b\n"
                        "3: lock btsl $0, 24(%rdi)\n" /* a lock around plain memory */
                        "jnc 4f\n"
                        "pause\n"
                        "jmp 3b\n"
                        "4: incl 28(%rdi)\n"
                        "movl $0, 24(%rdi)\n"
                        "test $0xff, %ecx\n"
                        "jnz 5f\n"
                        "lock incl 0xffe(%rdi)\n" /* crosses */
                        "5: dec %ecx\n"
                        "jnz 1b\n"
                        "lock incl 32(%rdi)\n"
                        "6: cmpl $2, 32(%rdi)\n"
                        "pause\n"
                        "jne 6b\n" EXIT);

static void test_atomics(void **state)
{
    (void)state;
    struct vcpu *v = vcpu_new(2, 64);

    vcpu_load(v, code_atomic, code_atomic_end);
    vcpu_run(v);
    assert_int_equal(vcpu_peek(v, VCPU_DATA, 4), 40000);
    assert_int_equal(vcpu_peek(v, VCPU_DATA + 8, 4), 40000);
    assert_int_equal(vcpu_peek(v, VCPU_DATA + 16, 8), 40000);
    assert_int_equal(vcpu_peek(v, VCPU_DATA + 28, 4), 40000);
    assert_int_equal(vcpu_peek(v, VCPU_DATA + 0xffe, 4), 2 * (20000 / 256));
    vcpu_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum),          cmocka_unit_test(test_alu),
        cmocka_unit_test(test_32bit),        cmocka_unit_test(test_16bit),
        cmocka_unit_test(test_faults),       cmocka_unit_test(test_accessed_dirty),
        cmocka_unit_test(test_error_codes),  cmocka_unit_test(test_flush),
        cmocka_unit_test(test_crossing),     cmocka_unit_test(test_smc_next),
        cmocka_unit_test(test_smc_loop),     cmocka_unit_test(test_smc_copy),
        cmocka_unit_test(test_smc_smp),      cmocka_unit_test(test_rep_restart),
        cmocka_unit_test(test_strings),      cmocka_unit_test(test_rep_ins),
        cmocka_unit_test(test_atomics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
