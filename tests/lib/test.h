/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every cmocka test file includes first. */
#ifndef VMDECK_TESTS_LIB_TEST_H
#define VMDECK_TESTS_LIB_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/base/err.h"

/* Fails with the error's own words. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if (!(call))                                                                               \
            fail_msg("%s", e.msg);                                                                 \
    } while (0)

#endif
