/* SPDX-License-Identifier: GPL-2.0-or-later */
/* man/vmdeck.1 is what the tables of the command line say. With the argument "print", prints it (make man). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tui/cli/cli.h"
#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"

static void page_is_fresh(void **state)
{
    struct buf page = BUF_INIT;
    struct err e = ERR_INIT;
    size_t len;
    char *text = fd_read_file(AT_FDCWD, "man/vmdeck.1", 1 << 20, &len, &e);

    (void)state;
    if (!text)
        fail_msg("%s: run `make man`", e.msg);
    cli_man_page(&page);
    if (strcmp(text, buf_str(&page)))
        fail_msg("man/vmdeck.1 is older than the tables of tui/cli: run `make man`");
    buf_free(&page);
    x_free(text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(page_is_fresh)};
    struct buf page = BUF_INIT;

    if (argc > 1 && !strcmp(argv[1], "print")) {
        cli_man_page(&page);
        fputs(buf_str(&page), stdout);
        buf_free(&page);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
