/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/clock.h"

#define LIMIT_RECORDS   10u
#define LIMIT_WINDOW_NS (60 * NS_PER_S)

static char log_who[64] = "vmdeck";
static int log_fd = STDERR_FILENO;
static enum log_level log_max = LOG_WARN;
static pthread_mutex_t limit_mutex = PTHREAD_MUTEX_INITIALIZER;

void log_init(const char *who, int fd, enum log_level max_level)
{
    snprintf(log_who, sizeof(log_who), "%s", who);
    log_fd = fd;
    log_max = max_level;
}

void log_msg(enum log_level level, const char *area, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char line[1024];
    struct timespec ts;
    struct tm tm;
    va_list ap;
    size_t n;

    if (level > log_max)
        return;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ %s %s %s: ", ts.tv_nsec / 1000000,
                          log_who, names[level], area);
    va_start(ap, fmt);
    n += (size_t)vsnprintf(line + n, sizeof(line) - n, fmt, ap);
    va_end(ap);
    if (n > sizeof(line) - 2)
        n = sizeof(line) - 2;
    /* guest and user text must not be able to forge records or drive the reader's terminal */
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n++] = '\n';
    if (write(log_fd, line, n) < 0)
        return; /* nowhere left to say so */
}

bool log_limit_pass(struct log_limit *limit, const char *area)
{
    unsigned dropped = 0;
    bool pass;

    pthread_mutex_lock(&limit_mutex);
    int64_t now = clock_now_ns();
    if (limit->window_ns == 0 || now - limit->window_ns > LIMIT_WINDOW_NS) {
        limit->window_ns = now;
        dropped = limit->dropped;
        limit->passed = limit->dropped = 0;
    }
    pass = limit->passed < LIMIT_RECORDS;
    if (pass)
        limit->passed++;
    else
        limit->dropped++;
    pthread_mutex_unlock(&limit_mutex);
    if (dropped)
        log_msg(LOG_WARN, area, "%u records like the next one were dropped", dropped);
    return pass;
}
