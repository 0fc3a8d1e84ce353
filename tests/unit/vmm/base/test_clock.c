/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers on a virtual clock, and the loop's host clock. */
#include "tests/lib/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "vmm/base/loop.h"

struct fired {
    struct timer timer;
    int64_t at;
    unsigned times;
    int64_t again; /* re-arms itself this much later, 0: not */
};

static void on_fire(void *opaque)
{
    struct fired *f = opaque;

    f->at = clock_now(f->timer.clock);
    f->times++;
    if (f->again)
        timer_arm(&f->timer, f->at + f->again);
}

static void fires_in_order_at_own_deadlines(void **state)
{
    struct clock *c = clock_new(NULL, NULL, true);
    struct fired f[100] = {0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        timer_init(&f[i].timer, c, on_fire, &f[i]);
        timer_arm(&f[i].timer, (i * 37) % 100 + 1);
    }
    for (int i = 0; i < 100; i += 3)
        timer_cancel(&f[i].timer);
    timer_arm(&f[1].timer, 500); /* moved */
    clock_advance(c, 200);
    for (int i = 0; i < 100; i++) {
        if (i % 3 == 0 || i == 1)
            assert_int_equal(f[i].times, 0);
        else
            assert_int_equal(f[i].at, (i * 37) % 100 + 1);
    }
    assert_true(timer_armed(&f[1].timer));
    clock_advance(c, 300);
    assert_int_equal(f[1].at, 500);
    assert_false(timer_armed(&f[1].timer));
    clock_free(c);
}

static void periodic_timer_keeps_its_pace(void **state)
{
    struct clock *c = clock_new(NULL, NULL, true);
    struct fired f = {.again = 10};

    (void)state;
    timer_init(&f.timer, c, on_fire, &f);
    timer_arm(&f.timer, 10);
    clock_advance(c, 105);
    assert_int_equal(f.times, 10);
    timer_cancel(&f.timer);
    clock_free(c);
}

static void random_heap_operations(void **state)
{
    struct clock *c = clock_new(NULL, NULL, true);
    static struct fired f[64];
    int64_t now = 0;

    (void)state;
    srand(7);
    for (int i = 0; i < 64; i++)
        timer_init(&f[i].timer, c, on_fire, &f[i]);
    for (int step = 0; step < 20000; step++) {
        struct fired *x = &f[rand() % 64];
        switch (rand() % 3) {
        case 0: timer_cancel(&x->timer); break;
        case 1: timer_arm(&x->timer, now + rand() % 50); break;
        default: {
            int64_t n = rand() % 10;
            clock_advance(c, n);
            now += n;
            for (int i = 0; i < 64; i++)
                assert_false(timer_armed(&f[i].timer) && f[i].timer.deadline <= now);
        }
        }
    }
    clock_free(c);
}

static void stop(void *loop)
{
    loop_stop(loop);
}

static void loop_fires_host_timers_and_posts(void **state)
{
    struct err e = ERR_INIT;
    struct loop *l = loop_new(&e);
    struct fired f = {0};
    struct timer end;

    (void)state;
    assert_non_null(l);
    int64_t start = clock_now(loop_clock(l));
    timer_init(&f.timer, loop_clock(l), on_fire, &f);
    timer_arm(&f.timer, start + 2 * NS_PER_MS);
    timer_init(&end, loop_clock(l), stop, l);
    timer_arm(&end, start + 4 * NS_PER_MS);
    loop_run(l);
    assert_int_equal(f.times, 1);
    assert_true(f.at >= start + 2 * NS_PER_MS);
    loop_post(l, stop, l);
    loop_run(l);
    loop_free(l);
}

static void paused_clock_stands_still(void **state)
{
    struct err e = ERR_INIT;
    struct loop *l = loop_new(&e);
    struct clock *c = loop_clock(l);
    struct fired f = {0};

    (void)state;
    timer_init(&f.timer, c, on_fire, &f);
    clock_pause(c);
    int64_t then = clock_now(c);
    timer_arm(&f.timer, then + 1);
    loop_step(l, 20);
    assert_int_equal(f.times, 0);
    assert_int_equal(clock_now(c), then);
    clock_resume(c);
    for (int i = 0; i < 100 && !f.times; i++)
        loop_step(l, 20);
    assert_int_equal(f.times, 1);
    assert_true(f.at < then + 10 * NS_PER_S);
    loop_free(l);
}

static void on_readable(void *opaque, unsigned events)
{
    int *fd = opaque;
    char c;

    if (events & LOOP_READ && read(*fd, &c, 1) == 1)
        *fd = -1;
}

static void loop_watches_descriptors(void **state)
{
    struct err e = ERR_INIT;
    struct loop *l = loop_new(&e);
    int p[2];

    (void)state;
    assert_int_equal(pipe(p), 0);
    int fd = p[0];
    struct loop_fd *w = loop_watch(l, p[0], LOOP_READ, on_readable, &fd);
    assert_int_equal(write(p[1], "x", 1), 1);
    for (int i = 0; i < 100 && fd >= 0; i++)
        loop_step(l, 20);
    assert_int_equal(fd, -1);
    loop_unwatch(w);
    loop_free(l);
    close(p[0]);
    close(p[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_in_order_at_own_deadlines),
        cmocka_unit_test(periodic_timer_keeps_its_pace),
        cmocka_unit_test(random_heap_operations),
        cmocka_unit_test(loop_fires_host_timers_and_posts),
        cmocka_unit_test(paused_clock_stands_still),
        cmocka_unit_test(loop_watches_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
