/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl describe: a VM explained: what it is meant to be, what it is, and why. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/show/describe.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/wait/controller_process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "store/store.h"

struct describe_values {
    struct which_values which;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct describe_values, 'f'),
    OPTION_NAME(struct describe_values),
    OPTION_ALL(struct describe_values),
    OPTIONS_END,
};

static int describe_one(
    struct cli *cli, const char *name, json_t *array, struct buf *out, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    json_t *json = NULL;
    int rc = store_get(cli->store, name, &record, err);
    if (rc < 0) {
        return rc;
    }
    if (!output_is_data(cli)) {
        buf_add_str(out, out->len ? "\n" : "");
        return describe_add_text(cli, &record, out, err);
    }
    rc = describe_to_json(cli, &record, &json, err);
    (void)json_array_append_new(array, json); /* which refuses NULL */
    return rc;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct describe_values *describe = values;
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    cleanup_json json_t *array = json_array();
    cleanup_buf struct buf out = BUF_INIT(0);
    int rc = targets_find_or_all(cli, &describe->which, words, &targets, err);
    for (size_t i = 0; rc == 0 && i < targets.count; i++) {
        rc = describe_one(cli, targets.items[i], array, &out, err);
    }
    if (rc != 0) {
        return rc;
    }
    if (output_is_data(cli)) {
        output_print(cli, targets.count == 1 ? json_array_get(array, 0) : array);
        return 0;
    }
    table_print_folded(buf_str(&out));
    if (targets.count > 0) {
        controller_note_absent(cli);
    }
    return 0;
}

const struct command command_describe = {
    .name = "describe",
    .aliases = "inspect show",
    .summary = "Show the desired and actual state of VMs in detail",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Shows what `status` shows, and also: pending changes and what they wait for, the\n"
        "provision steps that are done, probe results, failures and the next try, and the VM's\n"
        "files. Without a name: the VMs of the VMFile, or all VMs if there is no VMFile.",
    .examples = "  vmctl describe web\n"
                "  vmctl describe web -o json | jq .changes",
    .reach = REACH_SEVERAL,
    .options = options,
    .values_size = sizeof(struct describe_values),
    .takes_kind = true,
    .run = run,
};
