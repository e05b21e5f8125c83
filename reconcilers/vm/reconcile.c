/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/reconcile.h"

#include <stdlib.h>

#include "controller/queue/name_map.h"
#include "reconcilers/media/imported.h"
#include "reconcilers/media/media.h"
#include "reconcilers/template/template_files.h"
#include "reconcilers/trash/trash.h"
#include "reconcilers/vm/clock.h"
#include "reconcilers/vm/forwards.h"
#include "reconcilers/vm/pass.h"
#include "reconcilers/vm/saved.h"
#include "reconcilers/vm/secrets.h"
#include "reconcilers/vm/templates.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/owner_lock.h"
#include "specs/base/paths.h"
#include "specs/base/vm_name.h"
#include "specs/vm/applied_files.h"

struct vm_reconciler {
    struct reconciler base; /* first: the controller holds a pointer to it */
    struct reconciler_host *host;
    struct vm_registry *registry;
    struct name_map known; /* the records of VMs that are under way: see vm_patch_make() */
};

static struct vm_reconciler *from_base(struct reconciler *base)
{
    return (struct vm_reconciler *)(void *)base;
}

static struct pass begin_pass(
    struct vm_reconciler *self, const struct vm_view *view, struct vm_patch *patch)
{
    const struct vm_desired *desired = view->desired;
    const struct vm_spec *spec = desired ? desired->spec : NULL;
    struct vm_spec *whole = desired ? vm_desired_attach(desired, spec) : NULL;
    struct pass pass = {
        .whole = whole,
        .vm = vm_registry_open(self->registry, view->name, vm_backend_kind(spec, view->status)),
        .view = view,
        .patch = patch,
        .env = {.host = self->host,
            .name = view->name,
            .uid = desired ? desired->uid : view->status->uid,
            .status = view->status,
            .has_vmfile = desired && desired->source,
            .proxies = desired ? &desired->proxies : NULL,
            .origin = desired && !desired->recreate_token[0] ? desired->origin : NULL},
        .now_ms = clock_monotonic_ms(self->host->clock),
        .wall_ms = clock_wall_ms(self->host->clock),
    };
    return pass;
}

static void clear_pass(struct pass *pass)
{
    vm_spec_free(pass->whole);
    free(pass->missing.names);
    free(pass->template.text);
    free(pass->wake_mismatch);
}

/* Wakes the VMs that wait for a host port; their backoff ends now. */
static void on_leases_dropped(void *context)
{
    const struct vm_reconciler *self = context;
    vm_registry_retry(self->registry, ERR_PORT_TAKEN);
    vm_registry_retry(self->registry, ERR_VOLUME_IN_USE);
}

/* What the machine is, or is to be, of. */
static void choose_spec(struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_spec *saved = desired ? saved_spec(pass->view->status) : NULL;
    pass->env.spec = saved ? saved : pass->whole ? pass->whole : desired ? desired->spec : NULL;
}

/* What this pass has recorded so far is what it decides on from here on. */
static void look_at_recorded(struct pass *pass, struct vm_status **snapshot)
{
    struct vm_status *before = TAKE_PTR(*snapshot);
    *snapshot = vm_status_copy(pass->patch->status);
    if (!vm_spec_equal(pass->view->status->applied_spec, (*snapshot)->applied_spec)) {
        vm_forget_comparison(pass->vm);
    }
    pass->recorded = *pass->view;
    pass->recorded.status = *snapshot;
    pass->view = &pass->recorded;
    pass->env.status = *snapshot;
    choose_spec(pass);
    vm_status_free(before);
}

/*
 * Decides and acts, and decides again while that only added to the record: what begins a start is
 * one commit with what led to it, instead of one each. An action with an effect waits until all it
 * was decided on is committed, but for those of pass_may_precede_commit(). A failure is described
 * before the next action lets it be forgotten.
 */
static int64_t decide_and_act(struct pass *pass, const struct vm_status *committed,
    struct vm_status **snapshot, bool has_failed)
{
    enum { DECISIONS_MAX = 8 };
    int64_t requeue_ms = VERDICT_NOW;
    for (int i = 0; requeue_ms == VERDICT_NOW && i < DECISIONS_MAX; i++) {
        if (i > 0) {
            look_at_recorded(pass, snapshot);
        }
        pass_assess(pass);
        bool must_commit = i == 0 && (has_failed | pass_note_reset(pass));
        pass->decision = decide(&pass->situation);
        must_commit |= i == 0 && clock_note_pause(pass);
        log_trace("vm", "%s: row %d, %s", pass->vm->name, pass->decision.row,
            action_name(pass->decision.action));
        if (must_commit ||
            (!pass_may_precede_commit(pass) && !vm_patch_is_empty(pass->patch, committed))) {
            break;
        }
        requeue_ms = pass_act(pass);
    }
    return requeue_ms;
}

struct vm_pass {
    struct vm_reconciler *self;
    struct patch *patch;
    bool is_under_way; /* there will be another pass soon */
};

static void forget_vm(struct vm_reconciler *self, struct pass *pass)
{
    const struct vm_view *view = pass->view;
    if (view->desired || !renamed_now(self->host, view->name)) {
        applied_files_forget(self->host->paths, view->name);
    }
    if (view->desired) { /* else they may be those of a VM that is about to be made */
        step_secrets_forget(pass);
    }
    vm_registry_drop(self->registry, view->name);
}

/* The sooner of a verdict and of another time, which counts if it is to come. */
static int64_t sooner(int64_t requeue_ms, int64_t other_ms)
{
    bool is_sooner = requeue_ms == VERDICT_WHEN_WOKEN || requeue_ms > other_ms;
    return other_ms > 0 && is_sooner ? other_ms : requeue_ms;
}

/*
 * A VM of `vmctl run --rm` whose owner has ended, in whatever way, is deleted. Only the mark is
 * written, and from then on it is a deletion like any other: killed before the commit, the next
 * pass finds the same; killed after it, the mark is there.
 */
static struct verdict pass_over_view(
    void *context, const struct vm_view *view, struct vm_patch *patch)
{
    struct vm_pass *made = context;
    struct vm_reconciler *self = made->self;
    const struct vm_desired *desired = view->desired;
    made->patch->frees_room = !desired || desired->is_deleting || desired->power == POWER_STOPPED;
    if (desired && desired->owner && !desired->is_deleting &&
        owner_lock_is_gone(self->host->paths, desired->owner)) {
        vm_patch_event(patch, false, REASON_TERMINATING, "its `vmctl run` has ended");
        patch->deletes = true;
        return (struct verdict){.requeue_ms = VERDICT_NOW};
    }
    struct pass pass = begin_pass(self, view, patch);
    choose_spec(&pass);
    if (!renamed_move_files(&pass)) {
        vm_spec_free(pass.whole);
        return (struct verdict){.is_failure = true};
    }
    struct vm_status *recorded = NULL;
    bool has_changed = pass_observe_generation(&pass);
    bool has_failed = !pass.vm->op && pass.vm->outcome && pass.vm->outcome->error;
    has_changed |= pass_record_outcomes(&pass);
    if (has_changed) {
        look_at_recorded(&pass, &recorded);
    }
    int64_t requeue_ms = decide_and_act(&pass, view->status, &recorded, has_failed);
    pass_note_agent(&pass);
    int64_t forwards_ms = forwards_keep(&pass, view->status);
    pass_describe(&pass);
    pass_describe_stalled(&pass);
    requeue_ms =
        template_note_failure(&pass) || forwards_ms == VERDICT_NOW ? VERDICT_NOW : requeue_ms;
    int64_t kept_ms = pass_kept_ms(&pass);
    made->is_under_way =
        pass.vm->op || requeue_ms == VERDICT_NOW || patch->status->instance.intent != INTENT_NONE;
    pass_keep_ssh_file(&pass, made->is_under_way);
    if (!made->is_under_way) {
        free(TAKE_PTR(pass.vm->steps));
    }
    vm_status_free(recorded);
    clear_pass(&pass);
    requeue_ms = sooner(requeue_ms, pass.vm->put_off.retry_at_ms - pass.now_ms);
    requeue_ms = sooner(requeue_ms, pass.vm->thaw_due_ms - pass.now_ms);
    requeue_ms = sooner(sooner(requeue_ms, kept_ms), forwards_ms);
    if (!vm_spec_equal(patch->status->applied_spec, view->status->applied_spec)) {
        vm_forget_comparison(pass.vm); /* it is made again if the commit fails */
    }
    if (patch->forget) {
        forget_vm(self, &pass);
    }
    if (patch->forget || patch->n_dropped_leases > 0) {
        made->patch->committed = on_leases_dropped;
        made->patch->context = self;
    }
    /* The release of an owner's lock, and what becomes of another VM, wake no one: they are polled.
     */
    enum { POLL_MS = 1000 };
    bool is_owned = desired && !desired->is_deleting &&
                    (desired->owner || (pass.situation.is_halted && !desired->halt_boot[0]));
    bool is_polled = is_owned || pass_awaits_dependency(&pass);
    bool is_later = requeue_ms == VERDICT_WHEN_WOKEN || requeue_ms > POLL_MS;
    return (struct verdict){.requeue_ms = is_polled && is_later ? POLL_MS : requeue_ms};
}

static void free_record(struct vm_record *record)
{
    vm_record_clear(record);
    free(record);
}

static struct verdict reconcile(struct reconciler *base, const char *name, struct patch *patch)
{
    enum { KNOWN_MAX = 1000 }; /* of 6 KB each */
    struct vm_reconciler *self = from_base(base);
    struct vm_pass pass = {.self = self, .patch = patch};
    struct vm_record *known = name_map_remove(&self->known, name);
    known = known ? known : mem_new(struct vm_record);
    struct verdict verdict =
        vm_patch_make(self->host, name, known, pass_over_view, &pass, &patch->batch);
    if (pass.is_under_way && known->name && self->known.count < KNOWN_MAX) {
        name_map_add(&self->known, known->name, known);
    } else {
        free_record(known);
    }
    return verdict;
}

/* The registry of the original tool, whose VMs are in the same directories until `vmctl import`
 * takes them over. NULL: there is no such file. Caller owns. */
static json_t *read_old_registry(const struct reconciler_host *host)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    cleanup_free char *path = paths_path(host->paths, "vms.json");
    struct error ignored = {.code = ERR_NONE};
    return fs_read_file(path, &text, &ignored) == 0 ? json_loadb(buf_str(&text), text.len, 0, NULL)
                                                    : NULL;
}

struct orphan_search {
    struct reconciler_host *host;
    const json_t *old;
};

static void wake_orphan(void *context, int dir_fd, const char *name)
{
    const struct orphan_search *search = context;
    (void)dir_fd;
    cleanup_free char *full = vm_name_of_flat(name);
    bool is_name = full || vm_spec_name_is_of_template(name);
    if (is_name && !json_object_get(search->old, name)) {
        search->host->wake(search->host, key_of(KEY_VM, full ? full : name), WORK_BACKGROUND);
    }
}

static void find_orphans(struct reconciler *base)
{
    struct reconciler_host *host = from_base(base)->host;
    cleanup_free char *path = paths_path(host->paths, "vms");
    cleanup_json json_t *old = read_old_registry(host);
    fs_each_entry(path, wake_orphan, &(struct orphan_search){host, old});
}

static size_t count_under_way(const struct reconciler *base)
{
    return ((const struct vm_reconciler *)(const void *)base)->known.count;
}

static void end_machines(struct reconciler *base)
{
    vm_registry_kill(from_base(base)->registry);
}

static void free_reconciler(struct reconciler *base)
{
    struct vm_reconciler *self = from_base(base);
    for (size_t i = 0; i < self->known.capacity; i++) {
        if (self->known.slots[i].name) {
            free_record(self->known.slots[i].value);
        }
    }
    name_map_clear(&self->known);
    vm_registry_free(self->registry);
    media_free(self->host);
    free(self);
}

struct reconciler *vm_reconciler_new(struct reconciler_host *host)
{
    struct vm_reconciler *self = mem_new(struct vm_reconciler);
    self->base = (struct reconciler){
        .kind = KEY_VM,
        .reconcile = reconcile,
        .find_orphans = find_orphans,
        .count_under_way = count_under_way,
        .end_machines = end_machines,
        .free = free_reconciler,
    };
    self->host = host;
    self->registry = vm_registry_new(host);
    removal_sweep(host);
    template_sweep(host, true);
    imported_sweep(host);
    return &self->base;
}

void vm_reconciler_each_pin(void *reconciler, image_pin_fn *pin, void *context)
{
    vm_registry_each_pin(from_base(reconciler)->registry, pin, context);
}
