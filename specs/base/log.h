/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Log lines on stderr (vmctld: controller.log), filtered by VMCTL_LOG, or RUST_LOG when it is
 * unset: "debug", "warn,ssh=trace,qmp=debug". Only the controller and the CLI log above debug;
 * libraries return errors instead, so that each failure is logged once.
 */
#pragma once

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* Reads the filter from the environment; `default_level` applies where it has no level. Logs an
 * error for what VMCTL_LOG has in place of a level. */
void log_init(enum log_level default_level);

void log_line(enum log_level level, const char *module, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(module, ...) log_line(LOG_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...) log_line(LOG_WARN, module, __VA_ARGS__)
#define log_info(module, ...) log_line(LOG_INFO, module, __VA_ARGS__)
#define log_debug(module, ...) log_line(LOG_DEBUG, module, __VA_ARGS__)
#define log_trace(module, ...) log_line(LOG_TRACE, module, __VA_ARGS__)
