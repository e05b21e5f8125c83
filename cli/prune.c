/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/prune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/answer.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/project.h"
#include "cli/targets.h"
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

static int destroy(struct cli *cli, const struct targets *removed, struct error *err)
{
    cleanup_with(ask_clear) struct ask ask = {.goal.kind = GOAL_DELETED, .begun = "destroying"};
    static const struct wish pattern = {.deletes = true};
    static const struct follow_values in_background = {.is_detached = true};
    ask_init(&ask, removed, &pattern);
    return ask_carry_out(cli, &ask, &in_background, err);
}

int prune_removed(struct cli *cli, const struct project *project, bool destroys, struct error *err)
{
    cleanup_with(targets_clear) struct targets removed = {.count = 0};
    int rc = find_removed(cli, project, &removed, err);
    if (rc < 0 || removed.count == 0) {
        return rc;
    }
    if (destroys) {
        return destroy(cli, &removed, err);
    }
    for (size_t i = 0; i < removed.count; i++) {
        cli_note(cli, "note: vm '%s' is no longer in %s and is left as it is (vmctl up --prune "
            "destroys it)", removed.names[i], strrchr(project->path, '/') + 1);
    }
    return 0;
}

int prune_plan(struct cli *cli, const struct project *project, struct error *err)
{
    cleanup_with(targets_clear) struct targets removed = {.count = 0};
    int rc = find_removed(cli, project, &removed, err);
    for (size_t i = 0; rc == 0 && i < removed.count; i++) {
        if (answer_is_open(cli)) {
            answer_outcome(cli, removed.names[i], &(struct wish_outcome){.result = WISH_DELETED});
            answer_result(cli, removed.names[i], "planned");
        } else {
            printf("%s: destroyed (dry run)\n", removed.names[i]);
        }
    }
    return rc;
}
