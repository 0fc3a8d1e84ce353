/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMDECK_TUI_CLIENT_CLIENT_PRIV_H
#define VMDECK_TUI_CLIENT_CLIENT_PRIV_H

#include "tui/client/client.h"

#define CLIENT_TIMEOUT_MS 10000

/* Connects with a runtime folder. */
struct client *client_connect_dir(const char *name, const char *run_dir, struct err *e);
/* A name that may be a file's. False with e. */
bool client_check_name(const char *name, struct err *e);

#endif
