/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The manual page vmdeck(1): prose here, commands, options, control commands and exit status from their tables. */
#include <string.h>

#include "tui/cli/cli.h"
#include "vmm/base/bits.h"

static const char head[] =
    ".\\\" SPDX-License-Identifier: GPL-2.0-or-later\n"
    ".\\\" Made from tui/cli/cmds.def and its neighbours by `make man`: do not edit.\n"
    ".TH VMDECK 1 \"\" \"vmdeck\" \"User commands\"\n"
    ".SH NAME\n"
    "vmdeck \\- a deck of virtual machines in your terminal\n"
    ".SH SYNOPSIS\n"
    ".B vmdeck\n"
    ".RB [ \\-\\-color=auto | always | never ]\n"
    ".RB [ \\-\\-charset=auto | utf8 | ascii ]\n"
    ".br\n"
    ".B vmdeck\n"
    ".I COMMAND\n"
    ".RI [ NAME... ]\n"
    ".RI [ OPTION... ]\n"
    ".SH DESCRIPTION\n"
    "Without arguments, on a terminal, vmdeck shows the virtual machines of this user: they can be made, edited, started,\n"
    "stopped, watched and removed there; ? explains the keys. With a command it does one thing and ends.\n"
    ".PP\n"
    "Each machine is a folder with a file\n"
    ".BR vmdeck.yaml (5)\n"
    "in it. A started machine runs on when vmdeck, the terminal or the SSH session goes away. It consists of four kinds of\n"
    "process, all of them this program: a supervisor, which opens every file and serves the control socket; vm, which\n"
    "executes the guest; net, its network; vnc, its screen. vm, net and vnc get open descriptors and nothing else. When net\n"
    "or vnc dies another one is started and the guest goes on. When vm dies the machine has crashed.\n"
    ".PP\n"
    "Guest code is executed by KVM where that is faster, else by a software CPU; see the key\n"
    ".B accel\n"
    "and the command\n"
    ".BR doctor .\n";

static const char tail[] =
    ".SH ENVIRONMENT\n"
    ".TP\n.B VMDECK_CPU\n"
    "How the software CPU works inside, for those who look for a mistake in it; a guest cannot tell. Words with commas\n"
    "between them: \\fBinterpret\\fR (translate nothing), \\fBheat=\\fIN\\fR (translate what was executed that often,\n"
    "16), \\fBcode=\\fIBYTES\\fR (of translated code for each vCPU), \\fBtlb=\\fISLOTS\\fR, \\fBevict\\fR (keep one\n"
    "translation at a time), \\fBverify\\fR (as the key cpu.verify does), \\fBwrong=\\fIMNEMONIC\\fR (an instruction that\n"
    "the translator leaves out, so that there is something to find), \\fBperfmap\\fR (the vm process writes\n"
    "/tmp/perf-PID.map, by which perf report names translated code by its address in the guest).\n"
    ".SH FILES\n"
    ".TP\n"
    ".I ${XDG_DATA_HOME:\\-~/.local/share}/vmdeck/vms/NAME/\n"
    "The machine: vm.yaml, disks/, vnc.pass (the VNC password, made when missing), state.json (how its last run ended),\n"
    "log/vmdeck.log, log/serial.log (output of COM1), log/firmware.log. Copying the folder copies the machine.\n"
    ".TP\n"
    ".I ${XDG_RUNTIME_DIR}/vmdeck/NAME/\n"
    "While it runs: control.sock, vnc.sock, lock. Without a private XDG_RUNTIME_DIR the folder is\n"
    ".IR ${XDG_STATE_HOME:\\-~/.local/state}/vmdeck/run/NAME/ .\n"
    ".TP\n"
    ".I /usr/share/seabios/\n"
    "Firmware.\n"
    ".SH EXAMPLES\n"
    "Make a machine, install from a CD image, watch it:\n"
    ".PP\n"
    ".nf\n"
    "    vmdeck create web \\-\\-disk 10GiB \\-\\-cdrom debian.iso \\-\\-memory 1GiB\n"
    "    vmdeck start web\n"
    "    vmdeck view web\n"
    ".fi\n"
    ".PP\n"
    "Boot a kernel with its console on this terminal and leave nothing behind:\n"
    ".PP\n"
    ".nf\n"
    "    vmdeck run \\-\\-ephemeral \\-\\-kernel vmlinuz \\-\\-initrd initrd.gz \\e\n"
    "        \\-\\-append console=ttyS0 \\-\\-serial stdio\n"
    ".fi\n"
    ".PP\n"
    "Pause every running machine:\n"
    ".PP\n"
    ".nf\n"
    "    vmdeck pause $(vmdeck ls \\-q \\-\\-state running)\n"
    ".fi\n"
    ".SH SEE ALSO\n"
    ".BR vmdeck.yaml (5)\n";

/* For troff: a line does not begin with a control character; '-' and '\' are literal. */
static void add_text(struct buf *out, const char *s)
{
    for (const char *p = s; *p; p++) {
        if ((p == s || p[-1] == '\n') && (*p == '.' || *p == '\''))
            buf_puts(out, "\\&");
        if (*p == '-')
            buf_puts(out, "\\-");
        else if (*p == '\\')
            buf_puts(out, "\\e");
        else
            buf_add(out, p, 1);
    }
}

static void add_options(struct buf *out, const struct cli_opt *o)
{
    for (; o && o->name; o++) {
        buf_puts(out, ".TP\n");
        if (o->letter)
            buf_printf(out, "\\fB\\-%c\\fR, ", o->letter);
        buf_puts(out, "\\fB\\-\\-");
        add_text(out, o->name);
        buf_puts(out, "\\fR");
        if (o->arg) {
            buf_puts(out, " \\fI");
            add_text(out, o->arg);
            buf_puts(out, "\\fR");
        }
        buf_puts(out, "\n");
        add_text(out, o->help);
        buf_puts(out, "\n");
    }
}

static void add_command(struct buf *out, const struct cli_cmd *c)
{
    buf_puts(out, ".SS ");
    add_text(out, c->name);
    buf_puts(out, " ");
    add_text(out, c->synopsis);
    buf_puts(out, "\n");
    add_text(out, c->summary);
    buf_puts(out, "\n");
    if (c->aliases) {
        buf_puts(out, "Also called: ");
        cli_alias_list(c, out);
        buf_puts(out, ".\n");
    }
    if (c->details) {
        add_text(out, c->details);
        buf_puts(out, "\n");
    }
    add_options(out, c->opts);
    if (c->more_opts)
        buf_puts(out, ".PP\nAnd the options of a machine, below.\n");
}

static void add_control(struct buf *out)
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

    buf_puts(out, ".SH CONTROL SOCKET\n"
                  "The socket control.sock in the runtime folder of a running machine speaks QMP, as QEMU does: one JSON\n"
                  "object a line, a greeting, then qmp_capabilities, then commands. Lines of at most 1 MiB, 32 levels\n"
                  "deep; at most 16 connections, of the same user. Commands and events that QMP has mean what they\n"
                  "mean there; screendump writes PNG. Names with x\\- are our own. Errors carry x\\-code and maybe\n"
                  "x\\-hint. Events: STOP, RESUME, RESET, SHUTDOWN, POWERDOWN, x\\-viewer. Arguments below are followed\n"
                  "by their types: string, integer, boolean, array; ? for optional ones.\n");
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        buf_puts(out, ".TP\n\\fB");
        add_text(out, rows[i].name);
        buf_puts(out, "\\fR");
        if (rows[i].args[0]) {
            buf_puts(out, " ");
            add_text(out, rows[i].args);
        }
        buf_puts(out, "\n");
        add_text(out, rows[i].help);
        buf_puts(out, "\n");
    }
}

void cli_man_page(struct buf *out)
{
    unsigned count;
    const struct cli_cmd *c = cli_commands(&count);

    buf_puts(out, head);
    buf_puts(out, ".SH COMMANDS\nEvery command knows \\fB\\-h\\fR, \\fB\\-\\-help\\fR. With\n"
                  "\\fB\\-\\-json\\fR the output is one JSON document with schemaVersion 1,\n"
                  "errors included; sizes are bytes.\n");
    for (unsigned i = 0; i < count; i++)
        add_command(out, &c[i]);
    buf_puts(out, ".SH OPTIONS OF A MACHINE\nOf run and create. Relative paths start at the current folder.\n");
    add_options(out, vm_opts);
    add_control(out);
    buf_puts(out, ".SH EXIT STATUS\n");
    for (const struct cli_exit *x = cli_exits; x->meaning; x++) {
        buf_printf(out, ".TP\n.B %d\n", x->status);
        add_text(out, x->meaning);
        buf_puts(out, "\n");
    }
    buf_puts(out, ".PP\n");
    add_text(out, cli_exit_run);
    buf_puts(out, "\n");
    buf_puts(out, tail);
}
