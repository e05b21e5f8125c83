/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/power.h"

#include "cli/cli.h"
#include "cli/request/confirm.h"
#include "cli/request/protected.h"
#include "cli/request/vm_request.h"
#include "cli/request/targets.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

const struct arg_option power_options[] = {
    OPTION_FILE(struct power_values, 'f'),
    OPTION_NAME(struct power_values),
    OPTION_ALL(struct power_values),
    OPTIONS_FOLLOW(struct power_values),
    OPTIONS_END,
};

const struct power_values power_defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

int power_run(struct cli *cli, const struct power_command *command,
    const struct power_values *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    struct protected_vms kept = {.count = 0};
    int rc = targets_find(cli, &values->which, words, &targets, err);
    for (size_t i = 0; command->check && rc == 0 && i < targets.count; i++) {
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        rc = store_get(cli->store, targets.items[i], &record, err);
        if (rc == 0) {
            rc = command->check(&record, err);
        }
    }
    if (rc == 0 && command->change.deletes) {
        rc = protected_leave_out(cli, NULL, &targets, &kept, err);
        rc = rc == 0 ? confirm_erasure(cli, values->is_sure, false, &targets, err) : rc;
    }
    if (rc != 0 || targets.count == 0) {
        return protected_end(cli, &kept, rc, err);
    }
    cleanup_with(vm_request_clear) struct request request = {
        .goal = command->goal,
        .begun = command->begun,
        .done = command->done,
        .shows_provision = command->shows_provision,
    };
    struct change change = command->change;
    change.saves = values->saves;
    vm_request_init(&request, &targets, &change);
    rc = vm_request_run(cli, &request, &values->follow, err);
    return protected_end(cli, &kept, rc, err);
}
