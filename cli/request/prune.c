/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/prune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "cli/request/vm_request.h"
#include "cli/request/targets.h"
#include "cli/show/result.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

static int find_removed(
    struct cli *cli, const struct project *project, struct targets *ret, struct error *err)
{
    cleanup_with(targets_clear) struct targets known = {.count = 0};
    int rc = targets_of_source(cli, project->path, &known, err);
    for (size_t i = 0; rc == 0 && i < known.count; i++) {
        if (!project_find_vm(project, known.names[i])) {
            targets_add(ret, known.names[i]);
        }
    }
    return rc;
}

int prune_parse(const char *text, enum source_prune *ret, struct error *err)
{
    int prune = !text ? SOURCE_PRUNE_NOTHING
        : !text[0]    ? SOURCE_PRUNE_DESTROY
                      : source_prune_parse(text);
    if (prune < 0) {
        return error_set(
            err, ERR_USAGE, "--prune: '%s' is neither stop nor destroy", text);
    }
    *ret = (enum source_prune)prune;
    return 0;
}

static int end_all(struct cli *cli, const struct targets *removed, const struct change *pattern,
    const char *begun, struct error *err)
{
    cleanup_with(vm_request_clear) struct request request = {.goal.kind = GOAL_SETTLED, .begun = begun};
    static const struct follow_values in_background = {.is_detached = true};
    vm_request_init(&request, removed, pattern);
    return vm_request_run(cli, &request, &in_background, err);
}

int prune_removed(struct cli *cli, const struct project *project, enum source_prune prune,
    struct error *err)
{
    static const struct change stop = {.sets_power = true, .power = POWER_STOPPED};
    static const struct change destroy = {.deletes = true};
    cleanup_with(targets_clear) struct targets removed = {.count = 0};
    int rc = find_removed(cli, project, &removed, err);
    if (rc < 0 || removed.count == 0) {
        return rc;
    }
    if (prune == SOURCE_PRUNE_DESTROY) {
        return end_all(cli, &removed, &destroy, "destroying", err);
    }
    if (prune == SOURCE_PRUNE_STOP) {
        return end_all(cli, &removed, &stop, "stopping", err);
    }
    for (size_t i = 0; i < removed.count; i++) {
        cli_note(cli, "note: vm '%s' is no longer in %s and is left as it is (vmctl up --prune "
            "destroys it)", removed.names[i], strrchr(project->path, '/') + 1);
    }
    return 0;
}

int prune_plan(struct cli *cli, const struct project *project, enum source_prune prune,
    struct error *err)
{
    if (prune == SOURCE_PRUNE_NOTHING) {
        return prune_removed(cli, project, prune, err);
    }
    cleanup_with(targets_clear) struct targets removed = {.count = 0};
    int rc = find_removed(cli, project, &removed, err);
    for (size_t i = 0; rc == 0 && i < removed.count; i++) {
        bool is_stop = prune == SOURCE_PRUNE_STOP;
        if (result_is_open(cli)) {
            const struct change_outcome outcome = {.result = is_stop ? CHANGE_STOPPED : CHANGE_DELETED};
            result_outcome(cli, removed.names[i], &outcome);
            result_set(cli, removed.names[i], "planned");
        } else {
            printf("%s: %s (dry run)\n", removed.names[i], is_stop ? "stopped" : "destroyed");
        }
    }
    return rc;
}
