/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/mem.h"
#include "specs/base/url.h"

/* The process's only mutable global: set once by log_init(), before any thread starts. */
static struct {
    enum log_level fallback;
    const char *filter;
} config = {.fallback = LOG_INFO};

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};

static bool to_level(const char *s, size_t n, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strlen(level_names[i]) == n && strncmp(level_names[i], s, n) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_init(enum log_level default_level)
{
    const char *filter = getenv("VMCTL_LOG");
    bool is_ours = filter && filter[0]; /* RUST_LOG may be meant for other programs, too */
    config.filter = is_ours ? filter : getenv("RUST_LOG");
    config.fallback = default_level;
    for (const char *item = is_ours ? filter : ""; *item;) {
        size_t n = strcspn(item, ",");
        const char *equals = memchr(item, '=', n);
        const char *level = equals ? equals + 1 : item;
        enum log_level ignored;
        if (n > 0 && !to_level(level, (size_t)(item + n - level), &ignored)) {
            log_error("log",
                "VMCTL_LOG: '%.*s' is not a level: write error, warn, info, debug or trace, or "
                "MODULE=LEVEL",
                (int)n, item);
        }
        item += n;
        item += *item == ',';
    }
}

/* The level for `module`: its own "module=level" item, else the bare "level" item. */
static enum log_level level_for(const char *module)
{
    enum log_level level = config.fallback;
    size_t module_length = strlen(module);
    for (const char *item = config.filter; item && *item;) {
        size_t n = strcspn(item, ",");
        const char *equals = memchr(item, '=', n);
        if (!equals) {
            to_level(item, n, &level);
        } else if ((size_t)(equals - item) == module_length &&
                   strncmp(item, module, module_length) == 0) {
            enum log_level own = level;
            to_level(equals + 1, n - module_length - 1, &own);
            return own;
        }
        item += n;
        item += *item == ',';
    }
    return level;
}

void log_line(enum log_level level, const char *module, const char *fmt, ...)
{
    if (level > level_for(module)) {
        return;
    }
    char line[2048], when[CLOCK_TEXT_SIZE];
    clock_format_utc(clock_wall_ms(clock_system()), when);
    int n = snprintf(line, sizeof(line), "%s %-5s %s: ", when, level_names[level], module);
    va_list ap;
    va_start(ap, fmt);
    cleanup_free char *text = mem_vprintf(fmt, ap); /* masked whole: see error.c */
    va_end(ap);
    url_mask(text);
    snprintf(line + n, sizeof(line) - (size_t)n - 1, "%s", text);
    strcat(line, "\n");
    (void)!write(
        STDERR_FILENO, line, strlen(line)); /* one write: lines of two processes stay whole */
}
