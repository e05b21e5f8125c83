/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/commands/status_text.h"

#include "cli/cli.h"
#include "cli/show/vm_text.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "store/store.h"

static void add_path(struct buf *out, const char *label, const struct cli *cli, const char *name,
    enum vm_file file)
{
    cleanup_free char *path = paths_vm(&cli->paths, name, file);
    vm_text_field(out, label, "%s", fs_exists(path) ? path : "-");
}

int status_text_add(
    struct cli *cli, const struct vm_record *record, struct buf *out, struct error *err)
{
    vm_text_add_head(out, record);
    vm_text_add_desired(out, record->desired);
    add_path(out, "Work dir:", cli, record->name, VM_DIR);
    add_path(out, "Overlay:", cli, record->name, VM_OVERLAY);
    add_path(out, "Seed ISO:", cli, record->name, VM_SEED);
    if (record->status) {
        vm_text_add_instance(out, record->status);
    }
    vm_text_add_generation(out, record);
    if (record->status) {
        vm_text_add_conditions(out, record->status);
        vm_text_add_blocker(out, &record->status->blocker);
    }
    return vm_text_add_events(cli, record->name, out, err);
}
