/* SPDX-License-Identifier: MPL-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "cli/request/run_vms.h"
#include "cli/request/vm_request.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/owner_lock.h"
#include "specs/base/strings.h"
#include "specs/vm/template.h"
#include "store/store.h"

struct build {
    struct cli *cli;
    const char *vm;
    const struct follow_values *follow;
    struct project project;
    struct run_vms copies; /* the first waits for the template; the others are not made */
    uint64_t owner;
    int owner_fd;
};

static void build_clear(struct build *build)
{
    run_vms_clear(&build->copies);
    project_clear(&build->project);
    cleanup_close_(&build->owner_fd); /* last: what is left of it goes now */
}

static int find_spec(const struct build *build, struct error *err)
{
    const struct vm_spec *spec = project_find_vm(&build->project, build->vm, 0);
    if (!spec) {
        (void)error_set(
            err, ERR_VM_NOT_FOUND, "'%s' has no vm '%s'", build->project.path, build->vm);
        return error_help(err, "templates are made from a VMFile's VMs: vmctl config");
    }
    if (!template_is_wanted(spec)) {
        (void)error_set(err, ERR_USAGE, "vm '%s' does not use a template", build->vm);
        return error_help(err,
            "write warm \"disk\" or warm \"auto\", and a provision step before the first `per-vm` "
            "one");
    }
    return 0;
}

static int request(struct build *build, const struct change *change, enum goal_kind goal,
    const struct follow_values *follow, struct error *err)
{
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    cleanup_with(vm_request_clear) struct request request = {.goal.kind = goal, .is_for_us = true};
    strings_add(&targets, build->copies.specs[0]->name);
    vm_request_init(&request, &targets, change);
    return vm_request_run(build->cli, &request, follow, err);
}

/* Its disk is a clone of the template, or the reason why it is not. */
static int read_result(const struct build *build, char *ret_digest, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(build->cli->store, build->copies.specs[0]->name, &record, err);
    if (rc < 0) {
        return rc;
    }
    const char *digest = record.status ? record.status->prepared.template_digest : "";
    const char *why = record.status ? record.status->warm.refusal : NULL;
    if (!digest[0]) {
        return error_set(err, ERR_TEMPLATE, "vm '%s' has no template: %s", build->vm,
            why ? why : "its disk was made from the image");
    }
    (void)snprintf(ret_digest, DIGEST_SIZE, "%s", digest);
    return 0;
}

static int make_copy(struct build *build, struct error *err)
{
    uint16_t rng = 0;
    char suffix[sizeof("template-ffff")];
    (void)!getrandom(&rng, sizeof(rng), 0);
    (void)snprintf(suffix, sizeof(suffix), "template-%04x", rng);
    return run_vms_make(&build->project, build->vm, suffix, true, &build->copies, err);
}

/* Its disk is made on the template of steps that are asked for; the others wait for a start, which
 * there is none of. */
static int wait_with_copy(struct build *build, char *ret_digest, struct error *err)
{
    const struct follow_values until_gone = {.is_detached = true};
    struct error ignored = {.code = ERR_NONE}; /* it goes with us */
    struct change wanted = {.spec = build->copies.specs[0],
        .must_be_new = true,
        .owner = build->owner,
        .stands_for = build->vm,
        .wants_prepared = true,
        .provision = PROVISION_ON_START};
    int rc = request(build, &wanted, GOAL_PREPARED, build->follow, err);
    rc = rc == 0 ? read_result(build, ret_digest, err) : rc;
    const struct change gone = {.deletes = true};
    bool was_quiet = build->cli->is_quiet;
    build->cli->is_quiet = true;
    (void)request(build, &gone, GOAL_DELETED, &until_gone, &ignored);
    build->cli->is_quiet = was_quiet;
    return rc;
}

int template_build(struct cli *cli, const struct arg_strings *files, const char *vm,
    const struct follow_values *follow, char *ret_digest, struct error *err)
{
    cleanup_with(build_clear) struct build build = {
        .cli = cli, .vm = vm, .follow = follow, .owner_fd = -1};
    int rc = project_load(cli, files, &build.project, err);
    rc = rc != 0 ? rc : find_spec(&build, err);
    rc = rc != 0 ? rc : cli_open_store(cli, err);
    rc = rc != 0 ? rc : owner_lock_take(&cli->paths, &build.owner, &build.owner_fd, err);
    rc = rc != 0 ? rc : make_copy(&build, err);
    return rc != 0 ? rc : wait_with_copy(&build, ret_digest, err);
}
