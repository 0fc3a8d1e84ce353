/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The net process: one network card's NAT. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/conf/config.h"
#include "vmm/ctl/sup.h"
#include "vmm/net/user.h"

/* "tcp/127.0.0.1/2222/22" */
static bool parse_forward(const char *word, struct net_forward *f)
{
    char proto[4], host[40];
    unsigned host_port, guest_port;

    if (sscanf(word, "%3[a-z]/%39[0-9.]/%u/%u", proto, host, &host_port, &guest_port) != 4)
        return false;
    f->udp = !strcmp(proto, "udp");
    f->host_port = (uint16_t)host_port;
    f->guest_port = (uint16_t)guest_port;
    return inet_pton(AF_INET, host, &f->host) == 1;
}

int net_main(const struct spawn_args *args)
{
    struct net_forward forwards[CONF_FORWARDS];
    struct net_user_cfg cfg = {.sock = spawn_get_fd(args, "sock"), .forwards = forwards};
    int status = spawn_get_fd(args, "status");
    const char *name = spawn_get_word(args, "name"), *word, *level = spawn_get_word(args, "log");
    char *who = x_asprintf("%s/net", name), key[24];
    struct err e = ERR_INIT;

    log_init(who, STDERR_FILENO, level && !strcmp(level, "warn") ? LOG_WARN : LOG_INFO);
    x_free(who);
    snprintf(cfg.hostname, sizeof(cfg.hostname), "%s", name);
    for (unsigned i = 0; i < CONF_FORWARDS; i++) {
        snprintf(key, sizeof(key), "forward%u", i);
        word = spawn_get_word(args, key);
        if (word && parse_forward(word, &forwards[cfg.forward_count]))
            cfg.forward_count++;
    }
    spawn_hide_args(args);
    if (net_user_run(&cfg, status, &e))
        return 0;
    if (status >= 0)
        status_error(status, &e);
    else
        log_error("net", "%s", e.msg);
    return 1;
}
