/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The processor's side: registers are loaded from a block at a fixed low address, the instruction is
 * jumped to, and the signal that ends it (HLT's #GP at the latest) carries the registers after it. */
#include "tests/cpu/diff.h"

#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "vmm/base/bits.h"

/* Addressed absolutely by host_enter. */
struct block {
    uint64_t gpr[16];      /* 0 */
    uint64_t data_sel;     /* 128 */
    uint64_t frame[5];     /* 136: of IRETQ: RIP, CS, RFLAGS, RSP, SS */
    uint64_t pad[2];
    uint8_t xsave[1024] __attribute__((aligned(64))); /* 192 */
};
_Static_assert(offsetof(struct block, xsave) == 192, "host_enter knows the offsets");

static sigjmp_buf back;
static ucontext_t *caught;
static uint8_t signal_stack[1 << 16] __attribute__((aligned(64)));

#define B "0x5a5b0000" /* HOST_BLOCK */

/* Never returns: ends in a signal. */
__asm__(".text\n"
        ".type host_enter, @function\n"
        "host_enter:\n"
        "  mov $7, %eax\n"
        "  xor %edx, %edx\n"
        "  xrstor64 " B "+192\n"
        "  mov " B "+128, %rax\n"
        "  mov %eax, %ds\n"
        "  mov %eax, %es\n"
        "  mov " B "+8, %rcx\n"
        "  mov " B "+16, %rdx\n"
        "  mov " B "+24, %rbx\n"
        "  mov " B "+40, %rbp\n"
        "  mov " B "+48, %rsi\n"
        "  mov " B "+56, %rdi\n"
        "  mov " B "+64, %r8\n"
        "  mov " B "+72, %r9\n"
        "  mov " B "+80, %r10\n"
        "  mov " B "+88, %r11\n"
        "  mov " B "+96, %r12\n"
        "  mov " B "+104, %r13\n"
        "  mov " B "+112, %r14\n"
        "  mov " B "+120, %r15\n"
        "  mov " B "+0, %rax\n"
        "  mov $" B "+136, %rsp\n"
        "  iretq\n" /* also serializes after the code was written */
        ".size host_enter, .-host_enter\n");
void host_enter(void);

static void on_signal(int sig, siginfo_t *info, void *context)
{
    /* the kernel leaves AC and NT of the interrupted code */
    __asm__ volatile("pushq $0x202\n\tpopfq" ::: "cc", "memory");
    (void)sig;
    (void)info;
    caught = context;
    siglongjmp(back, 1);
}

static uint8_t *window; /* all of it, writable */
static uint8_t *code;   /* the code page, writable */

static void *map(uint64_t address, size_t size, int prot, int fd, off_t offset)
{
    void *p = mmap((void *)(uintptr_t)address, size, prot,
                   (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | MAP_POPULATE |
                       (address ? MAP_FIXED_NOREPLACE : 0),
                   fd, offset);
    if (p == MAP_FAILED || (address && p != (void *)(uintptr_t)address)) {
        perror("difftest: mapping at a fixed address");
        exit(2);
    }
    return p;
}

/* Window and code page, with their rights where the instruction sees them and writable elsewhere. */
static void map_shared(void)
{
    const int fd = memfd_create("difftest", 0);
    if (fd < 0 || ftruncate(fd, DATA_SIZE + 0x1000)) {
        perror("difftest: memfd");
        exit(2);
    }
    map(DATA_BASE, DATA_RW, PROT_READ | PROT_WRITE, fd, 0);
    map(DATA_BASE + DATA_RW, DATA_SIZE - DATA_RW, PROT_READ, fd, DATA_RW);
    map(CODE_PAGE, 0x1000, PROT_READ | PROT_EXEC, fd, DATA_SIZE);
    window = map(0, DATA_SIZE + 0x1000, PROT_READ | PROT_WRITE, fd, 0);
    code = window + DATA_SIZE;
    memset(code, OPCODE_HLT, 0x1000);
    close(fd);
}

void host_init(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    const stack_t st = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

    map_shared();
    map(HOST_BLOCK, 0x1000, PROT_READ | PROT_WRITE, -1, 0);
    sigaltstack(&st, NULL);
    sigemptyset(&sa.sa_mask);
    for (size_t n = 0; n < ARRAY_LEN(signals); n++)
        sigaction(signals[n], &sa, NULL);
    syscall(SYS_arch_prctl, ARCH_SET_GS, DIFF_GS_BASE);
}

uint8_t *host_window(void)
{
    return window;
}

static void put_fpu(uint8_t *x, const struct x86_fpu *f)
{
    memset(x, 0, 1024);
    memcpy(x, f, 5); /* control, status and tags; no instruction pointers */
    st_le32(x + 24, f->mxcsr);
    for (unsigned n = 0; n < 8; n++)
        memcpy(x + 32 + 16 * n, f->st[n], 10);
    for (unsigned n = 0; n < 16; n++) {
        memcpy(x + 160 + 16 * n, f->ymm[n], 16);
        memcpy(x + 576 + 16 * n, f->ymm[n] + 16, 16);
    }
    st_le64(x + 512, 7);
}

static void get_fpu(struct x86_fpu *f, const uint8_t *x)
{
    const uint64_t bv = ld_le64(x + 512);
    memset(f, 0, sizeof(*f));
    f->fcw = 0x37f;
    f->mxcsr = ld_le32(x + 24);
    if (bv & 1) {
        memcpy(f, x, 5);
        for (unsigned n = 0; n < 8; n++)
            memcpy(f->st[n], x + 32 + 16 * n, 10);
    }
    for (unsigned n = 0; n < 16; n++) {
        if (bv & 2)
            memcpy(f->ymm[n], x + 160 + 16 * n, 16);
        if (bv & 4)
            memcpy(f->ymm[n] + 16, x + 576 + 16 * n, 16);
    }
}

static void get_regs(struct diff_regs *r, const ucontext_t *uc)
{
    static const uint8_t order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                      REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                      REG_R12, REG_R13, REG_R14, REG_R15};
    for (unsigned n = 0; n < 16; n++)
        r->gpr[n] = (uint64_t)uc->uc_mcontext.gregs[order[n]];
    r->rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    r->rflags = (uint64_t)uc->uc_mcontext.gregs[REG_EFL];
    get_fpu(&r->fpu, (const uint8_t *)uc->uc_mcontext.fpregs);
}

static bool at_hlt(const struct diff_test *t, uint64_t rip)
{
    return rip - CODE_PAGE < 0x1000 && rip != t->rip && code[rip - CODE_PAGE] == OPCODE_HLT;
}

void host_run(const struct diff_test *t, struct diff_result *r)
{
    struct block *b = (void *)(uintptr_t)HOST_BLOCK;
    const unsigned at = (unsigned)(t->rip - CODE_PAGE), len = MIN(t->len, 0x1000 - at);

    memcpy(code + at, t->bytes, len);
    memcpy(b->gpr, t->before.gpr, sizeof(b->gpr));
    b->data_sel = t->code32 ? SEL_DATA : 0;
    b->frame[0] = t->rip;
    b->frame[1] = t->code32 ? SEL_USER32 : SEL_USER64;
    b->frame[2] = t->before.rflags;
    b->frame[3] = t->before.gpr[X86_RSP];
    b->frame[4] = SEL_DATA;
    put_fpu(b->xsave, &t->before.fpu);
    if (!sigsetjmp(back, 0))
        host_enter();

    const greg_t *g = caught->uc_mcontext.gregs;
    get_regs(&r->after, caught);
    r->vector = (unsigned)g[REG_TRAPNO];
    r->error = (uint32_t)g[REG_ERR];
    r->cr2 = r->vector == X86_PF_FAULT ? (uint64_t)g[REG_CR2] : 0;
    if (r->vector == X86_GP && r->error == 0 && at_hlt(t, r->after.rip)) {
        r->vector = NO_FAULT;
        r->error = 0;
    }
    memset(code + at, OPCODE_HLT, len);
}
