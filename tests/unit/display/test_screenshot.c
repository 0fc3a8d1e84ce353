/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <png.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "display/screenshot.h"
#include "display/text.h"
#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"

static struct surface *s;

static int setup(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    s = surface_new(&e);
    return s ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    surface_free(s);
    return 0;
}

static void test_png(void **state)
{
    struct err e = ERR_INIT;
    png_image image = {.version = PNG_IMAGE_VERSION};
    static uint8_t file[65536], rgb[17 * 9 * 3];

    (void)state;
    surface_set_geometry(s, &(struct surface_geometry){.mode = SURFACE_GRAPHICS, .width = 17, .height = 9});
    for (unsigned y = 0; y < 9; y++)
        for (unsigned x = 0; x < 17; x++)
            surface_pixels(s)[y * SURFACE_MAX_WIDTH + x] = 0xff000000 | x << 16 | y << 8 | 0x42;
    int fd = memfd_create("png", MFD_CLOEXEC);
    assert_ok(screenshot_png(s, fd, &e));
    ssize_t len = pread(fd, file, sizeof(file), 0);
    close(fd);
    assert_true(len > 0);
    assert_true(png_image_begin_read_from_memory(&image, file, (size_t)len));
    assert_int_equal(image.width, 17);
    assert_int_equal(image.height, 9);
    image.format = PNG_FORMAT_RGB;
    assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
    for (unsigned y = 0; y < 9; y++)
        for (unsigned x = 0; x < 17; x++) {
            assert_int_equal(rgb[(y * 17 + x) * 3], x);
            assert_int_equal(rgb[(y * 17 + x) * 3 + 1], y);
            assert_int_equal(rgb[(y * 17 + x) * 3 + 2], 0x42);
        }
}

static void test_errors(void **state)
{
    struct err e = ERR_INIT;
    struct buf out = BUF_INIT;

    (void)state;
    assert_false(screenshot_png(s, 1, &e));
    assert_int_equal(e.code, ERR_STATE);
    assert_false(screenshot_text(s, &out, &e));
    assert_int_equal(e.code, ERR_STATE);
    surface_set_geometry(s, &(struct surface_geometry){.mode = SURFACE_GRAPHICS, .width = 640, .height = 480});
    assert_false(screenshot_text(s, &out, &e));
    assert_int_equal(e.code, ERR_STATE);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    assert_false(screenshot_png(s, full, &e));
    assert_int_equal(e.code, ERR_NOSPACE);
    close(full);
    buf_free(&out);
}

static void test_text(void **state)
{
    struct err e = ERR_INIT;
    struct buf out = BUF_INIT;
    static const uint8_t row[] = {' ', 'G', 'r', 0x81, 0xe1, 'e', 0, 0x1b, 0xb3, 0xff, ' '};

    (void)state;
    surface_set_geometry(s, &(struct surface_geometry){.mode = SURFACE_TEXT, .width = 720, .height = 400,
                                                       .cols = 80, .rows = 3});
    for (unsigned i = 0; i < sizeof(row); i++)
        surface_cells(s)[SURFACE_MAX_COLS + i] = (struct surface_cell){row[i], 7};
    assert_ok(screenshot_text(s, &out, &e));
    assert_string_equal(buf_str(&out), "\n Gr\xc3\xbc\xc3\x9f" "e \xe2\x86\x90\xe2\x94\x82\n\n");
    buf_free(&out);
}

static void test_utf8(void **state)
{
    static const struct { const char *s; unsigned len; uint32_t cp; unsigned used; } rows[] = {
        {"A", 1, 'A', 1}, {"\xc3\xa9", 2, 0xe9, 2}, {"\xe2\x82\xac", 3, 0x20ac, 3},
        {"\xf0\x9f\x98\x80", 4, 0x1f600, 4}, {"\xc3", 1, 0xfffd, 1}, {"\xc0\x80", 2, 0xfffd, 1},
        {"\xed\xa0\x80", 3, 0xfffd, 1}, {"\x80", 1, 0xfffd, 1}, {"\xf8\x88\x80\x80\x80", 5, 0xfffd, 1},
        {"\xe2\x28\xa1", 3, 0xfffd, 1}};

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t cp;
        char back[4];
        assert_int_equal(text_from_utf8(rows[i].s, rows[i].len, &cp), rows[i].used);
        assert_int_equal(cp, rows[i].cp);
        if (cp != 0xfffd) {
            assert_int_equal(text_utf8(cp, back), rows[i].used);
            assert_memory_equal(back, rows[i].s, rows[i].used);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(test_png), T(test_errors), T(test_text), T(test_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
