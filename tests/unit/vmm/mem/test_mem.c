/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory map, DMA, page flags and the dirty log. */
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/mem/mem.h"

static const struct mmio_ops ops;

static struct mem *new_mem(uint64_t size)
{
    struct err e = ERR_INIT;
    struct mem *m = mem_new(size, &e);

    assert_non_null(m);
    return m;
}

static void ram_is_split_at_the_hole(void **state)
{
    struct mem *m = new_mem(3 * GIB + 64 * MIB);
    struct mem_range r;
    uint32_t v = 0x12345678, back = 0;

    (void)state;
    assert_int_equal(mem_low_size(m), 3 * GIB);
    assert_int_equal(mem_high_size(m), 64 * MIB);
    mem_find(m, MEM_HIGH_GPA + 4096, &r);
    assert_int_equal(r.kind, MEM_RAM);
    assert_true(r.gpa == MEM_HIGH_GPA);
    assert_true(mem_write(m, MEM_HIGH_GPA + 64 * MIB - 4, &v, 4));
    assert_true(mem_read(m, MEM_HIGH_GPA + 64 * MIB - 4, &back, 4));
    assert_int_equal(back, v);
    assert_false(mem_write(m, MEM_HIGH_GPA + 64 * MIB - 3, &v, 4));
    assert_false(mem_read(m, 3 * GIB - 2, &back, 4));
    assert_false(mem_read(m, UINT64_MAX - 1, &back, 4));
    assert_null(mem_host(m, 3 * GIB, 1));
    mem_free(m);
}

static void higher_priority_wins_and_moves(void **state)
{
    struct mem *m = new_mem(16 * MIB);
    struct mem_range r;

    (void)state;
    struct mem_region *a = mem_add_mmio(m, "a", 0xa0000, 0x20000, MEM_PRIO_DEVICE, &ops, m);
    mem_find(m, 0xa1234, &r);
    assert_int_equal(r.kind, MEM_MMIO);
    assert_true(r.gpa == 0xa0000 && r.size == 0x20000 && r.opaque == m);
    mem_find(m, 0x9ffff, &r);
    assert_true(r.kind == MEM_RAM && r.gpa == 0 && r.size == 0xa0000);
    mem_find(m, 0xc0000, &r);
    assert_true(r.kind == MEM_RAM && r.gpa == 0xc0000 && r.page_index == 0xc0);
    struct mem_region *b = mem_add_ram_alias(m, "b", 0xa8000, 0x1000, MEM_PRIO_SHADOW, true);
    mem_find(m, 0xa8000, &r);
    assert_true(r.kind == MEM_ROM && r.size == 0x1000);
    mem_find(m, 0xa9000, &r);
    assert_true(r.kind == MEM_MMIO && r.offset == 0x9000);
    uint64_t gen = mem_generation(m);
    mem_begin(m);
    mem_region_set(m, b, 0xa8000, false);
    mem_region_set(m, a, 0xfeb00000, true);
    mem_commit(m);
    assert_int_equal(mem_generation(m), gen + 1);
    mem_find(m, 0xa8000, &r);
    assert_true(r.kind == MEM_RAM && r.size == 16 * MIB);
    mem_find(m, 0xfeb1ffff, &r);
    assert_int_equal(r.kind, MEM_MMIO);
    mem_find(m, 0xfeb20000, &r);
    assert_int_equal(r.kind, MEM_NONE);
    mem_free(m);
}

/* Against a model: an array of who answers per page. */
static void random_maps_match_a_model(void **state)
{
    enum { PAGES = 64, REGIONS = 12 };
    struct mem *m = new_mem(1 * MIB);
    struct mem_region *regions[REGIONS];
    struct {
        unsigned first, count;
        int prio;
        bool on;
    } model[REGIONS];

    (void)state;
    srand(3);
    for (int i = 0; i < REGIONS; i++) {
        model[i].first = (unsigned)rand() % PAGES;
        model[i].count = 1 + (unsigned)rand() % 16;
        model[i].prio = 1 + rand() % 4;
        model[i].on = true;
        regions[i] = mem_add_mmio(m, "r", model[i].first * PAGE_SIZE, model[i].count * PAGE_SIZE,
                                  model[i].prio, &ops, (void *)(uintptr_t)(i + 1));
    }
    for (int step = 0; step < 500; step++) {
        int i = rand() % REGIONS;

        model[i].on = rand() % 4 != 0;
        if (model[i].on)
            model[i].first = (unsigned)rand() % PAGES;
        mem_region_set(m, regions[i], model[i].first * PAGE_SIZE, model[i].on);
        for (unsigned p = 0; p < PAGES + 16; p++) {
            int want = 0, best = 0;
            struct mem_range r;
            for (int k = 0; k < REGIONS; k++)
                if (model[k].on && p >= model[k].first && p < model[k].first + model[k].count &&
                    model[k].prio >= best) {
                    best = model[k].prio;
                    want = k + 1;
                }
            mem_find(m, p * PAGE_SIZE, &r);
            assert_int_equal((uintptr_t)r.opaque, want);
            assert_true(range_within(p * PAGE_SIZE, PAGE_SIZE, r.gpa, r.size));
            if (want)
                assert_true(r.offset == r.gpa - model[want - 1].first * PAGE_SIZE);
        }
    }
    mem_free(m);
}

static unsigned hook_calls;
static uint64_t hook_page;

static void code_hook(void *opaque, uint64_t index, unsigned offset, unsigned len)
{
    (void)opaque;
    (void)offset;
    (void)len;
    hook_calls++;
    hook_page = index;
}

static void dma_over_code_calls_the_hook(void **state)
{
    struct mem *m = new_mem(1 * MIB);
    uint8_t data[PAGE_SIZE] = {0};

    (void)state;
    mem_set_code_hook(m, code_hook, NULL);
    mem_page_set(m, 5, PAGE_HAS_CODE);
    hook_calls = 0;
    assert_true(mem_write(m, 4 * PAGE_SIZE + 100, data, PAGE_SIZE));
    assert_int_equal(hook_calls, 1);
    assert_int_equal(hook_page, 5);
    assert_true(mem_write(m, 6 * PAGE_SIZE, data, PAGE_SIZE));
    mem_dirty(m, 5 * PAGE_SIZE + 8, 8);
    assert_int_equal(hook_calls, 2);
    mem_free(m);
}

static void dirty_log_reports_each_write_once(void **state)
{
    struct mem *m = new_mem(1 * MIB);
    static uint8_t vram[16 * PAGE_SIZE] __attribute__((aligned(4096)));
    struct mem_region *r = mem_add_host(m, "vram", 0xe0000000, sizeof(vram), MEM_PRIO_DEVICE, vram, false);
    struct mem_range range;
    uint64_t bits;

    (void)state;
    mem_region_dirty(m, r, &bits);
    assert_int_equal(bits, 0xffff);
    mem_region_dirty(m, r, &bits);
    assert_int_equal(bits, 0);
    mem_find(m, 0xe0000000, &range);
    assert_true(range.host == vram);
    mem_page_written(m, range.page_index + 3, 0, 4);
    mem_region_dirty(m, r, &bits);
    assert_int_equal(bits, 8);
    mem_region_dirty(m, r, &bits);
    assert_int_equal(bits, 0);
    mem_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ram_is_split_at_the_hole),
        cmocka_unit_test(higher_priority_wins_and_moves),
        cmocka_unit_test(random_maps_match_a_model),
        cmocka_unit_test(dma_over_code_calls_the_hook),
        cmocka_unit_test(dirty_log_reports_each_write_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
