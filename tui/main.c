/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmdeck: without arguments on a terminal the deck of VMs, else the command line. The processes of a running VM are
 * this program again, told by a hidden first argument what they are. */
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include "tui/cli/cli.h"
#include "tui/screens/tui.h"
#include "vmm/base/bits.h"
#include "vmm/ctl/sup.h"

static const struct {
    const char *name;
    int (*main)(const struct spawn_args *args);
} roles[] = {
    {"__supervisor", sup_main},
    {"__vm", vm_main},
    {"__net", net_main},
    {"__vnc", vnc_main},
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc > 1 && i < ARRAY_LEN(roles); i++)
        if (!strcmp(argv[1], roles[i].name))
            return roles[i].main(&(struct spawn_args){argc, argv});
    setlocale(LC_ALL, "");
    if (argc == 1 && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        return tui_main();
    return cli_main(argc, argv);
}
