/* SPDX-License-Identifier: MPL-2.0 */
/* The descriptors of all commands, one a file: cli/commands/NAME.c. */
#pragma once

struct arg_strings;
struct cli;
struct command;
struct error;
struct follow_values;

extern const struct command command_apply;
extern const struct command command_completion;
extern const struct command command_console;
extern const struct command command_top;
extern const struct command command_vnc;
extern const struct command command_screenshot;
extern const struct command command_controller;
extern const struct command command_cp;
extern const struct command command_create;
extern const struct command command_describe;
extern const struct command command_destroy;
extern const struct command command_diff;
extern const struct command command_doctor;
extern const struct command command_down;
extern const struct command command_events;
extern const struct command command_exec;
extern const struct command command_explain;
extern const struct command command_fleet;
extern const struct command command_fmt;
extern const struct command command_get;
extern const struct command command_image;
extern const struct command command_import;
extern const struct command command_init;
extern const struct command command_inventory;
extern const struct command command_list;
extern const struct command command_log;
extern const struct command command_node;
extern const struct command command_port;
extern const struct command command_port_forward;
extern const struct command command_provision;
extern const struct command command_reload;
extern const struct command command_restart;
extern const struct command command_resume;
extern const struct command command_quarantine;
extern const struct command command_run;
extern const struct command command_serve;
extern const struct command command_snapshot;
extern const struct command command_clone;
extern const struct command command_move;
extern const struct command command_rename;
extern const struct command command_backup;
extern const struct command command_export;
extern const struct command command_template;
extern const struct command command_ssh;
extern const struct command command_ssh_config;
extern const struct command command_ssh_trust;
extern const struct command command_start;
extern const struct command command_status;
extern const struct command command_stop;
extern const struct command command_suspend;
extern const struct command command_unwatch;
extern const struct command command_up;
extern const struct command command_validate;
extern const struct command command_config;
extern const struct command command_version;
extern const struct command command_volume;
extern const struct command command_wait;
extern const struct command command_watch;

/* `template build`, in a file of its own. `files`: as project_load() takes them. Until the
 * template is there a VM that belongs to this command alone waits for it, as any would; it goes
 * with the command, however that ends. Its digest is in `ret_digest` (DIGEST_SIZE). As run() of a
 * command; -ERR_TEMPLATE: it cannot be made. */
int template_build(struct cli *cli, const struct arg_strings *files, const char *vm,
    const struct follow_values *follow, char *ret_digest, struct error *err);
