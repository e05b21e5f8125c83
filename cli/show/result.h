/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The one document that a command that acts prints with -o json or -o yaml, when it ends:
 *
 *   {"vms": [{"name": "web", "outcome": "created", "changes": […], "waiting": […],
 *             "goal": "ready", "result": "done", "error": {"code", "message", "help"}}],
 *    "error": {"code", "message", "help"}}
 *
 * "outcome" and "changes" are what the change did; "waiting" is what waits for a restart or a new
 * disk (with "field": null and a "message" when no single field explains it); "result" is "done",
 * "failed" (see the VM's error), "pending" (--detach, a deadline, a signal) or "planned"
 * (--dry-run). The outer error is what ended the whole command. Progress and error messages go to
 * stderr as always. Without such a document (the output is text, or the command does not act)
 * result_report() and result_print() print text, and all else does nothing.
 */
#pragma once

#include <stdbool.h>

struct cli;
struct error;
struct json_t;
struct outcome_view;
struct vmfile;
struct change_outcome;

/* Opens it if the output is data. */
void result_begin(struct cli *cli);

/* "NAME: TEXT" on stdout, if there is no document. */
void result_print(const struct cli *cli, const char *vm_name, const char *text);

/* All there is to report of a change: outcome_describe()'s lines, or "waiting" and "result". */
void result_report(const struct cli *cli, const struct outcome_view *view, bool is_dry_run);

void result_outcome(
    const struct cli *cli, const char *vm_name, const struct change_outcome *outcome);
void result_set(const struct cli *cli, const char *vm_name, const char *result);
/* How following the VM ended. *err: its own error; code ERR_NONE takes an earlier one back. */
void result_followed(const struct cli *cli, const char *vm_name, const char *goal,
    const char *result, const struct error *err);

/* The whole command's error; the latest counts. That of a VMFile has all diagnostics. */
void result_error(const struct cli *cli, const struct error *err);
void result_invalid_file(const struct cli *cli, const struct vmfile *file);
void result_forget_error(const struct cli *cli); /* the command continues without the file */

/* {"code", "message", "help"}, printable, "help" only where there is one. Caller owns. */
struct json_t *result_of_error(const struct error *err);

/* Adds the VMs, and the error, of such a document that another vmctl has printed. */
void result_add(const struct cli *cli, const struct json_t *document);

/* Prints it, with *err if that is set, and closes it. */
void result_end(struct cli *cli, const struct error *err);
