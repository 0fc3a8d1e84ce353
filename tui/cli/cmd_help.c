/* SPDX-License-Identifier: GPL-2.0-or-later */
/* help, version: text from the tables. */
#include <stdio.h>
#include <string.h>

#include "tui/cli/cli.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"

static void overview(void)
{
    unsigned count;
    const struct cli_cmd *c = cli_commands(&count);

    puts("vmdeck: a deck of virtual machines in your terminal\n\n"
         "usage: vmdeck                 open the deck (on a terminal)\n"
         "       vmdeck COMMAND ...     one of:\n");
    for (unsigned i = 0; i < count; i++)
        printf("  %-12s %s\n", c[i].name, c[i].summary);
    puts("\nvmdeck help COMMAND explains one; also: help yaml, help control, help exit.");
}

/* text from column `indent` on, broken at spaces before column 80. */
static void wrap(const char *text, unsigned indent)
{
    unsigned col = indent;

    for (const char *p = text; *p;) {
        size_t n = strcspn(p, " \n");

        if (col > indent && col + 1 + n > 79) {
            printf("\n%*s", (int)indent, "");
            col = indent;
        } else if (col > indent) {
            putchar(' ');
            col++;
        }
        printf("%.*s", (int)n, p);
        col += (unsigned)n;
        p += n;
        p += *p != '\0';
    }
    putchar('\n');
}

static void list_options(const struct cli_opt *o)
{
    for (; o && o->name; o++) {
        char left[80];

        snprintf(left, sizeof(left), "  %c%c%s--%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
                 o->letter ? ", " : "  ", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        if (strlen(left) < 26)
            printf("%-26s", left);
        else
            printf("%s\n%26s", left, "");
        wrap(o->help, 26);
    }
}

void cli_alias_list(const struct cli_cmd *c, struct buf *out)
{
    for (const char *p = c->aliases; p && *p; p++)
        buf_puts(out, *p == ' ' ? ", " : (char[]){*p, '\0'});
}

static void help_command(const struct cli_cmd *c)
{
    static const struct cli_opt common[] = {{"help", 'h', NULL, "Show this help."}, {0}};

    printf("usage: vmdeck %s %s\n\n%s\n", c->name, c->synopsis, c->summary);
    if (c->details)
        printf("%s\n", c->details);
    if (c->aliases) {
        struct buf names = BUF_INIT;

        cli_alias_list(c, &names);
        printf("Also called: %s.\n", buf_str(&names));
        buf_free(&names);
    }
    printf("\noptions:\n");
    list_options(c->opts);
    list_options(c->more_opts);
    list_options(common);
}

static void help_yaml(void)
{
    unsigned count;
    const struct conf_key *k = conf_keys(&count);

    puts("keys of vm.yaml (name, type, default):\n");
    for (unsigned i = 0; i < count; i++) {
        const char *type = k[i].choices ? k[i].choices : k[i].type;

        printf("%s  (%s%s%s)\n    ", k[i].path, type, k[i].def[0] ? ", default " : "", k[i].def);
        wrap(k[i].help, 4);
    }
}

static void help_control(void)
{
    static const struct {
        const char *name, *args, *help;
    } rows[] = {
#define SUP_CMD(name, cname, args, help) {name, args, help},
#define VM_CMD(name, cname, args, help)  {name, args, help},
#include "vmm/ctl/cmds.def"
#undef SUP_CMD
#undef VM_CMD
    };

    puts("The control socket of a running VM, control.sock in its runtime folder, speaks QMP: one JSON\n"
         "object a line. Commands (arguments: s string, i integer, b boolean, a array; ? optional):\n");
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        printf("%s %s\n    ", rows[i].name, rows[i].args);
        wrap(rows[i].help, 4);
    }
    puts("\nevents: STOP RESUME RESET SHUTDOWN POWERDOWN x-viewer");
}

const struct cli_exit cli_exits[] = {
    {0, "done, or in that state already; run: the guest powered off"},
    {1, "failed"},
    {2, "wrong usage"},
    {3, "not found: VM, image, file"},
    {4, "wrong state: not running, running, exists already"},
    {5, "invalid configuration, kernel or image"},
    {6, "timeout"},
    {7, "the host lacks it: permission, KVM, memory"},
    {8, "busy: image locked, port in use, VM running already"},
    {9, "some of several VMs failed"},
    {10, "cancelled"},
    {0},
};
const char cli_exit_run[] =
    "run: (v << 1) | 1 after a write of v to the exit port of --debug-exit, 128 + N when signal N had to power it off.";

static void help_exit(void)
{
    puts("exit status:\n");
    for (const struct cli_exit *x = cli_exits; x->meaning; x++)
        printf("  %3d  %s\n", x->status, x->meaning);
    printf("\n%s\n", cli_exit_run);
}

int cmd_help(const struct cli_args *a, struct err *e)
{
    const char *topic = a->word_count > 0 ? a->words[0] : NULL;
    const struct cli_cmd *c = topic ? cli_find(topic) : NULL;

    if (!topic)
        overview();
    else if (c)
        help_command(c);
    else if (!strcmp(topic, "yaml"))
        help_yaml();
    else if (!strcmp(topic, "control"))
        help_control();
    else if (!strcmp(topic, "exit"))
        help_exit();
    else {
        err_set(e, ERR_USAGE, "no help on \"%s\"", topic);
        return err_hint(e, "see: vmdeck help");
    }
    return 0;
}

int cmd_version(const struct cli_args *a, struct err *e)
{
    (void)e;
    if (a->json)
        cli_print_json(json_pack("{ss}", "version", VMDECK_VERSION));
    else
        puts("vmdeck " VMDECK_VERSION);
    return 0;
}
