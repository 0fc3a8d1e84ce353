/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/devtest.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "display/screenshot.h"
#include "display/surface.h"

#define FRAME (NS_PER_S / 30 + 1)
#define LFB   UINT64_C(0xe0000000)
#define REGS  UINT64_C(0xe1000000)
#define DISPI_ENABLED 1
#define DISPI_LFB     0x40

struct fix {
    struct devtest t;
    struct dev *vga;
    struct surface *surface;
    uint8_t rom[8192];
};

/* A ROM with a font whose glyph n has n in every line, after the two glyphs by which it is found. */
static void make_rom(uint8_t *rom)
{
    static const uint8_t face[10] = {0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e};
    uint8_t *font = rom + 1000;

    memset(rom, 0x55, 8192);
    for (unsigned c = 0; c < 256; c++)
        memset(font + c * 16, (int)c, 16);
    memset(font, 0, 32);
    memcpy(font + 16 + 2, face, sizeof(face));
}

static void start(struct fix *f, bool text)
{
    struct err e = ERR_INIT;

    dt_init(&f->t);
    f->surface = surface_new(&e);
    assert_non_null(f->surface);
    make_rom(f->rom);
    f->vga = dt_new(&f->t, "vga");
    dev_set_ptr(f->vga, "surface", f->surface);
    dev_set_ptr(f->vga, "rom", f->rom);
    dev_set_u64(f->vga, "rom_size", sizeof(f->rom));
    dev_set_u64(f->vga, "text_mode_on_reset", text);
    dt_realize(f->vga);
    dt_cfg_write(&f->t, 0, 0x10, LFB, 4);
    dt_cfg_write(&f->t, 0, 0x18, REGS, 4);
    dt_cfg_write(&f->t, 0, 0x04, 3, 2);
}

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));

    start(f, true);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    dev_free(f->vga);
    surface_free(f->surface);
    dt_fini(&f->t);
    test_free(f);
    return 0;
}

static uint32_t pixel(struct fix *f, unsigned x, unsigned y)
{
    return surface_read_pixels(f->surface)[(size_t)y * SURFACE_MAX_WIDTH + x] & 0xffffff;
}

static struct surface_geometry geometry(struct fix *f)
{
    struct surface_geometry g;

    surface_get_geometry(f->surface, &g);
    return g;
}

static void reg(struct fix *f, uint16_t port, uint8_t index, uint8_t value)
{
    dt_outw(&f->t, port, (uint16_t)(value << 8 | index));
}

static void attr(struct fix *f, uint8_t index, uint8_t value)
{
    dt_inb(&f->t, 0x3da);
    dt_outb(&f->t, 0x3c0, index);
    dt_outb(&f->t, 0x3c0, value);
}

static void dispi(struct fix *f, uint16_t index, uint16_t value)
{
    dt_outw(&f->t, 0x1ce, index);
    dt_outw(&f->t, 0x1cf, value);
}

static uint16_t dispi_get(struct fix *f, uint16_t index)
{
    dt_outw(&f->t, 0x1ce, index);
    return dt_inw(&f->t, 0x1cf);
}

static void dispi_mode(struct fix *f, uint16_t w, uint16_t h, uint16_t bpp)
{
    dispi(f, 4, 0);
    dispi(f, 1, w);
    dispi(f, 2, h);
    dispi(f, 3, bpp);
    dispi(f, 4, DISPI_ENABLED | DISPI_LFB);
    attr(f, 0x20, 0);
    dt_outb(&f->t, 0x3c0, 0x20);
}

/* 320x200 in 256 colours, as a BIOS sets it */
static void mode13(struct fix *f)
{
    static const uint8_t seq[] = {0x03, 0x01, 0x0f, 0x00, 0x0e};
    static const uint8_t crtc[] = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00,
                                   0x41, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x0e,
                                   0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff};
    static const uint8_t gfx[] = {0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff};

    dt_outb(&f->t, 0x3c2, 0x63);
    for (unsigned i = 0; i < sizeof(seq); i++)
        reg(f, 0x3c4, (uint8_t)i, seq[i]);
    reg(f, 0x3d4, 0x11, 0);
    for (unsigned i = 0; i < sizeof(crtc); i++)
        reg(f, 0x3d4, (uint8_t)i, crtc[i]);
    for (unsigned i = 0; i < sizeof(gfx); i++)
        reg(f, 0x3ce, (uint8_t)i, gfx[i]);
    attr(f, 0x30, 0x41);
    attr(f, 0x33, 0);
    for (unsigned i = 0; i < 256; i++) {
        dt_outb(&f->t, 0x3c8, (uint8_t)i);
        dt_outb(&f->t, 0x3c9, (uint8_t)(i >> 2));
        dt_outb(&f->t, 0x3c9, 0);
        dt_outb(&f->t, 0x3c9, 0x3f);
    }
}

/* 640x480 in 16 colours */
static void mode12(struct fix *f)
{
    static const uint8_t crtc[] = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00,
                                   0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xea, 0x0c,
                                   0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff};
    static const uint8_t seq[] = {0x03, 0x01, 0x0f, 0x00, 0x06};
    static const uint8_t gfx[] = {0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff};

    dt_outb(&f->t, 0x3c2, 0xe3);
    for (unsigned i = 0; i < sizeof(seq); i++)
        reg(f, 0x3c4, (uint8_t)i, seq[i]);
    reg(f, 0x3d4, 0x11, 0);
    for (unsigned i = 0; i < sizeof(crtc); i++)
        reg(f, 0x3d4, (uint8_t)i, crtc[i]);
    for (unsigned i = 0; i < sizeof(gfx); i++)
        reg(f, 0x3ce, (uint8_t)i, gfx[i]);
    attr(f, 0x30, 0x01);
    for (unsigned i = 0; i < 0x10000; i += 8)
        dt_write(&f->t, 0xa0000 + i, 0, 8);
}

static void test_text(void **state)
{
    struct fix *f = *state;
    struct buf text = BUF_INIT;
    struct err e = ERR_INIT;
    const uint32_t grey = 0xaaaaaa, white = 0xffffff, blue = 0x0000aa;

    dt_write(&f->t, 0xb8000, 0x1f41, 2); /* 'A', white on blue */
    dt_write(&f->t, 0xb8000 + 160 * 24 + 158, 0x07c4, 2);
    dt_advance(&f->t, FRAME);
    struct surface_geometry g = geometry(f);
    assert_int_equal(g.mode, SURFACE_TEXT);
    assert_int_equal(g.width, 720);
    assert_int_equal(g.height, 400);
    assert_int_equal(g.cols, 80);
    assert_int_equal(g.rows, 25);
    assert_true(g.cursor_visible);
    /* glyph 0x41 is 01000001, then the ninth column */
    assert_int_equal(pixel(f, 0, 3), blue);
    assert_int_equal(pixel(f, 1, 3), white);
    assert_int_equal(pixel(f, 7, 3), white);
    assert_int_equal(pixel(f, 8, 3), blue);
    /* glyph 0xc4 is 11000100: its eighth column is repeated */
    assert_int_equal(pixel(f, 711 + 0, 399), grey);
    assert_int_equal(pixel(f, 711 + 5, 399), grey);
    assert_int_equal(pixel(f, 711 + 7, 399), 0);
    assert_int_equal(pixel(f, 711 + 8, 399), 0);
    assert_true(screenshot_text(f->surface, &text, &e));
    assert_int_equal(strncmp(buf_str(&text), "A\n\n", 3), 0);
    assert_string_equal(buf_str(&text) + text.len - 4, "\xe2\x94\x80\n");
    buf_free(&text);
}

static void test_text_damage(void **state)
{
    struct fix *f = *state;
    struct surface_rect r[4];
    uint64_t now;

    dt_advance(&f->t, FRAME);
    uint64_t since = surface_frame(f->surface);
    dt_write(&f->t, 0xb8000 + 160 * 2 + 10, 0x0758, 2);
    dt_advance(&f->t, FRAME);
    assert_int_equal(surface_get_damage(f->surface, since, r, 4, &now), 1);
    assert_int_equal(r[0].x, 45);
    assert_int_equal(r[0].y, 32);
    assert_int_equal(r[0].w, 9);
    assert_int_equal(r[0].h, 16);
    dt_advance(&f->t, FRAME);
    assert_int_equal(surface_frame(f->surface), now); /* idle: no frames */
}

static void test_cursor_and_blink(void **state)
{
    struct fix *f = *state;

    reg(f, 0x3d4, 0x0e, 0);
    reg(f, 0x3d4, 0x0f, 81);
    dt_write(&f->t, 0xb8000, 0x8741, 2); /* blinking */
    dt_advance(&f->t, FRAME);
    struct surface_geometry g = geometry(f);
    assert_int_equal(g.cursor_col, 1);
    assert_int_equal(g.cursor_row, 1);
    assert_int_equal(pixel(f, 9, 16 + 13), 0xaaaaaa);
    assert_int_equal(pixel(f, 9, 16 + 12), 0);
    assert_int_equal(pixel(f, 1, 0), 0xaaaaaa);
    dt_advance(&f->t, NS_PER_S / 2);
    assert_int_equal(pixel(f, 9, 16 + 13), 0);
    assert_int_equal(pixel(f, 1, 0), 0);
    reg(f, 0x3d4, 0x0a, 0x20);
    dt_advance(&f->t, FRAME);
    assert_false(geometry(f).cursor_visible);
}

static void test_mode13_direct(void **state)
{
    struct fix *f = *state;
    struct mem_range r;

    mode13(f);
    mem_find(f->t.mem, 0xa0000, &r);
    assert_int_equal(r.kind, MEM_RAM); /* the fast path */
    memset(r.host, 0, 64000);
    r.host[320 + 3] = 200;
    mem_page_written(f->t.mem, r.page_index, 0, 4);
    dt_advance(&f->t, FRAME);
    struct surface_geometry g = geometry(f);
    assert_int_equal(g.mode, SURFACE_GRAPHICS);
    assert_int_equal(g.width, 640);
    assert_int_equal(g.height, 400);
    assert_int_equal(pixel(f, 6, 2), 0xcb00ff); /* doubled both ways */
    assert_int_equal(pixel(f, 7, 3), 0xcb00ff);
    assert_int_equal(pixel(f, 8, 3), 0x0000ff);
    assert_int_equal(pixel(f, 6, 4), 0x0000ff);
    r.host[5] = 8;
    mem_page_written(f->t.mem, r.page_index, 0, 4);
    dt_advance(&f->t, FRAME);
    assert_int_equal(pixel(f, 10, 0), 0x0800ff);
    reg(f, 0x3c4, 2, 1); /* planes masked: no longer plain memory */
    mem_find(f->t.mem, 0xa0000, &r);
    assert_int_equal(r.kind, MEM_MMIO);
    dt_write(&f->t, 0xa0000, 0xffffffff, 4);
    reg(f, 0x3c4, 2, 15);
    assert_int_equal(dt_read(&f->t, 0xa0000, 4), 0x000000ff);
}

static void test_mode_x(void **state)
{
    struct fix *f = *state;

    mode13(f);
    reg(f, 0x3c4, 4, 0x06); /* unchained */
    reg(f, 0x3d4, 0x14, 0x00);
    reg(f, 0x3d4, 0x17, 0xe3);
    reg(f, 0x3c4, 2, 0x04);
    dt_write(&f->t, 0xa0000 + 80 + 1, 0xfc, 1); /* plane 2: pixel 6 of line 1 */
    dt_advance(&f->t, FRAME);
    assert_int_equal(pixel(f, 12, 2), 0xff00ff);
    reg(f, 0x3d4, 0x0d, 80); /* start one line later */
    dt_advance(&f->t, FRAME);
    assert_int_equal(pixel(f, 12, 0), 0xff00ff);
}

static void test_planar(void **state)
{
    struct fix *f = *state;

    mode12(f);
    reg(f, 0x3c4, 2, 0x04);
    dt_write(&f->t, 0xa0000, 0x81, 1);
    dt_advance(&f->t, FRAME);
    struct surface_geometry g = geometry(f);
    assert_int_equal(g.width, 640);
    assert_int_equal(g.height, 480);
    assert_int_equal(pixel(f, 0, 0), 0xaa0000);
    assert_int_equal(pixel(f, 1, 0), 0);
    assert_int_equal(pixel(f, 7, 0), 0xaa0000);

    reg(f, 0x3c4, 2, 0x0f);
    reg(f, 0x3ce, 5, 2); /* write mode 2: colour through the bit mask */
    reg(f, 0x3ce, 8, 0x40);
    (void)dt_read(&f->t, 0xa0000, 1);
    dt_write(&f->t, 0xa0000, 0x02, 1);
    dt_advance(&f->t, FRAME);
    assert_int_equal(pixel(f, 0, 0), 0xaa0000);
    assert_int_equal(pixel(f, 1, 0), 0x00aa00);

    reg(f, 0x3ce, 5, 0x08); /* read mode 1: where is green? */
    reg(f, 0x3ce, 2, 2);
    assert_int_equal(dt_read(&f->t, 0xa0000, 1), 0x40);

    reg(f, 0x3ce, 5, 1); /* write mode 1: copy by latches */
    (void)dt_read(&f->t, 0xa0000, 1);
    dt_write(&f->t, 0xa0050, 0, 1);
    reg(f, 0x3ce, 8, 0xff);
    dt_advance(&f->t, FRAME);
    assert_int_equal(pixel(f, 0, 1), 0xaa0000);
    assert_int_equal(pixel(f, 1, 1), 0x00aa00);

    reg(f, 0x3ce, 5, 3); /* write mode 3: set/reset through data and mask */
    reg(f, 0x3ce, 0, 1);
    dt_write(&f->t, 0xa00a0, 0x10, 1);
    reg(f, 0x3ce, 5, 0); /* write mode 0 with XOR and set/reset */
    reg(f, 0x3ce, 0, 0);
    reg(f, 0x3ce, 3, 0x18);
    (void)dt_read(&f->t, 0xa0000, 1);
    dt_write(&f->t, 0xa0000, 0x80, 1);
    dt_advance(&f->t, FRAME);
    assert_int_equal(pixel(f, 3, 2), 0x0000aa);
    assert_int_equal(pixel(f, 0, 0), 0x55ffff); /* 4 xor 15: bright cyan */
}

static void test_split_screen(void **state)
{
    struct fix *f = *state;

    mode12(f);
    dt_write(&f->t, 0xa0000, 0xff, 1);
    reg(f, 0x3d4, 0x0d, 80);
    dt_write(&f->t, 0xa0000 + 80, 0, 1);
    reg(f, 0x3d4, 0x11, 0x00);
    reg(f, 0x3d4, 0x07, 0x2e); /* line compare bit 8 off */
    reg(f, 0x3d4, 0x18, 99);
    reg(f, 0x3d4, 0x09, 0x00);
    dt_advance(&f->t, FRAME);
    assert_int_equal(pixel(f, 0, 0), 0);
    assert_int_equal(pixel(f, 0, 99), 0);
    assert_int_equal(pixel(f, 0, 100), 0xffffff);
    assert_int_equal(pixel(f, 0, 101), 0);
}

static void test_vbe(void **state)
{
    struct fix *f = *state;
    struct mem_range r;

    assert_int_equal(dispi_get(f, 0), 0xb0c5);
    dispi(f, 4, 2);
    assert_int_equal(dispi_get(f, 1), SURFACE_MAX_WIDTH);
    assert_int_equal(dispi_get(f, 2), SURFACE_MAX_HEIGHT);
    assert_int_equal(dispi_get(f, 10), 256);
    dispi_mode(f, 800, 600, 32);
    mem_find(f->t.mem, LFB, &r);
    assert_int_equal(r.kind, MEM_RAM);
    dt_advance(&f->t, FRAME);
    uint64_t since = surface_frame(f->surface), now;
    st_le32(r.host + (10 * 800 + 20) * 4, 0xff123456);
    mem_page_written(f->t.mem, r.page_index + 10 * 800 * 4 / 4096, 0, 4);
    dt_advance(&f->t, FRAME);
    struct surface_geometry g = geometry(f);
    assert_int_equal(g.width, 800);
    assert_int_equal(g.height, 600);
    assert_int_equal(pixel(f, 20, 10), 0x123456);
    struct surface_rect d[4];
    assert_int_equal(surface_get_damage(f->surface, since, d, 4, &now), 1);
    assert_int_equal(d[0].x, 20);
    assert_int_equal(d[0].y, 10);
    assert_int_equal(d[0].w, 1);
    assert_int_equal(d[0].h, 1);

    dispi(f, 6, 1600); /* pan over a wider picture */
    dispi(f, 8, 8);
    dispi(f, 9, 5);
    dt_advance(&f->t, FRAME);
    assert_int_equal(pixel(f, (10 * 800 + 20) % 1600 - 8, 0), 0x123456);

    static const struct { uint16_t bpp; uint32_t raw, rgb; } depths[] = {
        {15, 0x7c00, 0xff0000}, {16, 0xf800, 0xff0000}, {24, 0x00ff00, 0x00ff00}, {32, 0xff, 0xff}};
    for (unsigned i = 0; i < 4; i++) {
        dispi_mode(f, 640, 480, depths[i].bpp);
        st_le32(r.host, depths[i].raw);
        mem_page_written(f->t.mem, r.page_index, 0, 4);
        dt_advance(&f->t, FRAME);
        assert_int_equal(pixel(f, 0, 0), depths[i].rgb);
        assert_int_equal(pixel(f, 1, 0), 0);
    }
    /* through the window, with a bank */
    dispi_mode(f, 640, 480, 8);
    dispi(f, 5, 3);
    dt_write(&f->t, 0xa0000, 0x5a, 1);
    assert_int_equal(r.host[0x30000], 0x5a);
    dispi(f, 4, 0);
    attr(f, 0x30, 0x0c);
    dt_advance(&f->t, FRAME);
    assert_int_equal(geometry(f).mode, SURFACE_GRAPHICS); /* the VGA's own, set by the window's mode */
}

static void test_limits(void **state)
{
    struct fix *f = *state;

    dispi_mode(f, 65535, 65535, 32);
    dt_advance(&f->t, FRAME);
    assert_int_equal(geometry(f).width, SURFACE_MAX_WIDTH);
    assert_int_equal(geometry(f).height, SURFACE_MAX_HEIGHT);
    dispi(f, 8, 65535);
    dispi(f, 9, 65535);
    dt_advance(&f->t, FRAME);
    dispi_mode(f, 0, 0, 77);
    dt_advance(&f->t, FRAME);
    assert_int_equal(dispi_get(f, 3), 8);
}

static void test_registers_bar(void **state)
{
    struct fix *f = *state;
    uint8_t sum = 0;

    for (unsigned i = 0; i < 128; i++)
        sum = (uint8_t)(sum + dt_read(&f->t, REGS + i, 1));
    assert_int_equal(sum, 0);
    assert_int_equal(dt_read(&f->t, REGS, 4), 0xffffff00);
    assert_int_equal(dt_read(&f->t, REGS + 0x500, 2), 0xb0c5);
    dt_write(&f->t, REGS + 0x502, 1024, 2);
    assert_int_equal(dispi_get(f, 1), 1024);
    assert_int_equal(dt_read(&f->t, REGS + 0x600, 4), 8);
    dt_write(&f->t, REGS + 0x408, 7, 1); /* port 3c8 */
    assert_int_equal(dt_inb(&f->t, 0x3c8), 7);
}

static void test_blank_and_reset(void **state)
{
    struct fix *f = *state;

    dt_inb(&f->t, 0x3da);
    dt_outb(&f->t, 0x3c0, 0x00); /* palette to the CPU: nothing shows */
    dt_advance(&f->t, FRAME);
    assert_int_equal(geometry(f).mode, SURFACE_BLANK);
    dev_reset(f->vga);
    assert_int_equal(geometry(f).mode, SURFACE_TEXT);
    assert_int_equal(dt_read(&f->t, 0xb8000, 4), 0x07200720);
}

static void test_retrace(void **state)
{
    struct fix *f = *state;
    unsigned rises = 0, before = 0;

    for (unsigned i = 0; i < 20000; i++) { /* one second by 50 us */
        dt_advance(&f->t, 50000);
        unsigned now = dt_inb(&f->t, 0x3da) & 8;
        rises += now && !before;
        before = now;
    }
    assert_in_range(rises, 69, 71);
}

static void test_no_rom(void **state)
{
    struct fix f;

    (void)state;
    memset(&f, 0, sizeof(f));
    start(&f, false);
    dt_advance(&f.t, FRAME);
    assert_int_equal(geometry(&f).mode, SURFACE_BLANK);
    dev_free(f.vga);
    surface_free(f.surface);
    dt_fini(&f.t);
}

/* Whatever a guest writes, drawing stays within display memory and surface (sanitizers watch). */
static void test_random_registers(void **state)
{
    struct fix *f = *state;
    unsigned seed = 1;

    for (unsigned i = 0; i < 4000; i++) {
        unsigned r = (unsigned)rand_r(&seed), v = (unsigned)rand_r(&seed);
        switch (r % 8) {
        case 0: dispi(f, (uint16_t)(r >> 8 & 15), (uint16_t)v); break;
        case 1: reg(f, 0x3d4, (uint8_t)(r >> 8 & 31), (uint8_t)v); break;
        case 2: reg(f, 0x3ce, (uint8_t)(r >> 8 & 15), (uint8_t)v); break;
        case 3: reg(f, 0x3c4, (uint8_t)(r >> 8 & 7), (uint8_t)(v | (r & 0x1000 ? 3 : 0))); break;
        case 4: attr(f, (uint8_t)(0x20 | (r >> 8 & 31)), (uint8_t)v); break;
        case 5: dt_write(&f->t, 0xa0000 + (v & 0x1fff8), v, 8); break;
        case 6: (void)dt_read(&f->t, 0xa0000 + (v & 0x1fff8), 4); break;
        default: dt_outb(&f->t, (uint16_t)(0x3b0 + (r >> 8) % 48), (uint8_t)v); break;
        }
        if (i % 8 == 0)
            dt_advance(&f->t, FRAME);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(test_text), T(test_text_damage), T(test_cursor_and_blink), T(test_mode13_direct),
        T(test_mode_x), T(test_planar), T(test_split_screen), T(test_vbe), T(test_limits),
        T(test_registers_bar), T(test_blank_and_reset), T(test_retrace), T(test_random_registers),
        cmocka_unit_test(test_no_rom),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
