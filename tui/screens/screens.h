/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How screens open each other. */
#ifndef VMDECK_SCREENS_SCREENS_H
#define VMDECK_SCREENS_SCREENS_H

#include "tui/ui/action.h"

void screen_list_open(void);
/* Selects a VM once it is in the list. */
void screen_list_select(const char *name);
void screen_create_open(void);
void screen_edit_open(const char *name);
/* $EDITOR on vm.yaml; takes the terminal until it ends. */
void screen_edit_yaml(const char *name);
void screen_console_open(const char *name);
/* The same with nothing below it: when the VM ends, *ended is set and the program left. Reads vm.yaml at once. */
void screen_console_only(const char *name, bool *ended);
void screen_log_open(const char *name);
void screen_host_open(void);
/* How to reach the VM's screen with a viewer. */
void screen_viewer_open(const char *name);

extern const struct action_table list_actions, console_actions;

#endif
