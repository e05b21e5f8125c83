/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/change_json.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_spec.h"

static const struct {
    const char *key;
    size_t offset;
} flags[] = {
    {"new", offsetof(struct change, must_be_new)},
    {"takesOver", offsetof(struct change, takes_over)},
    {"setsPower", offsetof(struct change, sets_power)},
    {"saves", offsetof(struct change, saves)},
    {"startsNew", offsetof(struct change, starts_new)},
    {"prepares", offsetof(struct change, wants_prepared)},
    {"restarts", offsetof(struct change, restarts)},
    {"cold", offsetof(struct change, is_cold)},
    {"recreates", offsetof(struct change, recreates)},
    {"eraseAtOnce", offsetof(struct change, erases_at_once)},
    {"deletes", offsetof(struct change, deletes)},
    {"retries", offsetof(struct change, retries)},
};

static const char *const provisions[] = {
    [PROVISION_KEEP] = "keep",
    [PROVISION_SKIP] = "skip",
    [PROVISION_APPENDED] = "appended",
    [PROVISION_ON_START] = "onStart",
    [PROVISION_AGAIN] = "again",
};

json_t *change_to_json(const struct change *change)
{
    json_t *json = json_object();
    json_put_text(json, "name", change->name);
    json_put_text(json, "source", change->source);
    if (change->spec) {
        json_put(json, "spec", vm_spec_to_json(change->spec));
    }
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (*(const bool *)((const char *)change + flags[i].offset)) {
            json_put_flag(json, flags[i].key, true);
        }
    }
    json_put_text(json, "power", power_name(change->power));
    json_put_int(json, "stopTimeout", change->stop_timeout_s);
    json_put_text(json, "provision", provisions[change->provision]);
    json_put_int(json, "provisionFrom", change->provision_from);
    return json;
}

static void read_scalars(const json_t *json, struct change *change)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        *(bool *)((char *)change + flags[i].offset) = json_flag(json, flags[i].key, false);
    }
    for (int i = 0; i < POWER_COUNT_; i++) {
        if (text_eq(json_text(json, "power"), power_name((enum power)i))) {
            change->power = (enum power)i;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(provisions); i++) {
        if (text_eq(json_text(json, "provision"), provisions[i])) {
            change->provision = (enum change_provision)i;
        }
    }
    change->stop_timeout_s = (uint32_t)json_int(json, "stopTimeout", 0);
    change->provision_from = (uint32_t)json_int(json, "provisionFrom", 0);
}

int change_from_json(const json_t *json, struct change_copy *ret, struct error *err)
{
    const json_t *spec = json_object_get(json, "spec");
    cleanup_free char *text = spec ? json_dumps(spec, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    *ret = (struct change_copy){.name = json_copy_text(json, "name")};
    ret->source = json_copy_text(json, "source");
    if (!ret->name || !vm_name_is_valid(ret->name)) {
        return error_set(err, ERR_STORE, "a requested change names no VM");
    }
    if (text) {
        ret->spec = vm_spec_read((struct bytes){text, strlen(text)}, err);
        if (!ret->spec) {
            return error_wrap(err, "a requested change");
        }
        if (!text_eq(ret->spec->name, ret->name)) {
            return error_set(err, ERR_STORE, "a requested change has the spec of another VM");
        }
    }
    read_scalars(json, &ret->change);
    ret->change.name = ret->name;
    ret->change.source = ret->source;
    ret->change.spec = ret->spec;
    return 0;
}

void change_copy_clear(struct change_copy *copy)
{
    free(TAKE_PTR(copy->name));
    free(TAKE_PTR(copy->source));
    vm_spec_free(TAKE_PTR(copy->spec));
}
