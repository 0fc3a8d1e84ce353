/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code and paging structures outside of RAM: instructions fetched from a device, across a border with RAM, from where
 * nothing is; page tables in ROM, in a device, in memory of a device. */
#include <string.h>
#include <sys/mman.h>

#include "tests/lib/test.h"
#include "tests/lib/vcpu.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

#define EXIT   "\nmov $0xf4, %dx\nout %al, %dx\nhlt\n"
#define DEVICE 0x30000000u /* nothing is mapped there: the I/O operations answer */
#define ROM    0x20000000u

/* ---- code ---- */

GUEST_CODE(code_sum, "xor %eax, %eax\n"
                     "mov $100, %ecx\n"
                     "1: add %ecx, %eax\n"
                     "mov %eax, 0x200000(,%rcx,4)\n"
                     "dec %ecx\n"
                     "jnz 1b\n"
                     "movabs $0x1122334455667788, %rbx\n" EXIT);
GUEST_CODE(code_jump, "mov $0x30000100, %eax\njmp *%rax\n");

static uint8_t *device_page(unsigned at, const uint8_t *code, const uint8_t *end)
{
    uint8_t *p = x_alloc(PAGE_SIZE + 8);

    memcpy(p + at, code, (size_t)(end - code));
    return p;
}

/* step: one instruction at a time. */
static void run(struct vcpu *v, bool step)
{
    if (step)
        vcpu_step(v);
    else
        vcpu_run(v);
}

static void code_in_a_device(void **state)
{
    (void)state;
    for (unsigned step = 0; step < 2; step++) {
        struct vcpu *v = vcpu_new(1, 64);
        uint8_t *page = device_page(0x100, code_sum, code_sum_end);

        v->mmio_bytes = page;
        vcpu_load(v, code_jump, code_jump_end);
        run(v, step);
        assert_int_equal(vcpu_exception(v, NULL), -1);
        assert_int_equal(v->st.gpr[X86_RAX] & ~UINT64_C(0xff), 5050 & ~0xff);
        assert_int_equal(v->st.gpr[X86_RBX], UINT64_C(0x1122334455667788));
        assert_int_equal(vcpu_peek(v, 0x200000 + 4, 4), 5050);
        assert_true(v->mmio_count > 400);
        vcpu_free(v);
        x_free(page);
    }
}

/* It is read each time: what the device gives next is executed next. */
static void code_in_a_device_changes(void **state)
{
    static const uint8_t inc_loop[] = {0xff, 0xc0, 0xeb, 0xfc}; /* inc eax; jmp back */
    struct vcpu *v = vcpu_new(1, 64);
    uint8_t *page = device_page(0x100, inc_loop, inc_loop + sizeof(inc_loop));

    (void)state;
    v->mmio_bytes = page;
    v->st.rip = DEVICE + 0x100;
    v->st.gpr[X86_RAX] = 0;
    cpu_set_state(v->cpu, &v->st);
    for (unsigned n = 0; n < 100; n++)
        assert_true(cpu_step(v->cpu));
    assert_int_equal(v->cpu->s.gpr[X86_RAX], 50);
    page[0x101] = 0xc8; /* dec eax */
    for (unsigned n = 0; n < 60; n++)
        assert_true(cpu_step(v->cpu));
    assert_int_equal(v->cpu->s.gpr[X86_RAX], 20);
    vcpu_free(v);
    x_free(page);
}

/* MOV RAX, imm64 begins in the last bytes of RAM. */
static void across_the_end_of_ram(void **state)
{
    static const uint8_t mov[] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xe6, 0xf4, 0xf4}; /* ...; out 0xf4, al; hlt */

    (void)state;
    for (unsigned here = 1; here < 10; here++)
        for (unsigned step = 0; step < 2; step++) {
            struct vcpu *v = vcpu_new(1, 64);
            uint8_t *page = device_page(0, mov + here, mov + sizeof(mov));

            v->mmio_bytes = page;
            mem_write(v->mem, VCPU_RAM - here, mov, here);
            v->st.rip = VCPU_RAM - here;
            run(v, step);
            assert_int_equal(v->st.gpr[X86_RAX], UINT64_C(0x0807060504030201));
            vcpu_free(v);
            x_free(page);
        }
}

/* All ones: FF FF is no instruction. */
static void nothing_is_undefined(void **state)
{
    struct vcpu *v = vcpu_new(1, 64);

    (void)state;
    v->mmio_value = UINT64_MAX;
    v->st.rip = DEVICE;
    vcpu_step(v);
    assert_int_equal(vcpu_exception(v, NULL), X86_UD);
    vcpu_free(v);
}

/* ---- paging structures ---- */

GUEST_CODE(code_load_cr3, "mov %rbx, %cr3\n"
                          "mov 0x200000, %rcx\n"
                          "movq $77, 0x200008\n" EXIT);

/* PML4, PDPT and PD with the identity map of 1 GiB, no bit set that a walk sets. */
static void make_tables(uint8_t *p, uint64_t gpa)
{
    st_le64(p, (gpa + 0x1000) | 7);
    st_le64(p + 0x1000, (gpa + 0x2000) | 7);
    for (unsigned n = 0; n < 512; n++)
        st_le64(p + 0x2000 + n * 8, (uint64_t)n << 21 | 0x83);
}

static void tables_outside_of_ram(bool readonly)
{
    struct vcpu *v = vcpu_new(1, 64);
    uint8_t *p = mmap(NULL, 0x3000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *before;

    make_tables(p, ROM);
    before = x_alloc(0x3000);
    memcpy(before, p, 0x3000);
    assert_non_null(mem_add_host(v->mem, "tables", ROM, 0x3000, MEM_PRIO_ROM, p, readonly));
    vcpu_load(v, code_load_cr3, code_load_cr3_end);
    vcpu_poke(v, VCPU_DATA, 55, 8);
    v->st.gpr[X86_RBX] = ROM;
    vcpu_run(v);
    assert_int_equal(v->st.gpr[X86_RCX], 55);
    assert_int_equal(vcpu_peek(v, VCPU_DATA + 8, 8), 77);
    if (readonly) {
        assert_memory_equal(p, before, 0x3000);
    } else {
        assert_int_equal(ld_le64(p) & 0x60, 0x20);
        assert_int_equal(ld_le64(p + 0x2008) & 0x60, 0x60);
        assert_int_equal(ld_le64(p + 0x2010) & 0x60, 0);
    }
    vcpu_free(v);
    munmap(p, 0x3000);
    x_free(before);
}

static void tables_in_rom(void **state)
{
    (void)state;
    tables_outside_of_ram(true);
}

static void tables_in_memory_of_a_device(void **state)
{
    (void)state;
    tables_outside_of_ram(false);
}

/* One PML4 whose first entry leads to ordinary tables. */
static void tables_in_a_device(void **state)
{
    struct vcpu *v = vcpu_new(1, 64);
    uint8_t *page = x_alloc(PAGE_SIZE + 8);

    (void)state;
    st_le64(page, (VCPU_TABLES + 0x1000) | 7);
    v->mmio_bytes = page;
    vcpu_load(v, code_load_cr3, code_load_cr3_end);
    v->st.gpr[X86_RBX] = DEVICE;
    vcpu_run(v);
    assert_int_equal(vcpu_peek(v, VCPU_DATA + 8, 8), 77);
    assert_int_equal(ld_le64(page), (VCPU_TABLES + 0x1000) | 7);
    vcpu_free(v);
    x_free(page);
}

/* All ones again: present, with reserved bits. The handler cannot be reached either. */
static void tables_nowhere(void **state)
{
    struct vcpu *v = vcpu_new(1, 64);

    (void)state;
    v->mmio_value = UINT64_MAX;
    vcpu_load(v, code_load_cr3, code_load_cr3_end);
    v->st.gpr[X86_RBX] = DEVICE;
    vcpu_step(v);
    assert_int_equal(v->st.rip, UINT64_MAX); /* triple fault */
    vcpu_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_in_a_device),      cmocka_unit_test(code_in_a_device_changes),
        cmocka_unit_test(across_the_end_of_ram), cmocka_unit_test(nothing_is_undefined),
        cmocka_unit_test(tables_in_rom),         cmocka_unit_test(tables_in_memory_of_a_device),
        cmocka_unit_test(tables_in_a_device),    cmocka_unit_test(tables_nowhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
