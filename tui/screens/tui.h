/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The terminal front end as a whole. */
#ifndef VMDECK_SCREENS_TUI_H
#define VMDECK_SCREENS_TUI_H

#include <stdbool.h>

#include "vmm/base/err.h"

/* Before tui_main: "color" auto|always|never, "charset" auto|utf8|ascii. */
bool tui_option(const char *name, const char *value, struct err *e);
/* Runs until the user leaves; returns the exit status. VMs keep running. */
int tui_main(void);
/* The console of one running VM, with its screen in front, until the user leaves it or the VM ends;
 * then the process exits. Returns, false, only when the terminal cannot be used. */
bool tui_console(const char *name, struct err *e);

#endif
