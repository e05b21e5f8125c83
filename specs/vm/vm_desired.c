/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_desired.h"
#include "specs/vm/backend_traits.h"

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_spec.h"

DEFINE_WORDS(power, enum power, POWER_COUNT_, [POWER_RUNNING] = "running",
    [POWER_STOPPED] = "stopped", [POWER_SUSPENDED] = "suspended")

static const struct field order_rows[] = {
    FIELD(struct snapshot_order, token, "token", .omit_empty = true),
    FIELD_ENUM(struct snapshot_order, verb, "verb", &snapshot_verb_words),
    FIELD(struct snapshot_order, name, "name"),
    FIELD(struct snapshot_order, keep_ms, "keep", .omit_empty = true),
    FIELD(struct snapshot_order, begins_bitmap, "beginsBitmap", .omit_empty = true),
    FIELD(struct snapshot_order, since, "since", .omit_empty = true),
    FIELD(struct snapshot_order, volume, "volume", .omit_empty = true),
};
static const struct fields order_fields = {FIELDS_OF(order_rows, struct snapshot_order)};

static const struct field fleet_rows[] = {
    FIELD(struct vm_fleet, epoch, "epoch", .omit_empty = true),
    FIELD(struct vm_fleet, home, "home", .omit_empty = true),
    FIELD(struct vm_fleet, is_ahead, "isAhead", .omit_empty = true),
    FIELD(struct vm_fleet, base, "base", .omit_empty = true),
    FIELD(struct vm_fleet, is_fenced, "fenced", .omit_empty = true),
    FIELD(struct vm_fleet, moved, "moved", .omit_empty = true),
    FIELD(struct vm_fleet, move_to, "moveTo", .omit_empty = true),
    FIELD(struct vm_fleet, starts_after, "startsAfter", .omit_empty = true),
};
static const struct fields fleet_fields = {FIELDS_OF(fleet_rows, struct vm_fleet)};

static const struct field desired_rows[] = {
    FIELD(struct vm_desired, uid, "uid", .is_required = true),
    FIELD(struct vm_desired, generation, "generation"),
    FIELD(struct vm_desired, revision, "revision"),
    FIELD_OWNED(struct vm_desired, spec, "spec", &vm_spec_fields),
    FIELD_LIST(
        struct vm_desired, volumes, n_volumes, "volumes", &spec_volume_fields, .omit_empty = true),
    FIELD(struct vm_desired, spec_digest, "specDigest", .omit_empty = true),
    FIELD_ENUM(struct vm_desired, power, "power", &power_words, .is_required = true),
    FIELD(struct vm_desired, is_saved, "saved", .omit_empty = true),
    FIELD(struct vm_desired, is_deleting, "deleting"),
    FIELD(struct vm_desired, wants_prepared, "wantsPrepared"),
    FIELD(struct vm_desired, stop_timeout_s, "stopTimeout", .omit_empty = true),
    FIELD(struct vm_desired, restart_token, "restartToken", .omit_empty = true),
    FIELD(struct vm_desired, recreate_token, "recreateToken", .omit_empty = true),
    FIELD(struct vm_desired, erases_at_once, "eraseAtOnce", .omit_empty = true),
    FIELD(struct vm_desired, provision_token, "provisionToken", .omit_empty = true),
    FIELD_STRUCT(struct vm_desired, snapshot, "snapshot", &order_fields, .omit_empty = true),
    FIELD(struct vm_desired, halt_owner, "haltOwner", .omit_empty = true),
    FIELD(struct vm_desired, halt_boot, "haltBoot", .omit_empty = true),
    FIELD(struct vm_desired, owner, "owner", .omit_empty = true),
    FIELD(struct vm_desired, provision_from, "provisionFrom", .omit_empty = true),
    FIELD(struct vm_desired, skipped_steps, "skippedSteps", .omit_empty = true),
    FIELD_STRUCT(struct vm_desired, proxies, "proxies", &proxies_fields, .omit_empty = true),
    FIELD(struct vm_desired, is_cold, "cold", .omit_empty = true),
    FIELD_LIST(
        struct vm_desired, origin, n_origins, "origin", &vm_origin_fields, .omit_empty = true),
    FIELD(struct vm_desired, template_key, "templateKey"),
    FIELD(struct vm_desired, template_vm, "templateVm"),
    FIELD(struct vm_desired, source, "source"),
    FIELD(struct vm_desired, renamed_from, "renamedFrom", .omit_empty = true),
    FIELD(struct vm_desired, created_ms, "created", .is_time = true),
    FIELD_STRUCT(struct vm_desired, fleet, "fleet", &fleet_fields, .omit_empty = true),
};
const struct fields vm_desired_fields = {FIELDS_OF(desired_rows, struct vm_desired)};

struct vm_desired *vm_desired_new(struct vm_spec *spec_take, int64_t now_ms)
{
    struct vm_desired *desired = fields_new(&vm_desired_fields);
    desired->spec = spec_take;
    desired->power = POWER_STOPPED;
    desired->created_ms = now_ms;
    digest_random_id(desired->uid);
    vm_spec_digest(spec_take, desired->spec_digest);
    return desired;
}

/* Of one that is in both, the spec's counts; also a further disk of that name, which a record of an
 * earlier version may have beside it. */
struct vm_spec *vm_desired_attach(const struct vm_desired *desired, const struct vm_spec *spec)
{
    struct vm_spec *whole = desired->n_volumes > 0 ? vm_spec_copy(spec) : NULL;
    for (size_t i = 0; whole && i < desired->n_volumes; i++) {
        const struct spec_volume *volume = &desired->volumes[i];
        if (!vm_spec_volume(spec, volume->name) && !vm_spec_disk(spec, volume->name)) {
            mem_grow(whole->volumes, whole->n_volumes);
            whole->volumes[whole->n_volumes++] = (struct spec_volume){
                .name = mem_strdup(volume->name),
                .size_gib = volume->size_gib,
                .mount = mem_strdup(volume->mount),
            };
        }
    }
    return whole;
}

bool vm_desired_allows_snapshot(const struct vm_desired *desired, enum snapshot_verb verb)
{
    bool can_copy =
        verb == SNAPSHOT_CREATE && backend_traits(desired->spec->backend)->copies_used_disk;
    return desired->power == POWER_STOPPED || verb == SNAPSHOT_REMOVE || can_copy;
}

bool vm_desired_is_halted(const struct vm_desired *desired, const struct clock *clock)
{
    return desired->halt_boot[0] && text_eq(desired->halt_boot, clock_boot_id(clock));
}

void vm_desired_drop_requests(struct vm_desired *desired)
{
    desired->restart_token[0] = '\0';
    desired->recreate_token[0] = '\0';
    desired->erases_at_once = false;
    desired->provision_token[0] = '\0';
    desired->provision_from = 0;
    desired->snapshot = (struct snapshot_order){.token = ""};
}

DEFINE_RECORD(vm_desired, &vm_desired_fields)

/* They become names of files and of control groups, and other users of a fleet's etcd may have
 * written them. */
static bool is_id(const char *text)
{
    return text_is_id(text, strlen(text));
}

static int check_ids(const struct vm_desired *desired, struct error *err)
{
    const char *const ids[] = {desired->uid, desired->restart_token, desired->recreate_token,
        desired->provision_token, desired->snapshot.token, desired->fleet.moved};
    const char *volume = desired->snapshot.volume;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        if (!is_id(ids[i])) {
            return error_set(err, ERR_STORE, "'%s' is not an id", ids[i]);
        }
    }
    return !volume[0] || volume_name_is_valid(volume)
               ? 0
               : error_set(err, ERR_STORE, "'%s' is not the name of a volume", volume);
}

struct vm_desired *vm_desired_read(struct bytes json, struct error *err)
{
    struct bytes spec = {.n = 0};
    struct vm_desired *desired = fields_new(&vm_desired_fields);
    int rc = fields_read(&vm_desired_fields, json, desired, &spec, err);
    if (rc == 0) {
        desired->spec = vm_spec_read(spec, err);
    }
    if (desired->spec && !desired->uid[0]) { /* without it, its successor would look the same */
        rc = error_set(err, ERR_STORE, "uid is empty");
    }
    rc = rc == 0 && desired->spec ? check_ids(desired, err) : rc;
    if (rc < 0 || !desired->spec) {
        error_wrap(err, "a desired record");
        vm_desired_free(desired);
        return NULL;
    }
    return desired;
}
