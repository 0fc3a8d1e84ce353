/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw images through the asynchronous interface, and image locks. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/buf.h"
#include "vmm/block/blk.h"

#define DISK (1u << 20)

struct image {
    char path[64];
    struct loop *loop;
    struct blk *blk;
};

static void open_image(struct image *im, off_t size, bool readonly)
{
    struct err e = ERR_INIT;

    str_copy(im->path, sizeof(im->path), "/tmp/vmdeck-blk-XXXXXX");
    int fd = mkstemp(im->path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    im->loop = loop_new(&e);
    im->blk = blk_open("raw", fd, readonly, im->loop, &e);
    if (!im->blk)
        fail_msg("%s", e.msg);
}

static void close_image(struct image *im)
{
    blk_close(im->blk);
    loop_free(im->loop);
    unlink(im->path);
}

static void on_done(struct blk_req *r, int err)
{
    *(int *)r->opaque = err;
}

static int request(struct image *im, enum blk_op op, uint64_t offset, uint64_t len, void *data)
{
    int result = -1;
    struct iovec iov[2] = {{data, len / 2}, {(char *)data + len / 2, len - len / 2}};
    struct blk_req r = {.op = op,
                        .offset = offset,
                        .len = len,
                        .iov = iov,
                        .iovcnt = data ? 2 : 0,
                        .done = on_done,
                        .opaque = &result};

    blk_submit(im->blk, &r);
    while (result == -1)
        loop_step(im->loop, 100);
    return result;
}

static void writes_read_back(void **state)
{
    struct image im;
    static char a[65536], b[65536];

    (void)state;
    open_image(&im, DISK, false);
    for (unsigned i = 0; i < sizeof(a); i++)
        a[i] = (char)(i * 7 + i / 256);
    assert_int_equal(request(&im, BLK_WRITE, 4096, sizeof(a), a), 0);
    assert_int_equal(request(&im, BLK_FLUSH, 0, 0, NULL), 0);
    assert_int_equal(request(&im, BLK_READ, 4096, sizeof(b), b), 0);
    assert_memory_equal(a, b, sizeof(a));
    assert_int_equal(request(&im, BLK_DISCARD, 4096, 4096, NULL), 0);
    assert_int_equal(request(&im, BLK_WRITE_ZEROES, 8192, 512, NULL), 0);
    assert_int_equal(request(&im, BLK_READ, 4096, 8192, b), 0);
    for (unsigned i = 0; i < 4608; i++)
        assert_int_equal(b[i], 0);
    assert_memory_equal(b + 4608, a + 4608, 8192 - 4608);
    struct blk_stats st;
    blk_get_stats(im.blk, &st);
    assert_int_equal(st.write_bytes, sizeof(a));
    close_image(&im);
}

/* On the spot or not at all, which is up to the file system; never what would need an answer of its own. */
static void cached_reads_at_once(void **state)
{
    static char a[4096], b[4096];
    struct iovec iov = {b, sizeof(b)};
    struct blk_req r = {.op = BLK_READ, .offset = 512, .len = sizeof(b), .iov = &iov, .iovcnt = 1};
    struct blk_stats st;
    struct image im;

    (void)state;
    open_image(&im, DISK, false);
    memset(a, 0x5a, sizeof(a));
    assert_int_equal(request(&im, BLK_WRITE, 512, sizeof(a), a), 0);
    if (blk_at_once(im.blk, &r)) {
        assert_memory_equal(a, b, sizeof(a));
        blk_get_stats(im.blk, &st);
        assert_int_equal(st.read_bytes, sizeof(b));
    }
    r.offset = DISK - 512;
    assert_false(blk_at_once(im.blk, &r));
    r.offset = 100;
    assert_false(blk_at_once(im.blk, &r));
    r.offset = 512;
    r.op = BLK_WRITE;
    assert_false(blk_at_once(im.blk, &r));
    close_image(&im);
}

static void bad_requests_fail(void **state)
{
    struct image im;
    char data[1024] = {0};

    (void)state;
    open_image(&im, DISK, false);
    assert_int_equal(request(&im, BLK_READ, DISK - 512, 1024, data), EIO);
    assert_int_equal(request(&im, BLK_READ, UINT64_MAX - 511, 1024, data), EIO);
    assert_int_equal(request(&im, BLK_READ, 100, 512, data), EIO);
    assert_int_equal(request(&im, BLK_WRITE, DISK, 512, data), EIO);
    close_image(&im);
    open_image(&im, DISK, true);
    assert_int_equal(request(&im, BLK_WRITE, 0, 512, data), EROFS);
    assert_int_equal(request(&im, BLK_DISCARD, 0, 512, NULL), EROFS);
    close_image(&im);
}

static void a_torn_last_sector_reads_as_zeros(void **state)
{
    struct image im;
    struct blk_info info;
    char data[1024];

    (void)state;
    open_image(&im, 1000, true);
    blk_get_info(im.blk, &info);
    assert_int_equal(info.size, 1024);
    memset(data, 1, sizeof(data));
    assert_int_equal(request(&im, BLK_READ, 0, 1024, data), 0);
    assert_int_equal(data[999], 0);
    assert_int_equal(data[1023], 0);
    close_image(&im);
}

static void count_done(struct blk_req *r, int err)
{
    if (!err)
        ++*(int *)r->opaque;
}

static void drain_waits_for_everything(void **state)
{
    struct image im;
    static char data[64][4096];
    static struct iovec iov[64];
    static struct blk_req r[64];
    int done = 0;

    (void)state;
    open_image(&im, DISK, false);
    for (unsigned i = 0; i < 64; i++) {
        iov[i] = (struct iovec){data[i], 4096};
        r[i] = (struct blk_req){.op = BLK_WRITE,
                                .offset = i * 4096,
                                .len = 4096,
                                .iov = &iov[i],
                                .iovcnt = 1,
                                .done = count_done,
                                .opaque = &done};
        blk_submit(im.blk, &r[i]);
    }
    blk_drain(im.blk);
    assert_int_equal(done, 64);
    close_image(&im);
}

static void locks_exclude_a_second_writer(void **state)
{
    struct err e = ERR_INIT;
    char path[] = "/tmp/vmdeck-lock-XXXXXX";

    (void)state;
    int a = mkstemp(path), b = open(path, O_RDWR), c = open(path, O_RDONLY),
        d = open(path, O_RDONLY);
    assert_ok(blk_lock(a, false, path, &e));
    assert_false(blk_lock(b, false, path, &e));
    assert_int_equal(e.code, ERR_BUSY);
    assert_non_null(strstr(e.msg, path));
    assert_false(blk_lock(c, true, path, &e));
    close(a);
    assert_ok(blk_lock(c, true, path, &e));
    assert_ok(blk_lock(d, true, path, &e)); /* readers share */
    assert_false(blk_lock(b, false, path, &e));
    close(c);
    close(d);
    assert_ok(blk_lock(b, false, path, &e));
    close(b);
    unlink(path);
}

static void wrong_images_are_refused(void **state)
{
    struct err e = ERR_INIT;
    struct loop *loop = loop_new(&e);

    (void)state;
    assert_null(blk_open("raw", open("/dev/null", O_RDWR), false, loop, &e));
    assert_null(blk_open("raw", open("/tmp", O_RDONLY), true, loop, &e));
    assert_null(blk_open("qcow9", open("/dev/null", O_RDWR), false, loop, &e));
    assert_non_null(strstr(e.msg, "qcow9"));
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_read_back),
        cmocka_unit_test(cached_reads_at_once),
        cmocka_unit_test(bad_requests_fail),
        cmocka_unit_test(a_torn_last_sector_reads_as_zeros),
        cmocka_unit_test(drain_waits_for_everything),
        cmocka_unit_test(locks_exclude_a_second_writer),
        cmocka_unit_test(wrong_images_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
