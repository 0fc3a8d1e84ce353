/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Actions as a table: keys, footer, help and the action menu all come from it. */
#ifndef VMDECK_UI_ACTION_H
#define VMDECK_UI_ACTION_H

#include <stdbool.h>

#include "tui/ui/ui.h"

#define ACTION_FOOTER  1u /* in the footer, when it fits */
#define ACTION_NO_MENU 2u /* not in the menu, where its key closes the menu */

struct action {
    const char *name;  /* "start"; the CLI's verb where there is one */
    int key, alt_key;  /* alt_key 0: none */
    const char *label; /* one word for the footer */
    const char *help;  /* a sentence */
    unsigned states;   /* bits of states in which it makes sense; 0: always */
    const char *why;   /* why not, in other states: "is not running" */
    unsigned flags;
    void (*run)(void *owner);
};

struct action_table {
    const char *title;
    const struct action *actions;
    unsigned count;
};

/* Whether the action is possible in that state (a bit number). */
bool action_possible(const struct action *a, int state);
/* Runs the action of the key. True when the key belongs to the table; one that is not possible says
 * why. subject names the object for that message. */
bool action_key(const struct action_table *t, int key, int state, const char *subject, void *owner);
/* Keys of possible actions in one line, as many as fit. */
void action_footer(const struct action_table *t, int y, int state);
/* A menu of all actions; those not possible now are dim. state_of gives the subject's state at any
 * time, -1: gone. */
void action_menu(const struct action_table *t, int (*state_of)(const char *subject),
                 const char *subject, void *owner);
/* A help page of these tables. */
void action_help(const struct action_table *const tables[], unsigned count);

#endif
