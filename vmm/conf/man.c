/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The manual page vmdeck.yaml(5), from the schema. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/conf/schema.h"

/* Text for troff: no line begins with a control character, '-' and '\' are literal. */
static void add_text(struct buf *out, const char *s)
{
    for (const char *p = s; *p; p++) {
        bool line_start = p == s;

        if (line_start && (*p == '.' || *p == '\''))
            buf_puts(out, "\\&");
        if (*p == '-')
            buf_puts(out, "\\-");
        else if (*p == '\\')
            buf_puts(out, "\\e");
        else
            buf_add(out, p, 1);
    }
}

static void add_range(const struct conf_row *row, struct buf *out)
{
    if (row->type == CONF_SIZE) {
        buf_puts(out, ", ");
        conf_format_size(row->min, out);
        buf_puts(out, " to ");
        conf_format_size(row->max, out);
    } else if (row->type == CONF_NUMBER && row->max < UINT32_MAX) {
        buf_printf(out, ", %llu to %llu", (unsigned long long)row->min,
                   (unsigned long long)row->max);
    }
}

static void add_row(const struct conf_row *row, struct buf *out)
{
    buf_puts(out, ".TP\n.B ");
    add_text(out, row->path);
    buf_puts(out, "\n");
    add_text(out, row->help);
    buf_puts(out, "\n.br\n(");
    if (row->choices && row->type != CONF_CLASSES) {
        for (const char *p = row->choices; *p; p++)
            buf_puts(out, *p == '|' ? ", " : (char[]){*p, '\0'});
    } else {
        add_text(out, conf_type_name(row->type));
    }
    add_range(row, out);
    if (row->type == CONF_LIST)
        buf_printf(out, " of at most %u", row->entries);
    if (row->flags & CONF_REQUIRED)
        buf_puts(out, "; required");
    else if (row->def[0]) {
        buf_puts(out, "; default: ");
        for (const char *p = row->def; *p; p++)
            buf_puts(out, *p == '#' ? "\\fIn\\fR" : *p == '-' ? "\\-" : (char[]){*p, '\0'});
    }
    buf_puts(out, ")\n");
}

static const char head[] =
    ".\\\" SPDX-License-Identifier: GPL-2.0-or-later\n"
    ".\\\" Made from vmm/conf/schema.def by `make man`: do not edit.\n"
    ".TH VMDECK.YAML 5 \"\" \"vmdeck\" \"File formats\"\n"
    ".SH NAME\n"
    "vmdeck.yaml, vm.yaml \\- configuration of a virtual machine of vmdeck\n"
    ".SH SYNOPSIS\n"
    ".I ${XDG_DATA_HOME:\\-~/.local/share}/vmdeck/vms/NAME/vm.yaml\n"
    ".SH DESCRIPTION\n"
    "Each virtual machine is a folder with the file\n.I vm.yaml\n"
    "in it. The file is read when the machine starts. People may edit it; what\n.BR vmdeck (1)\n"
    "changes in it leaves comments, order and layout of the rest alone.\n.PP\n"
    "The file is YAML with these rules:\n"
    ".IP \\(bu 2\nUnknown and repeated keys are errors. Keys that begin with\n.B x\\-\nare yours "
    "and ignored.\n"
    ".IP \\(bu 2\nBooleans are\n.B true\nand\n.BR false ;\nyes, no, on and off are errors.\n"
    ".IP \\(bu 2\nSizes need a unit: KiB, MiB, GiB or TiB; K, M, G and T mean the same, powers of "
    "1024.\n"
    ".IP \\(bu 2\nNumbers are decimal, or hexadecimal after 0x; they do not begin with 0.\n"
    ".IP \\(bu 2\nA key without a value, or with\n.BR null ,\nhas its default.\n"
    ".IP \\(bu 2\nRelative paths start at the machine's folder;\n.B ~/\nis your home.\n"
    ".IP \\(bu 2\nAnchors, aliases and tags are refused, as are files over 1\\ MiB and nesting "
    "over 32 levels.\n"
    ".PP\n.B vmdeck validate\nchecks files and reports all mistakes at once, as FILE:LINE:COLUMN.\n"
    ".SH KEYS\n"
    "Dots lead into a mapping,\n.B []\ninto each entry of a list:\n.B disks[].path\nis the key\n.B "
    "path\n"
    "of an entry of the list\n.BR disks .\n";

static const char tail[] = ".SH EXAMPLE\n.EX\n"
                           "version: 1\n"
                           "description: Web server\n"
                           "cpus: 2\n"
                           "memory: 2GiB\n"
                           "disks:\n"
                           "  \\- path: disks/system.raw\n"
                           "    size: 20GiB\n"
                           "cdroms:\n"
                           "  \\- path: ~/images/netinst.iso\n"
                           "networks:\n"
                           "  \\- forwards: [\"127.0.0.1:2222:22\"]\n"
                           ".EE\n"
                           ".SH SEE ALSO\n.BR vmdeck (1)\n";

void conf_man_page(struct buf *out)
{
    buf_puts(out, head);
    for (unsigned i = 0; i < conf_row_count; i++)
        add_row(&conf_rows[i], out);
    buf_puts(out, tail);
}
