/* SPDX-License-Identifier: GPL-2.0-or-later */
/* man/vmdeck.yaml.5 is what the schema says. With the argument "print", prints it (make man). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/conf/config.h"

static void page_is_fresh(void **state)
{
    struct buf page = BUF_INIT;
    struct err e = ERR_INIT;
    size_t len;
    char *text = fd_read_file(AT_FDCWD, "man/vmdeck.yaml.5", 1 << 20, &len, &e);

    (void)state;
    if (!text)
        fail_msg("%s: run `make man`", e.msg);
    conf_man_page(&page);
    if (strcmp(text, buf_str(&page)))
        fail_msg("man/vmdeck.yaml.5 is older than vmm/conf/schema.def: run `make man`");
    buf_free(&page);
    x_free(text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(page_is_fresh)};
    struct buf page = BUF_INIT;

    if (argc > 1 && !strcmp(argv[1], "print")) {
        conf_man_page(&page);
        fputs(buf_str(&page), stdout);
        buf_free(&page);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
