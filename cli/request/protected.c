/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/protected.h"

#include <stdlib.h>

#include "cli/cli.h"
#include "cli/request/project.h"
#include "specs/base/cleanup.h"
#include "specs/base/strings.h"
#include "store/desired/change.h"
#include "store/store.h"

void protected_check(struct cli *cli, const struct vm_desired *desired, const struct change *change,
    struct protected_vms *ret)
{
    struct error refusal = {.code = ERR_NONE};
    if (!desired || change_check_protected(desired, change, &refusal) == 0) {
        return;
    }
    if (ret->count++ > 0) {
        cli_print_error(cli, &ret->refusal);
    }
    ret->refusal = refusal;
}

int protected_leave_out(struct cli *cli, const struct project *project, struct strings *targets,
    struct protected_vms *ret, struct error *err)
{
    struct strings left = {.count = 0};
    int rc = cli_open_store(cli, err);
    for (size_t i = 0; rc == 0 && i < targets->count; i++) {
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        const struct change change = {
            .name = targets->items[i],
            .spec = project ? project_find_vm(project, targets->items[i], i) : NULL,
            .recreates = project != NULL,
            .deletes = project == NULL,
        };
        size_t before = ret->count;
        rc = store_get(cli->store, change.name, &record, err);
        protected_check(cli, record.desired, &change, ret);
        if (ret->count == before) {
            strings_append(&left, change.name);
        }
    }
    strings_clear(targets);
    *targets = left;
    return rc;
}

int protected_end(const struct cli *cli, const struct protected_vms *vms, int rc, struct error *err)
{
    if (vms->count == 0) {
        return rc;
    }
    if (rc != 0) {
        cli_print_error(cli, &vms->refusal);
        return rc;
    }
    *err = vms->refusal;
    return -(int)err->code;
}
