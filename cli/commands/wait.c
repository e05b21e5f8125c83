/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl wait: waits until VMs have reached a state, or can no longer reach it. */
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "cli/request/watched_source.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/wait/follow.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "store/store.h"

struct wait_values {
    struct which_values which;
    bool goals[GOAL_KIND_COUNT_];
    const char *condition;
    bool allows_drift;
    int64_t timeout_ms;
};

#define OPTION_GOAL(word, kind, text)                                                              \
    {                                                                                              \
        word, 0, ARG_FLAG, offsetof(struct wait_values, goals) + (kind) * sizeof(bool), NULL, text \
    }

static const struct arg_option options[] = {
    OPTION_GOAL("ready", GOAL_READY, "until they are ready (the default)"),
    OPTION_GOAL("running", GOAL_RUNNING, "until the machines run"),
    OPTION_GOAL("stopped", GOAL_STOPPED, "until they are off"),
    OPTION_GOAL("suspended", GOAL_SUSPENDED, "until they are suspended"),
    OPTION_GOAL("provisioned", GOAL_PROVISIONED, "until the provision steps are done"),
    OPTION_GOAL("deleted", GOAL_DELETED, "until they are gone"),
    {"for", 0, ARG_TEXT, offsetof(struct wait_values, condition), "delete|condition=NAME",
        "until a VM is deleted, or a condition is True (or: NAME=VALUE)"},
    {"allow-drift", 0, ARG_FLAG, offsetof(struct wait_values, allows_drift), NULL,
        "--ready: accept settings that wait for a restart"},
    {"timeout", 0, ARG_DURATION, offsetof(struct wait_values, timeout_ms), "DURATION",
        "give up after this long [default: 5m]"},
    OPTION_FILE(struct wait_values, 'f'),
    OPTION_NAME(struct wait_values),
    OPTION_ALL(struct wait_values),
    OPTIONS_END,
};

/* Five minutes, and a millisecond that distinguishes the default from `--timeout 5m`. */
enum { WAIT_TIMEOUT_MS = 5 * 60 * 1000 + 1 };

static const struct wait_values defaults = {.timeout_ms = WAIT_TIMEOUT_MS};

/* "condition=Ready", "condition=Ready=False", "delete": as kubectl wait has them. */
static int parse_condition(const char *text, struct goal *ret, struct error *err)
{
    if (text_eq(text, "delete")) {
        ret->kind = GOAL_DELETED;
        return 0;
    }
    if (!text_starts_with(text, "condition=")) {
        return error_set(
            err, ERR_USAGE, "--for: '%s' is neither condition=NAME[=VALUE] nor delete", text);
    }
    const char *start = text + strlen("condition=");
    size_t n = strcspn(start, "=");
    cleanup_free char *name = mem_strndup(start, n);
    int type = enum_names_find_in_any_case(&condition_type_words, name);
    int state = start[n] ? enum_names_find_in_any_case(&condition_state_words, start + n + 1)
                         : CONDITION_TRUE;
    if (type < 0 || state < 0) {
        (void)error_set(err, ERR_USAGE, "--for: there is no condition '%s'", start);
        return error_help(err, "see the names and values: vmctl status VM");
    }
    *ret = (struct goal){.kind = GOAL_CONDITION,
        .type = (enum condition_type)type,
        .state = (enum condition_state)state};
    return 0;
}

static int choose_goal(const struct wait_values *values, struct goal *ret, struct error *err)
{
    int count = values->condition != NULL;
    *ret = (struct goal){.kind = GOAL_READY};
    for (int i = 0; i < GOAL_KIND_COUNT_; i++) {
        if (values->goals[i]) {
            ret->kind = (enum goal_kind)i;
            count++;
        }
    }
    if (count > 1) {
        return error_set(err, ERR_USAGE, "wait: the conditions exclude each other");
    }
    int rc = values->condition ? parse_condition(values->condition, ret, err) : 0;
    ret->allows_drift = values->allows_drift;
    return rc;
}

/* A VM that does not exist counts as deleted. */
static int find_remaining(struct cli *cli, const struct which_values *which,
    const struct arg_strings *words, struct strings *ret, struct error *err)
{
    const struct arg_strings *lists[] = {words, &which->names};
    cleanup_with(strings_clear) struct strings known = {.count = 0};
    if (words->count + which->names.count == 0) {
        int rc = targets_find(cli, which, words, ret, err);
        if (rc == -ERR_VM_NOT_FOUND) {
            error_clear(err);
            rc = 0;
        }
        return rc;
    }
    int rc = targets_of_store(cli, &known, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(lists); i++) {
        for (size_t j = 0; j < lists[i]->count; j++) {
            if (strings_have(&known, lists[i]->items[j])) {
                strings_add(ret, lists[i]->items[j]);
            }
        }
    }
    return rc;
}

/* The VM as it is now is the one that is waited for. */
static int begin_target(
    struct cli *cli, struct follow_target *target, const struct goal *goal, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(cli->store, target->name, &record, err);
    if (rc < 0) {
        return rc;
    }
    target->goal = *goal;
    if (record.desired) {
        memcpy(target->uid, record.desired->uid, TEXT_ID_SIZE);
        target->generation = record.desired->generation;
    }
    return 0;
}

static void print_results(const struct cli *cli, const struct follow_target *targets, size_t count)
{
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *json = json_object();
        const struct error *error = &targets[i].error;
        output_put_name(json, targets[i].name);
        json_put_text(json, "goal", goal_word(&targets[i].goal));
        json_put_flag(json, "reached", targets[i].result == GOAL_REACHED);
        if (error->code != ERR_NONE) {
            json_put_text(json, "code", error_code_name(error->code));
            json_put_text(json, "message", error->message);
            json_put_text(json, "help", error_help_text(error));
        }
        (void)json_array_append_new(array, json);
    }
    output_print(cli, array);
}

static int wait_for(struct cli *cli, const struct strings *names, const struct goal *goal,
    int64_t timeout_ms, struct error *err)
{
    cleanup_free struct follow_target *targets = mem_calloc(names->count, sizeof(*targets));
    int rc = names->count > 0 ? cli_start_controller(cli, err) : 0;
    for (size_t i = 0; rc == 0 && i < names->count; i++) {
        targets[i].name = names->items[i];
        rc = begin_target(cli, &targets[i], goal, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = follow(cli, targets, names->count, timeout_ms, err);
    if (rc >= 0 && output_is_data(cli)) {
        print_results(cli, targets, names->count);
    }
    return rc;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct wait_values *wait = values;
    struct goal goal;
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    int64_t timeout_ms = wait->timeout_ms;
    int rc = choose_goal(wait, &goal, err);
    goal.is_patient = wait->timeout_ms != WAIT_TIMEOUT_MS;
    bool means_file =
        words->count + wait->which.names.count == 0 && !wait->which.is_all && !wait->which.selector;
    if (rc == 0 && goal.kind != GOAL_DELETED && means_file) {
        /* A watched VMFile that was just edited: its VMs match it only once vmctld has applied it.
         */
        cleanup_free char *path = NULL;
        rc = project_path(cli, &wait->which.files, &path, err);
        rc = rc < 0 ? rc : watched_source_settle(cli, path, &timeout_ms, err);
    }
    if (rc != 0) {
        return rc;
    }
    rc = goal.kind == GOAL_DELETED ? find_remaining(cli, &wait->which, words, &targets, err)
                                   : targets_find(cli, &wait->which, words, &targets, err);
    return rc != 0 ? rc : wait_for(cli, &targets, &goal, timeout_ms, err);
}

const struct command command_wait = {
    .name = "wait",
    .summary = "Wait until VMs are ready, stopped, gone …",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Fails at once, with the reason, when a VM can no longer reach the state: it never waits\n"
        "out the timeout for a dead VM. --ready also fails while settings wait for a restart.\n"
        "Without a name: the VMs of the VMFile; for a watched VMFile only once vmctld has applied\n"
        "the current file.",
    .examples = "  vmctl wait web --ready --timeout 2m\n"
                "  vmctl wait --all --stopped\n"
                "  vmctl wait web --for=condition=GuestReachable",
    .reach = REACH_SEVERAL,
    .options = options,
    .values_size = sizeof(struct wait_values),
    .defaults = &defaults,
    .run = run,
};
