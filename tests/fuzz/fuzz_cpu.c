/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decoder, the interpreter and the translator under code that is anything: a guest of 2 MiB with descriptor and
 * page tables, handlers that skip a byte after each exception, and the input as its program. Bytes 0 to 2 choose the
 * mode, the features that are enabled and the engine; the next eight make the registers. The vCPU must come back after
 * a bounded time, and must not have touched ROM nor what lies around it. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/log.h"
#include "vmm/base/thread.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/cpu_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM    (2 * MIB)
#define ROM    0x300000u /* beyond RAM, with nothing between and behind */
#define ROM_SIZE 0x4000u

#define GDT    0x1000u
#define IDT    0x2000u
#define TSS    0x3000u /* 32-bit or 64-bit; its I/O map allows everything */
#define STUBS  0x6000u /* 16 bytes for each vector */
#define TABLES 0x8000u /* PML4 or PD32, PDPT, PD, PT of the first 2 MiB */
#define CODE   0x10000u
#define CODE_MAX 2048u
#define STACK  0x1f000u
#define DATA   0x20000u

#define STEPS  400
#define RUN_US 300 /* with the translator */

enum mode { REAL, V86, PROT16, PROT32, PROT32_PAGED, PROT32_USER, LONG, LONG_USER, MODES };

static struct {
    struct mem *mem;
    struct cpu_set *set;
    uint8_t *rom; /* between two pages that cannot be accessed */
    uint8_t rom_copy[ROM_SIZE];
    uint32_t noise;
    pthread_t watchdog;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool running; /* under the mutex */
} m;

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* What a vCPU owns is reachable through its own pages only, where the leak checker does not look. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:cpu_set_new";
}

/* ---- the world outside: every answer is another number ---- */

static uint64_t noise(void)
{
    m.noise = m.noise * 1664525 + 1013904223;
    return m.noise * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t pio_read(void *opaque, uint16_t port, unsigned size)
{
    (void)opaque, (void)port;
    return noise() & mask_bytes(size);
}

static void pio_write(void *opaque, uint16_t port, uint64_t value, unsigned size)
{
    (void)opaque, (void)port;
    must(!(value & ~mask_bytes(size)));
}

static uint64_t mmio_read(void *opaque, uint64_t gpa, unsigned size)
{
    (void)opaque;
    must(!(gpa >> GPA_BITS) && (size == 1 || size == 2 || size == 4 || size == 8));
    return noise() & mask_bytes(size);
}

static void mmio_write(void *opaque, uint64_t gpa, uint64_t value, unsigned size)
{
    (void)opaque, (void)value;
    must(!(gpa >> GPA_BITS) && (size == 1 || size == 2 || size == 4 || size == 8));
}

static uint8_t pic_ack(void *opaque)
{
    (void)opaque;
    return (uint8_t)noise();
}

static void ioapic_eoi(void *opaque, uint8_t vector)
{
    (void)opaque, (void)vector;
}

static bool ferr(void *opaque, bool level)
{
    (void)opaque;
    return level && noise() & 1;
}

static const struct cpu_io_ops io = {.pio_read = pio_read, .pio_write = pio_write, .mmio_read = mmio_read,
                                     .mmio_write = mmio_write, .pic_ack = pic_ack, .ioapic_eoi = ioapic_eoi,
                                     .ferr = ferr};

/* ---- machine ---- */

/* Ends a run of translated code, which counts no instructions. */
static void *watch(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&m.mutex);
    for (;;) {
        while (!m.running)
            pthread_cond_wait(&m.cond, &m.mutex);
        pthread_mutex_unlock(&m.mutex);
        usleep(RUN_US);
        pthread_mutex_lock(&m.mutex);
        m.running = false;
        cpu_kick(cpu_get(m.set, 0));
    }
    return NULL;
}

static void machine(void)
{
    struct err e;
    uint8_t *area;

    log_init("fuzz", 2, LOG_ERROR);
    setenv("VMDECK_CPU", "heat=1,code=2097152,tlb=16", 0);
    m.mem = mem_new(RAM, &e);
    area = mmap(NULL, ROM_SIZE + 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(m.mem && area != MAP_FAILED);
    m.rom = area + PAGE_SIZE;
    must(mprotect(m.rom, ROM_SIZE, PROT_READ | PROT_WRITE) == 0);
    for (unsigned n = 0; n < ROM_SIZE; n++)
        m.rom[n] = (uint8_t)noise();
    memcpy(m.rom_copy, m.rom, ROM_SIZE);
    must(mem_add_host(m.mem, "rom", ROM, ROM_SIZE, MEM_PRIO_ROM, m.rom, true) != NULL);
    /* the second vCPU waits to be started for ever: locked accesses stop it all the same */
    m.set = cpu_set_new(&(struct cpu_set_cfg){.mem = m.mem, .io = &io, .count = 2, .model = CPU_MAX}, &e);
    must(m.set != NULL);
    pthread_mutex_init(&m.mutex, NULL);
    pthread_cond_init(&m.cond, NULL);
    must(thread_start(&m.watchdog, "watchdog", watch, NULL, &e));
}

static void poke(uint64_t gpa, uint64_t v, unsigned size)
{
    uint8_t raw[8];

    st_le64(raw, v);
    must(mem_write(m.mem, gpa, raw, size));
}

static void clear_ram(void)
{
    static const uint8_t zeros[64 * KIB];

    for (uint64_t at = 0; at < RAM; at += sizeof(zeros))
        must(mem_write(m.mem, at, zeros, sizeof(zeros)));
}

static bool has_error(unsigned vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* A byte is skipped: INC of the return address, IRET. */
static void put_stub(enum mode mode, unsigned vector)
{
    static const uint8_t real[] = {0x55, 0x89, 0xe5, 0xff, 0x46, 0x02, 0x5d, 0xcf},
                         prot[] = {0xff, 0x04, 0x24, 0xcf},
                         prot_error[] = {0x83, 0xc4, 0x04, 0xff, 0x04, 0x24, 0xcf},
                         wide[] = {0x48, 0xff, 0x04, 0x24, 0x48, 0xcf},
                         wide_error[] = {0x48, 0x83, 0xc4, 0x08, 0x48, 0xff, 0x04, 0x24, 0x48, 0xcf};
    const uint64_t at = STUBS + vector * 16;
    const bool error = has_error(vector);

#define PUT(a) must(mem_write(m.mem, at, a, sizeof(a)))
    if (mode == REAL)
        PUT(real);
    else if (mode < LONG && error)
        PUT(prot_error);
    else if (mode < LONG)
        PUT(prot);
    else if (error)
        PUT(wide_error);
    else
        PUT(wide);
#undef PUT
}

static void put_vectors(enum mode mode)
{
    const bool wide = mode >= LONG;

    for (unsigned n = 0; n < 256; n++) {
        uint64_t at = STUBS + n * 16;

        put_stub(mode, n);
        if (mode == REAL) {
            poke(n * 4, at & 0xffff, 4); /* segment 0 */
            continue;
        }
        uint64_t type = n & 1 ? 0xef : 0xee; /* trap and interrupt gates, for everyone */
        poke(IDT + n * (wide ? 16u : 8u), (at & 0xffff) | (wide ? 0x28u : 0x08u) << 16 | type << 40 | at >> 16 << 48,
             8);
    }
}

static void put_tables(enum mode mode)
{
    static const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00009b000000ffff, 0x000093000000ffff,
                                   0x00af9b000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff,
                                   0x00008b0000000000 | TSS << 16 | 0x1fff, 0};
    const bool wide = mode >= LONG;

    for (unsigned n = 0; n < ARRAY_LEN(gdt); n++)
        poke(GDT + n * 8, gdt[n], 8);
    if (wide)
        poke(TSS + 4, STACK - 0x800, 8);
    else
        poke(TSS + 4, UINT64_C(0x10) << 32 | (STACK - 0x800), 8);
    poke(TSS + 0x66, 104, 2);
    /* user pages everywhere but for the tables themselves; ROM and what is not there behind RAM */
    if (wide) {
        poke(TABLES, (TABLES + 0x1000) | 7, 8);
        poke(TABLES + 0x1000, (TABLES + 0x2000) | 7, 8);
        poke(TABLES + 0x2000, (TABLES + 0x3000) | 7, 8);
        for (uint64_t n = 0; n < 512; n++)
            poke(TABLES + 0x3000 + n * 8, n << 12 | (n < 0x10 ? 3 : 7), 8);
        poke(TABLES + 0x2008, ROM | 0x87, 8);
        poke(TABLES + 0x1008, 0x87, 8); /* a page of 1 GiB */
    } else {
        poke(TABLES, (TABLES + 0x3000) | 7, 4);
        for (uint32_t n = 0; n < 1024; n++)
            poke(TABLES + 0x3000 + n * 4, n << 12 | (n < 0x10 ? 3 : 7), 4);
        poke(TABLES + 4, 0x87, 4); /* 4 MiB */
    }
}

static void segments(struct x86_state *s, enum mode mode)
{
    const bool user = mode == PROT32_USER || mode == LONG_USER;
    struct x86_seg code = {.limit = UINT32_MAX, .sel = 0x08, .attr = 0xc09b},
                   data = {.limit = UINT32_MAX, .sel = 0x10, .attr = 0xc093};

    switch (mode) {
    case REAL:
    case V86:
        code = data = (struct x86_seg){.base = CODE, .limit = 0xffff, .sel = CODE >> 4, .attr = 0x93};
        if (mode == V86)
            code.attr = data.attr = 0xf3;
        break;
    case PROT16:
        code = (struct x86_seg){.limit = 0xfffff, .sel = 0x18, .attr = 0x009b};
        break;
    case LONG: code = (struct x86_seg){.limit = UINT32_MAX, .sel = 0x28, .attr = 0xa09b}; break;
    case LONG_USER: code = (struct x86_seg){.limit = UINT32_MAX, .sel = 0x43, .attr = 0xa0fb}; break;
    case PROT32_USER: code = (struct x86_seg){.limit = UINT32_MAX, .sel = 0x33, .attr = 0xc0fb}; break;
    default: break;
    }
    if (user) {
        data.sel = 0x3b;
        data.attr = 0xc0f3;
    }
    for (unsigned n = 0; n < 6; n++)
        s->seg[n] = data;
    s->seg[X86_CS] = code;
    s->gdt = (struct x86_dtable){.base = GDT, .limit = 11 * 8 - 1};
    s->idt = (struct x86_dtable){.base = mode == REAL ? 0 : IDT, .limit = 0xfff};
    s->tr = (struct x86_seg){.base = TSS, .limit = 0x1fff, .sel = 0x48, .attr = 0x8b};
    s->ldt = (struct x86_seg){.attr = SEG_UNUSABLE};
}

static void control(struct x86_state *s, enum mode mode, uint8_t how, uint8_t more)
{
    s->cr0 = CR0_ET | (how & 1 ? CR0_NE : 0) | (how & 2 ? CR0_WP : 0) | (how & 4 ? CR0_AM : 0);
    s->cr4 = CR4_PSE | CR4_PGE | (how & 8 ? 0 : CR4_OSFXSR | CR4_OSXMMEXCPT) | (how & 16 ? 0 : CR4_OSXSAVE) |
             (how & 32 ? CR4_VME | CR4_DE | CR4_TSD : 0) | (how & 64 ? CR4_UMIP : 0);
    s->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_PKRU;
    s->cr3 = TABLES;
    if (mode != REAL)
        s->cr0 |= CR0_PE;
    if (mode == PROT32_PAGED || mode == PROT32_USER || mode == V86)
        s->cr0 |= CR0_PG;
    if (mode >= LONG) {
        s->cr0 |= CR0_PG;
        s->cr4 |= CR4_PAE | CR4_FSGSBASE | CR4_PCIDE | (more & 1 ? CR4_PKE : 0);
        s->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
        s->fpu.pkru = more & 2 ? 0xc : 0;
    }
    s->rflags = 2 | X86_IF | (mode == V86 ? X86_VM : 0) | (more & 4 ? X86_IOPL : 0) | (more & 8 ? X86_DF : 0) |
                (more & 16 ? X86_AC : 0) | (more & 32 ? X86_TF : 0);
    if (more & 64) { /* breakpoints on data and code */
        s->dr[0] = DATA;
        s->dr[1] = CODE + 5;
        s->dr[7] = 0x00030605;
    }
}

static void registers(struct x86_state *s, enum mode mode, uint64_t seed)
{
    static const uint64_t interesting[] = {0, 1, DATA, DATA + 0xffc, ROM + 8, RAM - 4, 0x40000000, 7, UINT64_MAX,
                                           BIT64(63), 0xfee00000, STACK - 64, 0x7fffffff, CODE + 64, TABLES, IDT};

    m.noise = (uint32_t)seed;
    for (unsigned n = 0; n < 16; n++, seed >>= 4)
        s->gpr[n] = interesting[seed & 15];
    if (mode < LONG)
        for (unsigned n = 0; n < 16; n++)
            s->gpr[n] = (uint32_t)s->gpr[n];
    for (unsigned n = 0; n < 16; n++) {
        st_le64(s->fpu.ymm[n], noise());
        st_le64(s->fpu.ymm[n] + 16, noise());
    }
    s->gpr[X86_RSP] = mode <= V86 ? 0xf000 : STACK;
    s->rip = mode <= V86 ? 0 : CODE;
}

static void run_translated(struct cpu *c)
{
    for (unsigned n = 0; n < 2; n++) { /* the second time most of it is there */
        pthread_mutex_lock(&m.mutex);
        m.running = true;
        pthread_cond_signal(&m.cond);
        pthread_mutex_unlock(&m.mutex);
        if (cpu_run(c) == CPU_EXIT_SHUTDOWN)
            cpu_init_signal(c);
        pthread_mutex_lock(&m.mutex);
        while (m.running) { /* it shut down earlier */
            pthread_mutex_unlock(&m.mutex);
            usleep(50);
            pthread_mutex_lock(&m.mutex);
        }
        pthread_mutex_unlock(&m.mutex);
    }
}

static void run_stepped(struct cpu *c)
{
    for (unsigned n = 0; n < STEPS && cpu_step(c); n++)
        c->s.mp_state = X86_MP_RUNNABLE; /* what HLT waits for has come */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct x86_state s;
    struct cpu *c;

    if (!m.mem)
        machine();
    if (size < 12)
        return 0;
    enum mode mode = (data[0] & 15) % MODES;
    x86_state_reset(&s, 0, true, false);
    segments(&s, mode);
    control(&s, mode, data[1], data[2]);
    registers(&s, mode, ld_le64(data + 3));
    clear_ram();
    put_tables(mode);
    put_vectors(mode);
    must(mem_write(m.mem, CODE, data + 11, MIN(size - 11, CODE_MAX)));
    c = cpu_get(m.set, 0);
    cpu_set_state(c, &s);
    if (data[0] & 16)
        run_translated(c);
    else
        run_stepped(c);
    cpu_get_state(c, &s);
    must(memcmp(m.rom, m.rom_copy, ROM_SIZE) == 0);
    return 0;
}
