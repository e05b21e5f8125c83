/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/templates.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/guest/forget_identity.sh.h"
#include "reconcilers/guest/identity.h"
#include "reconcilers/guest/start_identity.sh.h"
#include "reconcilers/media/seed.h"
#include "reconcilers/template/template_files.h"
#include "reconcilers/vm/memory.h"
#include "reconcilers/vm/pass.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "specs/vm/step_notes.h"
#include "specs/vm/template.h"
#include "specs/vm/vm_summary.h"
#include "store/store.h"

enum { FAILURE_KEPT_MS = 3600 * 1000 }; /* so long the template is not tried again */

/* ---- what there is ---- */

/* Only what was shut down in order is whole, and all of a builder's disk can be made again. */
static enum build assess_build(const struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_status *status = pass->view->status;
    const struct vm_provision *provision = &status->provision;
    const struct situation *s = &pass->situation;
    char digest[DIGEST_SIZE];
    digest_text(desired->template_key, digest);
    cleanup_free char *sealed = template_path(pass->vm->host->paths, digest, "");
    bool is_done = provision->digest[0] && !provision->is_failed &&
                   provision->next_step == desired->spec->n_steps;
    bool has_ended = !s->is_alive && !s->has_instance && status->prepared.digest[0] &&
                     status->restart.last_cause != EXIT_NONE;
    bool has_memory = desired->spec->warm == WARM_AUTO;
    bool is_frozen = status->warm.host != NULL;
    bool is_whole =
        is_done && status->restart.last_cause == EXIT_BY_USER && (is_frozen || !has_memory);
    return fs_exists(sealed)            ? BUILD_SEALED
           : status->build_failure.code ? BUILD_FAILED
           : has_ended && !is_whole     ? BUILD_STALE
           : !is_done                   ? BUILD_UNDER_WAY
           : has_memory && !is_frozen   ? BUILD_TO_FREEZE
                                        : BUILD_DONE;
}

/* The steps of a template are among those that are to be run, from the first on. */
static bool are_steps_asked(const struct pass *pass)
{
    const struct vm_provision *provision = &pass->view->status->provision;
    const struct vm_desired *desired = pass->view->desired;
    bool is_new_list = provision->next_step == 0 && provision->asked_step <= 1 &&
                       provision->total == desired->spec->n_steps && !provision->is_failed;
    return template_steps(desired->spec) == 0 || is_new_list;
}

/* How far a builder is. */
static char *progress_of(const struct vm_record *builder)
{
    const struct vm_status *status = builder->status;
    enum reason reason = status ? vm_display(status) : REASON_PENDING;
    return reason == REASON_RUNNING_STEP
               ? mem_printf(
                     "step %u of %u", status->provision.next_step + 1, status->provision.total)
               : mem_strdup(reason_name(reason));
}

static enum template_state find_builder(struct pass *pass)
{
    cleanup_with(vm_record_clear) struct vm_record builder = {0};
    struct error err = {.code = ERR_NONE};
    const char *digest = pass->template.digest;
    char name[TEMPLATE_NAME_SIZE], other[DIGEST_SIZE] = "";
    template_builder_name(digest, name);
    bool is_known = store_get(pass->vm->host->store, name, &builder, &err) == 0;
    if (is_known && !builder.desired && !pass->patch->creates) {
        return TEMPLATE_MISSING;
    }
    if (!is_known || !builder.desired || builder.desired->is_deleting) {
        pass->template.text = mem_printf("template %s will be made", name + 1);
        return TEMPLATE_BUILDING;
    }
    digest_text(builder.desired->template_key ? builder.desired->template_key : "", other);
    const struct vm_status *status = builder.status;
    if (!text_eq(other, digest) || (status && status->build_failure.code)) {
        const char *why = status ? status->build_failure.message : NULL;
        pass->template.text = mem_printf("template %s could not be made: %s (vmctl log '%s'; try "
                                         "again: vmctl template rm %s)",
            name + 1, why ? why : "its name is in use", name, name + 1);
        return TEMPLATE_UNUSABLE;
    }
    cleanup_free char *progress = progress_of(&builder);
    pass->template.text = mem_printf("template %s is being made: %s", name + 1, progress);
    pass->template.is_unseen = !status;
    return TEMPLATE_BUILDING;
}

static enum template_state find_template(struct pass *pass)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *key = template_key(pass->env.spec, pass->vm->image.id);
    digest_text(key, pass->template.digest);
    struct template_record *record =
        template_find(pass->vm->host->paths, pass->template.digest, &err);
    bool is_there = record != NULL;
    template_record_free(record);
    if (err.code) {
        pass->template.text = mem_printf("%s (%s)", err.message, err.help);
        return TEMPLATE_UNUSABLE;
    }
    bool is_chosen = text_eq(pass->view->status->warm.template_digest, pass->template.digest);
    return !is_there ? find_builder(pass) : is_chosen ? TEMPLATE_UNNEEDED : TEMPLATE_READY;
}

void template_assess(struct pass *pass)
{
    struct situation *s = &pass->situation;
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_status *status = pass->view->status;
    free(TAKE_PTR(pass->template.text));
    if (!desired) {
        return;
    }
    pass->template.n_steps =
        status->prepared.template_digest[0] ? (uint32_t)template_steps(desired->spec) : 0;
    s->build = desired->template_key ? assess_build(pass) : BUILD_NONE;
    bool is_possible = template_is_wanted(desired->spec) && pass->vm->backend->media->seal &&
                       !desired->template_key && !desired->is_cold && !status->warm.refusal &&
                       pass->vm->image.path;
    if (!is_possible || !are_steps_asked(pass)) {
        return;
    }
    enum action next = decide(s).action; /* without a template */
    bool is_first = next == ACTION_PREPARE && !status->prepared.digest[0];
    s->template = is_first || next == ACTION_REPLACE ? find_template(pass) : TEMPLATE_UNNEEDED;
}

bool template_fits(const struct pass *pass, const struct vm_prepared *made)
{
    char digest[DIGEST_SIZE];
    const struct vm_desired *desired = pass->view->desired;
    if (!made->template_digest[0]) {
        return true;
    }
    cleanup_free char *key = template_key(desired->spec, made->image_id);
    digest_text(key, digest);
    return template_is_wanted(desired->spec) && !desired->is_cold &&
           text_eq(digest, made->template_digest);
}

bool template_is_there(const struct pass *pass, const struct vm_prepared *made)
{
    cleanup_free char *base = template_base(pass->vm->host->paths, made);
    return !made->template_digest[0] || fs_exists(base);
}

/* ---- a VM and its template ---- */

/* A copy that goes again leaves the name of the VM that it is a copy of. */
static const char *name_for_template(const struct pass *pass)
{
    const char *name = pass->view->desired->template_vm;
    return name ? name : pass->vm->name;
}

/* The newest template that was made for this VM, or that its disk is a clone of: its key; NULL:
 * there is none. */
struct earlier {
    const struct pass *pass;
    int64_t created_ms;
    char *key;
};

static void compare_template(void *context, int dir_fd, const char *name)
{
    struct earlier *earlier = context;
    struct error ignored = {.code = ERR_NONE};
    (void)dir_fd;
    struct template_record *record =
        template_digest_is_valid(name)
            ? template_find(earlier->pass->vm->host->paths, name, &ignored)
            : NULL;
    const struct vm_prepared *present = &earlier->pass->view->status->prepared;
    bool is_its_own = record && (text_eq(record->vm_name, name_for_template(earlier->pass)) ||
                                    text_eq(name, present->template_digest));
    if (is_its_own && record->created_ms >= earlier->created_ms) {
        free(earlier->key);
        earlier->key = TAKE_PTR(record->key);
        earlier->created_ms = record->created_ms;
    }
    template_record_free(record);
}

static void report_begin(struct pass *pass, const char *key)
{
    struct earlier earlier = {.pass = pass};
    cleanup_free char *directory = paths_path(pass->vm->host->paths, "templates");
    fs_each_entry(directory, compare_template, &earlier);
    cleanup_free char *difference = earlier.key ? template_key_difference(earlier.key, key) : NULL;
    size_t n = template_steps(pass->env.spec);
    vm_patch_event(pass->patch, false, REASON_TEMPLATE_BUILDING,
        "making template %.*s, once, with the first %zu step%s%s%s", TEMPLATE_DIGITS,
        pass->template.digest, n, n == 1 ? "" : "s",
        difference ? "; the previous one does not match any more: " : "",
        difference ? difference : "");
    free(earlier.key);
}

static void add_as_root(struct buf *out, const char *script, const char *argument)
{
    buf_add_str(out, "sh -c 'case $(id -u) in 0) exec sh -c \"$0\" sh \"$1\" ;; "
                     "*) exec sudo -n sh -c \"$0\" sh \"$1\" ;; esac' ");
    text_add_shell_word(out, script);
    buf_printf(out, " '%s'", argument);
}

/* The builder's record goes into the commit of this pass: killed before it, nothing has happened;
 * after it, the builder is there. Of two VMs that put it, the second one's commit finds the first.
 */
int64_t template_begin(struct pass *pass)
{
    char name[TEMPLATE_NAME_SIZE];
    cleanup_buf struct buf forget = BUF_INIT(0);
    template_builder_name(pass->template.digest, name);
    cleanup_free char *comment = seed_host_alias(name);
    cleanup_free char *helper = identity_helper_text();
    buf_add_str(&forget, "echo 'removing what belongs to one VM'; ");
    add_as_root(&forget, forget_identity_sh, comment);
    if (template_has_memory(pass->env.spec)) {
        buf_add_str(&forget, " && ");
        add_as_root(&forget, start_identity_sh, helper ? helper : "");
    }
    struct vm_desired *builder = vm_desired_new(
        template_builder_spec(pass->env.spec, pass->template.digest, buf_str(&forget)),
        pass->wall_ms);
    builder->template_key = template_key(pass->env.spec, pass->vm->image.id);
    builder->template_vm = mem_strdup(name_for_template(pass));
    builder->power = POWER_RUNNING;
    builder->generation = 1;
    digest_random_id(builder->provision_token);
    proxies_assign(&builder->proxies, &pass->view->desired->proxies);
    report_begin(pass, builder->template_key);
    vm_desired_free(pass->patch->creates);
    pass->patch->creates = builder;
    return VERDICT_NOW;
}

/* The commit that put its record woke no reconciler for it. */
int64_t template_await(struct pass *pass)
{
    enum { RECHECK_MS = 500 };
    struct reconciler_host *host = pass->vm->host;
    if (pass->template.is_unseen) {
        char name[TEMPLATE_NAME_SIZE];
        template_builder_name(pass->template.digest, name);
        host->wake(host, key_of(KEY_VM, name), WORK_EVENT);
    }
    return RECHECK_MS;
}

/* The intent to clone it, which keeps it; or that the image is taken, and why. */
int64_t template_choose(struct pass *pass)
{
    struct vm_warm *warm = &pass->patch->status->warm;
    int64_t requeue_ms = VERDICT_NOW;
    bool is_ready = pass->situation.template == TEMPLATE_READY;
    if (!is_ready && pass->env.spec->warm == WARM_REQUIRE) {
        return memory_insist(pass, pass->template.text);
    }
    if (is_ready && !memory_choose(pass, &requeue_ms)) {
        return requeue_ms;
    }
    if (is_ready) {
        memcpy(warm->template_digest, pass->template.digest, DIGEST_SIZE);
        return VERDICT_NOW;
    }
    free(warm->refusal);
    warm->refusal = mem_strdup(pass->template.text);
    memset(warm->template_digest, 0, DIGEST_SIZE);
    vm_patch_event(pass->patch, true, REASON_TEMPLATE_FAILED,
        "its disk is made from the image and all its steps run: %s", warm->refusal);
    return VERDICT_NOW;
}

void template_note_steps(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    struct vm_provision *provision = &status->provision;
    const struct vm_spec *spec = pass->view->desired->spec;
    struct error ignored = {.code = ERR_NONE};
    const char *digest = status->prepared.template_digest;
    struct template_record *template =
        digest[0] ? template_find(pass->vm->host->paths, digest, &ignored) : NULL;
    uint32_t n = (uint32_t)template_steps(spec);
    if (!digest[0]) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct vm_step_record record = {.outcome = STEP_DONE};
        if (template && i < template->n_steps) {
            record = template->steps[i];
        }
        step_content(spec, i, record.content);
        vm_provision_record(provision, i, &record);
        step_mark_done(provision, spec, i, "");
    }
    template_record_free(template);
    template_touch(pass->vm->host->paths, digest);
    vm_patch_event(pass->patch, false, REASON_CLONED, "its disk is a clone of template %.*s%s",
        TEMPLATE_DIGITS, digest, n > 0 ? ", on which the first steps have run" : "");
    if (n > 0 && provision->total >= n && provision->next_step == 0) {
        provision->next_step = n - 1;
        pass_finish_step(pass);
    }
}

void template_observe_generation(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    const char *token = pass->view->desired->recreate_token;
    bool is_recreation = token[0] && !text_eq(token, status->handled_recreate_token);
    if (status->prepared.wake != WAKE_NONE) {
        free(TAKE_PTR(status->warm.cold));
    }
    if (!status->prepared.digest[0] || is_recreation) {
        free(TAKE_PTR(status->warm.refusal));
        free(TAKE_PTR(status->warm.cold));
        memset(status->warm.template_digest, 0, DIGEST_SIZE);
    }
}

/* ---- a builder ---- */

/* Killed before, during or after, or done twice: it is there once (template_files.h). */
int64_t template_seal_disk(struct pass *pass)
{
    struct vm *vm = pass->vm;
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_status *status = pass->view->status;
    const struct vm_provision *provision = &status->provision;
    struct template_record *record = template_record_new();
    record->format = TEMPLATE_FORMAT;
    digest_text(desired->template_key, record->digest);
    record->key = mem_strdup(desired->template_key);
    record->vm_name = mem_strdup(desired->template_vm);
    record->image_path = mem_strdup(status->prepared.image_path);
    record->image_id = mem_strdup(status->prepared.image_id);
    record->memory.host = mem_strdup(status->warm.host);
    record->memory.accel = mem_strdup(status->warm.accel);
    record->memory.has_agent = status->warm.has_agent;
    record->created_ms = pass->wall_ms;
    record->took_ms = pass->wall_ms - desired->created_ms;
    for (uint32_t i = 0; i + 1 < provision->n_steps; i++) { /* the last is of the builder */
        mem_grow(record->steps, record->n_steps);
        record->steps[record->n_steps++] = provision->steps[i];
    }
    vm_begin(vm, ACTION_SEAL, desired->generation);
    vm->op = vm->backend->media->seal(&pass->env, record, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* What failed is kept for a while, so that it is not tried again by each VM that wants it. */
int64_t template_dismiss(struct pass *pass)
{
    enum { AT_ONCE = 1 };
    const struct vm_status *status = pass->view->status;
    int64_t left_ms = status->build_failed_ms + FAILURE_KEPT_MS - pass->wall_ms;
    bool is_sealed = pass->situation.build == BUILD_SEALED;
    if (!is_sealed && left_ms > 0 && left_ms <= FAILURE_KEPT_MS) {
        return left_ms;
    }
    if (is_sealed) {
        vm_patch_event(pass->patch, false, REASON_TEMPLATE_BUILT, "template %s was made in %.1f s",
            pass->vm->name + 1, (double)(pass->wall_ms - pass->view->desired->created_ms) / 1000);
        template_sweep(pass->vm->host, false);
    }
    pass->patch->deletes = true;
    return AT_ONCE;
}

bool template_note_failure(struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    struct vm_status *status = pass->patch->status;
    const struct vm_blocker *blocker = &status->blocker;
    if (!desired || !desired->template_key || status->build_failure.code || !blocker->code ||
        pass->situation.build == BUILD_SEALED) {
        return false;
    }
    status->build_failure = (struct vm_blocker){.code = mem_strdup(blocker->code),
        .message = mem_strdup(blocker->message),
        .help = mem_strdup(blocker->help)};
    status->build_failed_ms = pass->wall_ms;
    vm_patch_event(pass->patch, true, REASON_TEMPLATE_FAILED, "%s", blocker->message);
    return true;
}

/* ---- the condition Warm, and what Prepared waits for ---- */

void template_describe(struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_status *status = pass->patch->status;
    const char *digest = status->prepared.template_digest;
    enum template_state template = pass->situation.template;
    bool is_wanted = desired->spec->warm != WARM_NEVER && !desired->template_key;
    bool is_awaited = template == TEMPLATE_MISSING || template == TEMPLATE_BUILDING;
    const char *cold = status->warm.cold;
    cleanup_free char *clone = digest[0] ? mem_printf("template %.*s%s%s", TEMPLATE_DIGITS, digest,
                                               cold ? ", its disk alone: " : "", cold ? cold : "")
                                         : NULL;
    const struct {
        bool holds;
        enum condition_state state;
        enum reason reason;
        const char *message;
    } rules[] = {
        {!is_wanted && !digest[0], CONDITION_ABSENT, REASON_NONE, NULL},
        {is_awaited, CONDITION_FALSE, REASON_TEMPLATE_BUILDING, pass->template.text},
        {digest[0], CONDITION_TRUE, REASON_CLONED, clone},
        {status->warm.refusal, CONDITION_FALSE, REASON_TEMPLATE_FAILED, status->warm.refusal},
        {desired->is_cold, CONDITION_FALSE, REASON_NO_TEMPLATE, "not used (--cold)"},
        {!template_is_wanted(desired->spec), CONDITION_FALSE, REASON_NO_TEMPLATE,
            "no step comes before the first `per-vm` one"},
        {!status->prepared.digest[0], CONDITION_FALSE, REASON_PENDING, NULL},
        {true, CONDITION_FALSE, REASON_NO_TEMPLATE, "its disk was made from the image"},
    };
    size_t i = 0;
    while (!rules[i].holds) {
        i++;
    }
    pass_set(pass, CONDITION_WARM, rules[i].state, rules[i].reason, rules[i].message);
    if (template == TEMPLATE_BUILDING && !vm_status_is_true(status, CONDITION_PREPARED)) {
        pass_set(pass, CONDITION_PREPARED, CONDITION_FALSE, REASON_PREPARING, pass->template.text);
    }
}
