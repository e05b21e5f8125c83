/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/vm.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "reconcilers/guest/step_secrets.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

/* A host may have 10,000 of them: what only some have is allocated when they have it. */
static_assert(sizeof(struct vm) <= 768, "struct vm grows");

struct vm_registry {
    struct reconciler_host *host;
    void *tree; /* of struct vm, by name; tsearch(3) */
};

static const struct backend *backend_of(enum backend_kind kind)
{
    return kind == BACKEND_NOOP       ? backend_noop()
           : kind == BACKEND_PROPOLIS ? backend_propolis()
                                      : backend_qemu();
}

enum backend_kind vm_backend_kind(const struct vm_spec *spec, const struct vm_status *status)
{
    bool is_bound = !spec || status->instance.instance_id[0] || status->prepared.digest[0];
    const struct vm_spec *decisive = is_bound && status->applied_spec ? status->applied_spec : spec;
    return decisive ? decisive->backend : BACKEND_QEMU;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct vm *)a)->name, ((const struct vm *)b)->name);
}

static void machine_changed(void *context)
{
    struct vm *vm = context;
    vm->host->wake(vm->host, key_of(KEY_VM, vm->name), WORK_EVENT);
}

static void clear_image(struct image_result *image)
{
    free(image->path);
    json_decref(image->record);
    *image = (struct image_result){0};
}

void vm_forget_outcome(struct vm *vm)
{
    struct vm_outcome *outcome = TAKE_PTR(vm->outcome);
    vm->op_action = ACTION_NONE;
    if (!outcome) {
        return;
    }
    free(outcome->error);
    clear_image(&outcome->image);
    free(outcome->prepared.image_path);
    vm_instance_clear(&outcome->instance);
    free(outcome->boot.vnc);
    free(outcome->boot.machine);
    free(outcome->boot.changes);
    free(outcome->boot.taken_port);
    free(outcome->cloud_init.message);
    free(outcome->clock.refusal);
    free(outcome->growth.done);
    free(outcome->growth.refusal);
    free(outcome->mount.user);
    free(outcome->mount.note);
    free(outcome->snapshot_made.whole_because);
    free(outcome);
}

void vm_forget_image(struct vm *vm)
{
    clear_image(&vm->image);
}

void vm_forget_comparison(struct vm *vm)
{
    spec_diff_clear(&vm->comparison.diff);
    vm->comparison.is_made = false;
}

void vm_cancel(struct vm *vm)
{
    op_cancel(TAKE_PTR(vm->op));
    vm_forget_outcome(vm);
}

static void vm_free(void *p)
{
    struct vm *vm = p;
    vm_cancel(vm);
    vm->backend->guest->close(vm->guest);
    vm->backend->tunnel->close(vm->tunnel);
    vm->backend->machine->close(vm->machine);
    clear_image(&vm->image);
    vm_forget_comparison(vm);
    vm_failure_clear(&vm->failure);
    vm_failure_clear(&vm->put_off);
    step_secrets_free(vm->secrets);
    free(vm->booted_vnc);
    free(vm->ssh_source);
    free(vm->steps);
    free(vm->booted_machine);
    free(vm->name);
    free(vm);
}

struct vm_registry *vm_registry_new(struct reconciler_host *host)
{
    struct vm_registry *registry = mem_new(struct vm_registry);
    registry->host = host;
    return registry;
}

void vm_registry_free(struct vm_registry *registry)
{
    if (registry) {
        tdestroy(registry->tree, vm_free);
        free(registry);
    }
}

struct vm *vm_registry_open(struct vm_registry *registry, const char *name, enum backend_kind kind)
{
    cleanup_free char *key_name = mem_strdup(name);
    struct vm key = {.name = key_name};
    struct vm **found = tfind(&key, &registry->tree, compare_names);
    if (found && (*found)->backend == backend_of(kind)) {
        return *found;
    }
    if (found) { /* the user changed the backend: another kind of machine under the same name */
        vm_registry_drop(registry, name);
    }
    struct vm *vm = mem_new(struct vm);
    vm->name = mem_strdup(name);
    vm->host = registry->host;
    vm->backend = backend_of(kind);
    vm->machine = vm->backend->machine->open(vm->host, name, machine_changed, vm);
    vm->guest = vm->backend->guest->open(vm->host, name);
    vm->checked_at_ms = INT64_MIN / 2; /* a machine that runs already is checked first */
    (void)tsearch(vm, &registry->tree, compare_names);
    return vm;
}

void vm_registry_drop(struct vm_registry *registry, const char *name)
{
    cleanup_free char *key_name = mem_strdup(name);
    struct vm key = {.name = key_name};
    struct vm **found = tfind(&key, &registry->tree, compare_names);
    if (found) {
        struct vm *vm = *found;
        (void)tdelete(&key, &registry->tree, compare_names);
        vm_free(vm);
    }
}

struct pin_visit {
    image_pin_fn *pin;
    void *context;
};

static void pin_node(const void *node, VISIT order, void *closure)
{
    const struct pin_visit *visit = closure;
    const struct vm *vm = *(const struct vm *const *)node;
    if (order == postorder || order == leaf) {
        visit->pin(visit->context, vm->name, vm->image.path);
        if (vm->outcome) {
            visit->pin(visit->context, vm->name, vm->outcome->image.path);
            visit->pin(visit->context, vm->name, vm->outcome->prepared.image_path);
        }
    }
}

void vm_registry_each_pin(const struct vm_registry *registry, image_pin_fn *pin, void *context)
{
    struct pin_visit visit = {pin, context};
    twalk_r(registry->tree, pin_node, &visit);
}

static void retry_node(const void *node, VISIT order, void *closure)
{
    struct vm *vm = *(struct vm *const *)node;
    const enum error_code *code = closure;
    struct vm_failure *const failures[] = {&vm->failure, &vm->put_off};
    for (size_t i = 0; (order == postorder || order == leaf) && i < ARRAY_LEN(failures); i++) {
        if (failures[i]->action != ACTION_NONE && failures[i]->error->code == *code) {
            failures[i]->retry_at_ms = 0;
            vm->host->wake(vm->host, key_of(KEY_VM, vm->name), WORK_EVENT);
        }
    }
}

void vm_registry_retry(struct vm_registry *registry, enum error_code code)
{
    twalk_r(registry->tree, retry_node, &code);
}

static void kill_node(const void *node, VISIT order, void *closure)
{
    struct vm *vm = *(struct vm *const *)node;
    struct vm_env env = {.host = vm->host, .name = vm->name};
    (void)closure;
    if (order == postorder || order == leaf) {
        log_warn("vm", "%s: ending its process", vm->name);
        vm->backend->machine->command(vm->machine, &env, MACHINE_KILL);
    }
}

void vm_registry_kill(struct vm_registry *registry)
{
    twalk_r(registry->tree, kill_node, NULL);
}

void vm_begin(struct vm *vm, enum action action, uint64_t generation)
{
    vm_forget_outcome(vm);
    vm->outcome = mem_new(struct vm_outcome);
    vm->op_action = action;
    vm->op_generation = generation;
    vm->op_began_ms = clock_monotonic_ms(vm->host->clock);
}

void vm_op_done(void *context, const struct error *err)
{
    struct vm *vm = context;
    vm->op = NULL;
    vm->outcome->error = mem_dup(err, sizeof(*err));
    log_debug("vm", "%s: %s %s%s", vm->name, action_name(vm->op_action), err ? "failed: " : "done",
        err ? err->message : "");
    vm->host->wake(vm->host, key_of(KEY_VM, vm->name), WORK_EVENT);
}

void vm_fail(struct vm *vm, enum action action, const struct error *error, uint64_t generation)
{
    struct vm_failure *failure = action == ACTION_REPLACE ? &vm->put_off : &vm->failure;
    bool is_repeated = failure->action == action && failure->generation == generation;
    uint32_t count = is_repeated ? failure->count + 1 : 1;
    struct failure_class class = failure_classify(action, error->code);
    int64_t delay_ms = backoff_delay_ms(class.backoff, count, vm->host->rng(vm->host));
    struct error *copy = mem_dup(error, sizeof(*error)); /* first: it may be the failure's own */
    free(failure->error);
    *failure = (struct vm_failure){
        .action = action,
        .error = copy,
        .count = count,
        .retry_at_ms = clock_monotonic_ms(vm->host->clock) + delay_ms,
        .generation = generation,
    };
}

void vm_forget_checks(struct vm *vm)
{
    memset(vm->checks, 0, sizeof(vm->checks));
}

void vm_forget_boot(struct vm *vm)
{
    vm->reach_deadline_ms = 0;
    vm->refused_since_ms = 0;
    vm->setup_since_ms = 0;
    vm->setup_due_ms = 0;
    vm->n_thaws_failed = 0;
    vm->thaw_due_ms = 0;
    vm->n_ports_tried = 0;
    vm->is_guest_settled = false;
}

void vm_failure_clear(struct vm_failure *failure)
{
    free(failure->error);
    *failure = (struct vm_failure){.action = ACTION_NONE};
}

struct failure_class vm_failure_class(const struct vm_failure *failure)
{
    return failure_classify(failure->action, failure->error ? failure->error->code : ERR_NONE);
}
