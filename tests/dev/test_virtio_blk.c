/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk on an image in memory, driven through its ring. */
#include "tests/lib/image.h"
#include "tests/lib/vdriver.h"

#define SIZE    (1u << 20)
#define SECTORS (SIZE / BLK_SECTOR)
#define HEADER  0x200000u
#define STATUS  0x200100u
#define DATA    0x201000u

enum { T_IN, T_OUT, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP };

struct fixture {
    struct devtest t;
    struct loop *loop;
    struct image im;
    struct dev *dev;
    struct vdriver d;
};

static void start(struct fixture *f, bool readonly)
{
    struct err e = ERR_INIT;

    dt_init(&f->t);
    f->loop = f->t.env.loop = loop_new(&e);
    image_new(&f->im, SIZE, readonly, f->loop);
    f->dev = dt_new(&f->t, "virtio-blk");
    dev_set_ptr(f->dev, "blk", f->im.blk);
    dt_realize(f->dev);
    vd_init(&f->d, &f->t);
}

static int setup(void **state)
{
    static struct fixture f;

    start(&f, false);
    *state = &f;
    return 0;
}

static int setup_readonly(void **state)
{
    static struct fixture f;

    start(&f, true);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dev_free(f->dev);
    image_free(&f->im);
    loop_free(f->loop);
    dt_fini(&f->t);
    return 0;
}

static void put_header(struct fixture *f, uint32_t type, uint64_t sector)
{
    uint8_t h[16] = {0};

    st_le32(h, type);
    st_le64(h + 8, sector);
    assert_true(mem_write(f->t.mem, HEADER, h, sizeof(h)));
    assert_true(mem_write(f->t.mem, STATUS, "\xee", 1));
}

static uint8_t wait_status(struct fixture *f)
{
    uint32_t head, len;
    uint8_t status;

    for (unsigned i = 0; !vd_used(&f->d, 0, &head, &len); i++) {
        assert_in_range(i, 0, 1000);
        loop_step(f->loop, 10);
    }
    assert_true(mem_read(f->t.mem, STATUS, &status, 1));
    return status;
}

/* A request with len bytes of data at DATA in two segments. */
static uint8_t request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t len)
{
    bool in = type == T_IN || type == T_GET_ID;
    const struct vd_seg segs[] = {{HEADER, 16, false},
                                  {DATA, len / 4, in},
                                  {DATA + len / 4, len - len / 4, in},
                                  {STATUS, 1, true}};
    const struct vd_seg none[] = {segs[0], segs[3]};

    put_header(f, type, sector);
    vd_chain(&f->d, 0, 0, len ? segs : none, len ? 4 : 2);
    vd_kick(&f->d, 0);
    return wait_status(f);
}

static uint64_t word(struct fixture *f, uint64_t gpa)
{
    uint8_t raw[8];

    assert_true(mem_read(f->t.mem, gpa, raw, 8));
    return ld_le64(raw);
}

static void configuration(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(dt_read(&f->t, f->d.config, 4), SECTORS);
    assert_int_equal(dt_read(&f->t, f->d.config + 4, 4), 0);
    assert_int_equal(dt_read(&f->t, f->d.config + 20, 4), 512);
    assert_true(vd_features(&f->d) & 1u << 9);  /* flush */
    assert_false(vd_features(&f->d) & 1u << 5); /* read-only */
}

static void reads_and_writes(void **state)
{
    struct fixture *f = *state;
    uint8_t data[4096];

    vd_start(&f->d, 0, 1);
    assert_int_equal(request(f, T_IN, 7, 4096), S_OK);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(word(f, DATA + 512 * i), 7 + i);
    memset(data, 0x5a, sizeof(data));
    assert_true(mem_write(f->t.mem, DATA, data, sizeof(data)));
    assert_int_equal(request(f, T_OUT, SECTORS - 8, 4096), S_OK);
    assert_int_equal(request(f, T_FLUSH, 0, 0), S_OK);
    assert_int_equal(image_word(&f->im, SIZE - 4096), UINT64_C(0x5a5a5a5a5a5a5a5a));
    assert_int_equal(image_word(&f->im, SIZE - 8), UINT64_C(0x5a5a5a5a5a5a5a5a));
    assert_int_equal(image_word(&f->im, SIZE - 4096 - 512), SECTORS - 9);
}

static void many_at_once(void **state)
{
    struct fixture *f = *state;
    uint32_t head, len, done = 0;

    vd_start(&f->d, 0, 1);
    for (unsigned i = 0; i < 5; i++) {
        uint64_t at = HEADER + 32 * (1 + i);
        uint8_t h[16] = {0};
        const struct vd_seg segs[] = {
            {at, 16, false}, {DATA + 512 * i, 512, true}, {at + 16, 1, true}};

        st_le64(h + 8, 100 * i);
        assert_true(mem_write(f->t.mem, at, h, sizeof(h)));
        vd_chain(&f->d, 0, (uint16_t)(3 * i), segs, 3);
    }
    vd_kick(&f->d, 0);
    for (unsigned i = 0; done < 5 && i < 1000; i++) {
        while (vd_used(&f->d, 0, &head, &len)) {
            assert_int_equal(len, 513);
            assert_int_equal(head % 3, 0);
            done++;
        }
        loop_step(f->loop, 10);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(word(f, DATA + 512 * i), 100 * i);
}

static void ranges(void **state)
{
    struct fixture *f = *state;
    uint8_t seg[16] = {0};

    vd_start(&f->d, 0, 1);
    st_le64(seg, 16);
    st_le32(seg + 8, 8);
    assert_true(mem_write(f->t.mem, DATA, seg, sizeof(seg)));
    assert_int_equal(request(f, T_WRITE_ZEROES, 0, 16), S_OK);
    assert_int_equal(image_word(&f->im, 15 * 512), 15);
    assert_int_equal(image_word(&f->im, 23 * 512), 0);
    assert_int_equal(image_word(&f->im, 24 * 512), 24);
    st_le64(seg, 32);
    assert_true(mem_write(f->t.mem, DATA, seg, sizeof(seg)));
    assert_int_equal(request(f, T_DISCARD, 0, 16), S_OK);
    assert_int_equal(image_word(&f->im, 32 * 512), 0);
    st_le64(seg, UINT64_MAX / 512);
    assert_true(mem_write(f->t.mem, DATA, seg, sizeof(seg)));
    assert_int_equal(request(f, T_DISCARD, 0, 16), S_IOERR);
    st_le64(seg, SECTORS);
    assert_true(mem_write(f->t.mem, DATA, seg, sizeof(seg)));
    assert_int_equal(request(f, T_WRITE_ZEROES, 0, 16), S_IOERR);
    assert_int_equal(request(f, T_DISCARD, 0, 20), S_UNSUPP);
}

static void identity(void **state)
{
    struct fixture *f = *state;
    char id[21] = {0};

    vd_start(&f->d, 0, 1);
    assert_int_equal(request(f, T_GET_ID, 0, 20), S_OK);
    assert_true(mem_read(f->t.mem, DATA, id, 20));
    assert_string_equal(id, "virtio-blk");
}

static void errors_are_told(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    assert_int_equal(request(f, T_IN, SECTORS, 512), S_IOERR);
    assert_int_equal(request(f, T_IN, SECTORS - 1, 1024), S_IOERR);
    assert_int_equal(request(f, T_OUT, UINT64_MAX, 512), S_IOERR);
    assert_int_equal(request(f, T_OUT, UINT64_C(1) << 55, 512), S_IOERR);
    assert_int_equal(request(f, T_IN, 0, 100), S_IOERR);
    assert_int_equal(request(f, 99, 0, 512), S_UNSUPP);
    image_break_writes(&f->im);
    assert_int_equal(request(f, T_OUT, 0, 512), S_IOERR);
    assert_int_equal(request(f, T_IN, 0, 512), S_OK); /* goes on */
    assert_false(vd_broken(&f->d));
}

static void no_header_or_no_status_breaks(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg shortened[] = {{HEADER, 15, false}, {STATUS, 1, true}};
    const struct vd_seg no_status[] = {{HEADER, 16, false}};

    vd_start(&f->d, 0, 1);
    vd_chain(&f->d, 0, 0, shortened, 2);
    vd_kick(&f->d, 0);
    assert_true(vd_broken(&f->d));
    vd_start(&f->d, 0, 1);
    put_header(f, T_OUT, 0);
    vd_chain(&f->d, 0, 0, no_status, 1);
    vd_kick(&f->d, 0);
    assert_true(vd_broken(&f->d));
    vd_start(&f->d, 0, 1);
    assert_int_equal(request(f, T_IN, 1, 512), S_OK);
}

/* A reset with requests in flight waits for them: memory does not change afterwards. */
static void reset_while_busy(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg segs[] = {{HEADER, 16, false}, {DATA, 0x80000, true}, {STATUS, 1, true}};

    for (unsigned round = 0; round < 50; round++) {
        uint8_t mark[8] = {1, 2, 3, 4, 5, 6, 7, 8};

        vd_start(&f->d, 0, 1);
        put_header(f, T_IN, 0);
        for (uint16_t i = 0; i < 5; i++)
            vd_chain(&f->d, 0, (uint16_t)(3 * i), segs, 3);
        vd_kick(&f->d, 0);
        if (round % 2)
            vd_reset(&f->d);
        else {
            dev_reset(f->dev);
            vd_init(&f->d, &f->t);
        }
        assert_true(mem_write(f->t.mem, DATA, mark, 8));
        loop_step(f->loop, 1);
        assert_int_equal(word(f, DATA), ld_le64(mark));
    }
    vd_start(&f->d, 0, 1);
    assert_int_equal(request(f, T_IN, 1, 512), S_OK);
}

/* The same chains again and again without waiting for the answers: no more requests than the ring
 * is long. */
static void a_flood_is_bounded(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg segs[] = {{HEADER, 16, false}, {DATA, 512, true}, {STATUS, 1, true}};

    vd_start(&f->d, 0, 1);
    put_header(f, T_IN, 0);
    for (unsigned i = 0; i < 2000; i++) {
        vd_chain(&f->d, 0, 0, segs, 3);
        vd_kick(&f->d, 0);
    }
    f->dev->cls->quiesce(f->dev);
    vd_start(&f->d, 0, 1);
    assert_int_equal(request(f, T_IN, 1, 512), S_OK);
}

static void read_only_disks(void **state)
{
    struct fixture *f = *state;

    assert_true(vd_features(&f->d) & 1u << 5);
    vd_start(&f->d, 1u << 5, 1);
    assert_int_equal(request(f, T_OUT, 0, 512), S_IOERR);
    assert_int_equal(request(f, T_IN, 5, 512), S_OK);
    assert_int_equal(word(f, DATA), 5);
}

static void an_image_is_needed(void **state)
{
    struct devtest t;
    struct err e = ERR_INIT;

    (void)state;
    dt_init(&t);
    struct dev *d = dt_new(&t, "virtio-blk");
    assert_false(dev_realize(d, &e));
    dev_free(d);
    dt_fini(&t);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(configuration),
        T(reads_and_writes),
        T(many_at_once),
        T(ranges),
        T(identity),
        T(errors_are_told),
        T(no_header_or_no_status_breaks),
        T(reset_while_busy),
        T(a_flood_is_bounded),
        cmocka_unit_test_setup_teardown(read_only_disks, setup_readonly, teardown),
        cmocka_unit_test(an_image_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
