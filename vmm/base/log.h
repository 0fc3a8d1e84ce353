/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Levelled log of one process. Every process of a VM writes to the fd it was given (standard error
 * until log_init), one line per record: "2026-11-23T09:00:00.123Z web/vm info pit: ...". Thread safe. */
#ifndef VMDECK_BASE_LOG_H
#define VMDECK_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* who is copied ("web/vm"). fd stays the caller's. Records above max_level are dropped. */
void log_init(const char *who, int fd, enum log_level max_level);
void log_msg(enum log_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(area, ...) log_msg(LOG_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_msg(LOG_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_msg(LOG_INFO, area, __VA_ARGS__)
#define log_debug(area, ...) log_msg(LOG_DEBUG, area, __VA_ARGS__)

/* For what a guest can provoke: at most 10 records a minute pass, then one says how many were
 * dropped. One static struct per call site. */
struct log_limit {
    int64_t window_ns;
    unsigned passed, dropped;
};
bool log_limit_pass(struct log_limit *limit, const char *area);

#define log_guest(area, ...)                                                                       \
    do {                                                                                           \
        static struct log_limit limit_;                                                            \
        if (log_limit_pass(&limit_, area))                                                         \
            log_msg(LOG_WARN, area, __VA_ARGS__);                                                  \
    } while (0)

#endif
