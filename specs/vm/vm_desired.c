/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_desired.h"

#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/json_field.h"
#include "specs/vm/vm_spec.h"

static const char *const power_names[] = {
    [POWER_RUNNING] = "running",
    [POWER_STOPPED] = "stopped",
    [POWER_SUSPENDED] = "suspended",
};
_Static_assert(ARRAY_LEN(power_names) == POWER_COUNT_, "every power has a name");

const char *power_name(enum power power)
{
    return power_names[power];
}

/* -1 when it is none: what a VM is meant to be must never be guessed. */
static int power_parse(const char *word)
{
    for (int i = 0; word && i < POWER_COUNT_; i++) {
        if (text_eq(word, power_names[i])) {
            return i;
        }
    }
    return -1;
}

struct vm_desired *vm_desired_new(struct vm_spec *spec_take, int64_t now_ms)
{
    struct vm_desired *desired = mem_new(struct vm_desired);
    desired->spec = spec_take;
    desired->power = POWER_STOPPED;
    desired->created_ms = now_ms;
    digest_random_id(desired->uid);
    vm_spec_digest(spec_take, desired->spec_digest);
    return desired;
}

void vm_desired_free(struct vm_desired *desired)
{
    if (desired) {
        vm_spec_free(desired->spec);
        free(desired->source);
        free(desired);
    }
}

struct vm_desired *vm_desired_copy(const struct vm_desired *desired)
{
    struct vm_desired *copy = mem_dup(desired, sizeof(*desired));
    copy->spec = vm_spec_copy(desired->spec);
    copy->source = mem_strdup(desired->source);
    return copy;
}

json_t *vm_desired_to_json(const struct vm_desired *desired)
{
    json_t *json = json_object();
    json_put_text(json, "uid", desired->uid);
    json_put_int(json, "generation", (int64_t)desired->generation);
    json_put_int(json, "revision", (int64_t)desired->revision);
    json_put(json, "spec", vm_spec_to_json(desired->spec));
    json_field_put_text(json, "specDigest", desired->spec_digest);
    json_put_text(json, "power", power_name(desired->power));
    json_put_flag(json, "deleting", desired->is_deleting);
    json_put_flag(json, "wantsPrepared", desired->wants_prepared);
    json_field_put_uint(json, "stopTimeout", desired->stop_timeout_s);
    json_field_put_text(json, "restartToken", desired->restart_token);
    json_field_put_text(json, "recreateToken", desired->recreate_token);
    json_field_put_text(json, "provisionToken", desired->provision_token);
    json_field_put_uint(json, "owner", desired->owner);
    json_field_put_uint(json, "provisionFrom", desired->provision_from);
    json_field_put_text(json, "skippedSteps", desired->skipped_steps);
    json_put_text(json, "source", desired->source);
    json_put_int(json, "created", desired->created_ms);
    return json;
}

static void read_fields(struct vm_desired *desired, const json_t *json)
{
    json_field_text(json, "uid", desired->uid, sizeof(desired->uid));
    desired->generation = json_field_uint(json, "generation", INT64_MAX);
    desired->revision = json_field_uint(json, "revision", INT64_MAX);
    json_field_text(json, "specDigest", desired->spec_digest, sizeof(desired->spec_digest));
    desired->is_deleting = json_flag(json, "deleting", false);
    desired->wants_prepared = json_flag(json, "wantsPrepared", false);
    desired->stop_timeout_s = (uint32_t)json_field_uint(json, "stopTimeout", UINT32_MAX);
    json_field_text(json, "restartToken", desired->restart_token, TEXT_ID_SIZE);
    json_field_text(json, "recreateToken", desired->recreate_token, TEXT_ID_SIZE);
    json_field_text(json, "provisionToken", desired->provision_token, TEXT_ID_SIZE);
    desired->owner = json_field_uint(json, "owner", INT64_MAX);
    desired->provision_from = (uint32_t)json_field_uint(json, "provisionFrom", UINT32_MAX);
    json_field_text(json, "skippedSteps", desired->skipped_steps, sizeof(desired->skipped_steps));
    desired->source = json_copy_text(json, "source");
    desired->created_ms = json_int(json, "created", 0);
}

struct vm_desired *vm_desired_from_json(const json_t *json, struct error *err)
{
    struct vm_spec *spec = vm_spec_from_json(json_object_get(json, "spec"), err);
    if (!spec) {
        return NULL;
    }
    struct vm_desired *desired = mem_new(struct vm_desired);
    desired->spec = spec;
    read_fields(desired, json);
    int power = power_parse(json_text(json, "power"));
    if (power < 0 || !desired->uid[0]) { /* no uid: not to be told from its successor */
        (void)error_set(err, ERR_STORE, "the desired record of VM '%s' has no valid %s", spec->name,
            power < 0 ? "power" : "uid");
        vm_desired_free(desired);
        return NULL;
    }
    desired->power = (enum power)power;
    return desired;
}
