/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "display/surface.h"
#include "vmm/base/fd.h"

static struct surface *writer, *reader;

static int setup(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    writer = surface_new(&e);
    assert_non_null(writer);
    int fd = surface_reader_fd(writer, &e);
    assert_true(fd >= 0);
    reader = surface_open(fd, &e);
    assert_non_null(reader);
    surface_set_geometry(writer, &(struct surface_geometry){.mode = SURFACE_GRAPHICS, .width = 640,
                                                            .height = 480});
    surface_publish(writer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    surface_free(writer);
    surface_free(reader);
    return 0;
}

static void test_geometry(void **state)
{
    struct surface_geometry g;

    (void)state;
    surface_get_geometry(reader, &g);
    assert_int_equal(g.mode, SURFACE_GRAPHICS);
    assert_int_equal(g.width, 640);
    surface_set_geometry(writer, &(struct surface_geometry){.mode = SURFACE_TEXT, .width = 60000,
                                                            .height = 60000, .cols = 255, .rows = 255,
                                                            .cursor_col = 200, .cursor_visible = true});
    surface_get_geometry(reader, &g);
    assert_int_equal(g.width, SURFACE_MAX_WIDTH);
    assert_int_equal(g.height, SURFACE_MAX_HEIGHT);
    assert_int_equal(g.cols, SURFACE_MAX_COLS);
    assert_int_equal(g.rows, SURFACE_MAX_ROWS);
    assert_false(g.cursor_visible); /* outside the screen */
}

static void test_reader_cannot_write(void **state)
{
    (void)state;
    int fd = surface_fd(reader);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(ftruncate(fd, 0), -1);
}

static void test_damage(void **state)
{
    struct surface_rect r[4];
    uint64_t since = surface_frame(reader), now;

    (void)state;
    assert_int_equal(surface_get_damage(reader, since, r, 4, &now), 0);
    surface_publish(writer); /* nothing happened */
    assert_int_equal(surface_frame(reader), since);

    surface_damage(writer, (struct surface_rect){10, 20, 30, 40});
    surface_damage(writer, (struct surface_rect){600, 470, 100, 100}); /* clipped */
    surface_damage(writer, (struct surface_rect){640, 0, 1, 1});       /* outside */
    surface_publish(writer);
    assert_int_equal(surface_get_damage(reader, since, r, 4, &now), 2);
    assert_int_equal(now, since + 1);
    assert_int_equal(r[0].x, 600);
    assert_int_equal(r[0].w, 40);
    assert_int_equal(r[0].h, 10);
    assert_int_equal(r[1].x, 10);
    assert_int_equal(surface_get_damage(reader, now, r, 4, &now), 0);
    /* too many for the reader's array: the last covers the rest */
    assert_int_equal(surface_get_damage(reader, since, r, 1, &now), 1);
    assert_int_equal(r[0].x, 10);
    assert_int_equal(r[0].w, 630);
    assert_int_equal(r[0].y, 20);
    assert_int_equal(r[0].h, 460);
}

static void test_history(void **state)
{
    struct surface_rect r[100];
    uint64_t since = surface_frame(reader), now;

    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        surface_damage(writer, (struct surface_rect){(uint16_t)i, 0, 1, 1});
        surface_publish(writer);
    }
    assert_int_equal(surface_get_damage(reader, since, r, 100, &now), 60);
    for (unsigned i = 0; i < 60; i++) {
        surface_damage(writer, (struct surface_rect){(uint16_t)i, 0, 1, 1});
        surface_publish(writer);
    }
    assert_int_equal(surface_get_damage(reader, since, r, 100, &now), 1); /* lost: everything */
    assert_int_equal(r[0].w, 640);
    assert_int_equal(r[0].h, 480);
    assert_int_equal(surface_get_damage(reader, now + 5, r, 100, &now), 1); /* another writer's count */
}

static void test_mode_switch(void **state)
{
    struct surface_rect r[4];
    uint64_t since = surface_frame(reader), now;

    (void)state;
    surface_damage(writer, (struct surface_rect){0, 0, 5, 5});
    surface_set_geometry(writer, &(struct surface_geometry){.mode = SURFACE_GRAPHICS, .width = 800,
                                                            .height = 600});
    surface_publish(writer);
    assert_int_equal(surface_get_damage(reader, since, r, 4, &now), 1);
    assert_int_equal(r[0].w, 800);
    assert_int_equal(r[0].h, 600);
}

static void test_foreign_files(void **state)
{
    struct err e = ERR_INIT;
    int fd = fd_memfd("small", 4096, &e);

    (void)state;
    assert_null(surface_open(fd, &e));
    assert_int_equal(e.code, ERR_INVALID);
    close(fd);
    fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, 65536 + SURFACE_MAX_WIDTH * SURFACE_MAX_HEIGHT * 4), 0);
    assert_null(surface_open(fd, &e));
    close(fd);
    assert_null(surface_open(-1, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(test_geometry), T(test_reader_cannot_write), T(test_damage), T(test_history),
        T(test_mode_switch), T(test_foreign_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
