/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl validate: whether a VMFile is valid, and all that is wrong with it if not. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/image/image_check.h"
#include "specs/vm/vm_spec.h"
#include "specs/vmfile/vmfile.h"

struct validate_values {
    struct which_values which;
    bool explains;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct validate_values, 'f'),
    {"explain", 0, ARG_FLAG, offsetof(struct validate_values, explains), NULL,
        "also print the variables and where their values come from"},
    OPTIONS_END,
};

/* What `up` would refuse at once. No other backend than QEMU reads the file. */
static int check_images(const struct vmfile *file, struct error *err)
{
    const char *checked = "";
    for (size_t i = 0; i < file->n_vms; i++) {
        const struct vm_spec *spec = file->vms[i];
        struct image_found found;
        bool is_file = spec->image.kind == IMAGE_FILE && spec->backend == BACKEND_QEMU;
        if (!is_file || text_eq(spec->image.location, checked)) {
            continue;
        }
        checked = spec->image.location;
        if (image_check_file(checked, arch_machine(spec->image.arch), &found, err) < 0) {
            if (err->code == ERR_IMAGE_FORMAT || err->code == ERR_IMAGE_DECOMPRESS) {
                return error_wrap(err, "vm '%s'", spec->name);
            }
            error_clear(err);
        }
    }
    return 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct validate_values *validate = values;
    cleanup_with(project_clear) struct project project = {.path = NULL};
    if (words->count > 1 || (words->count == 1 && validate->which.files.count > 0)) {
        return error_set(err, ERR_USAGE, "validate takes one file");
    }
    const struct arg_strings *files = words->count ? words : &validate->which.files;
    int rc = project_load_whole(cli, files, &project, err);
    rc = rc != 0 ? rc : check_images(project.file, err);
    if (rc != 0) {
        return rc;
    }
    if (cli->output != OUTPUT_NAME) {
        printf("%s: valid:", project.path);
    }
    for (size_t i = 0; i < project.file->n_vms; i++) {
        project_note_unused(cli, project.file->vms[i]);
        const char *name = project.file->vms[i]->name;
        printf(cli->output == OUTPUT_NAME ? "%s\n" : " %s",
            cli->output == OUTPUT_NAME ? vm_name_plain(name) : name);
    }
    if (cli->output != OUTPUT_NAME) {
        putchar('\n');
    }
    for (size_t i = 0; validate->explains && i < project.file->n_variables; i++) {
        cleanup_free char *text = project_describe_variable(&project.file->variables[i]);
        puts(text);
    }
    return 0;
}

const struct command command_validate = {
    .name = "validate",
    .summary = "Check a VMFile",
    .usage = "[OPTIONS] [PATH]",
    .details =
        "Prints all errors of the file with their positions, and exits with 2 if there are any.\n"
        "-o name prints only the names of its VMs.",
    .examples = "  vmctl validate\n"
                "  vmctl validate examples/web/VMFile.kdl\n"
                "  vmctl validate --explain --set tag=13",
    .options = options,
    .values_size = sizeof(struct validate_values),
    .needs_no_store = true,
    .run = run,
};
