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
#include <sys/time.h>
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

void (*host_crashed)(int sig);

static sigjmp_buf back;
static volatile sig_atomic_t running; /* host_execute is */
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
    (void)info;
    if (!running) {
        signal(sig, SIG_DFL);
        if (host_crashed)
            host_crashed(sig);
        return; /* it comes again */
    }
    caught = context;
    siglongjmp(back, 1);
}

#define TICKS_MAX 8

static void (*tick)(void);
static volatile unsigned ticks; /* while host_execute is running */

static void on_alarm(int sig, siginfo_t *info, void *context)
{
    __asm__ volatile("pushq $0x202\n\tpopfq" ::: "cc", "memory");
    (void)sig;
    (void)info;
    if (!running) {
        tick();
    } else if (++ticks == TICKS_MAX) {
        caught = context;
        siglongjmp(back, 1);
    }
}

void host_watch(void (*ticked)(void))
{
    struct sigaction sa = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER};
    const struct itimerval often = {.it_interval = {.tv_usec = 250000}, .it_value = {.tv_usec = 250000}};

    tick = ticked;
    sigemptyset(&sa.sa_mask);
    sigaction(SIGPROF, &sa, NULL);
    setitimer(ITIMER_PROF, &often, NULL); /* time that we had, however many others there are */
}

static uint8_t *window; /* all of it, writable */
static uint8_t *code;   /* all of it, writable */

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

/* Window and code, with their rights where the instruction sees them and writable elsewhere. */
static void map_shared(bool writable)
{
    const int fd = memfd_create("difftest", 0);
    if (fd < 0 || ftruncate(fd, DATA_SIZE + CODE_SIZE)) {
        perror("difftest: memfd");
        exit(2);
    }
    map(DATA_BASE, DATA_RW, PROT_READ | PROT_WRITE, fd, 0);
    map(DATA_BASE + DATA_RW, DATA_SIZE - DATA_RW, PROT_READ, fd, DATA_RW);
    map(CODE_BASE, CODE_SIZE, PROT_READ | PROT_EXEC | (writable ? PROT_WRITE : 0), fd, DATA_SIZE);
    window = map(0, DATA_SIZE + CODE_SIZE, PROT_READ | PROT_WRITE, fd, 0);
    code = window + DATA_SIZE;
    memset(code, OPCODE_HLT, CODE_SIZE);
    close(fd);
}

void host_init(bool writable)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    const stack_t st = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

    map_shared(writable);
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

uint8_t *host_code(void)
{
    return code;
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

void host_execute(bool code32, const struct diff_regs *r, struct diff_result *out)
{
    struct block *b = (void *)(uintptr_t)HOST_BLOCK;

    memcpy(b->gpr, r->gpr, sizeof(b->gpr));
    b->data_sel = code32 ? SEL_DATA : 0;
    b->frame[0] = r->rip;
    b->frame[1] = code32 ? SEL_USER32 : SEL_USER64;
    b->frame[2] = r->rflags;
    b->frame[3] = r->gpr[X86_RSP];
    b->frame[4] = SEL_DATA;
    put_fpu(b->xsave, &r->fpu);
    ticks = 0;
    running = 1;
    if (!sigsetjmp(back, 0))
        host_enter();
    running = 0;

    const greg_t *g = caught->uc_mcontext.gregs;
    get_regs(&out->after, caught);
    out->who = "host";
    out->vector = (unsigned)g[REG_TRAPNO];
    out->error = (uint32_t)g[REG_ERR];
    out->cr2 = out->vector == X86_PF_FAULT ? (uint64_t)g[REG_CR2] : 0;
    out->window = window;
    out->code = code;
    out->stuck = ticks >= TICKS_MAX;
}

void host_run(const struct diff_test *t, struct diff_result *r)
{
    const unsigned at = (unsigned)(t->rip - CODE_BASE), len = MIN(t->len, CODE_SIZE - at);

    memcpy(code + at, t->bytes, len);
    host_execute(t->code32, &t->before, r);
    if (r->after.rip != t->rip)
        diff_settle(r);
    memset(code + at, OPCODE_HLT, len);
}
