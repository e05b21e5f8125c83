/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/spec_diff.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* A field of the VMFile: where it stands in the spec's JSON ("a" or "a.b") and what a change needs.
 */
static const struct field {
    const char *name;
    const char *path;
    enum disposition disposition;
} fields[] = {
    {"backend", "backend", DISPOSITION_RECREATE},
    {"image", "image", DISPOSITION_RECREATE},
    {"vcpus", "vcpus", DISPOSITION_RESTART},
    {"memory", "memoryMib", DISPOSITION_RESTART},
    {"disk", "diskGib", DISPOSITION_LIVE},
    {"network", "network.mode", DISPOSITION_RESTART},
    {"bridge", "network.bridge", DISPOSITION_RESTART},
    {"vnic", "network.vnic", DISPOSITION_RESTART},
    {"forward", "network.forwards", DISPOSITION_LIVE},
    {"cloud-init", "cloudInit.isSet", DISPOSITION_RECREATE},
    {"hostname", "cloudInit.hostname", DISPOSITION_RECREATE},
    {"ssh-key", "cloudInit.sshKey", DISPOSITION_RECREATE},
    {"user-data", "cloudInit.userData", DISPOSITION_RECREATE},
    {"seed", "cloudInit.seedBus", DISPOSITION_RESTART},
    {"ssh", "ssh", DISPOSITION_LIVE},
    {"provision", "provision", DISPOSITION_PROVISION},
    {"ready", "ready", DISPOSITION_LIVE},
    {"depends-on", "dependsOn", DISPOSITION_LIVE},
    {"accel", "accel", DISPOSITION_RESTART},
    {"firmware", "firmware", DISPOSITION_RECREATE},
    {"restart", "restart", DISPOSITION_LIVE},
    {"stop-timeout", "stopTimeoutSeconds", DISPOSITION_LIVE},
};

static json_t *at_path(const json_t *json, const char *path)
{
    const char *dot = strchr(path, '.');
    if (!dot) {
        return json_object_get(json, path);
    }
    cleanup_free char *parent = mem_strndup(path, (size_t)(dot - path));
    return json_object_get(json_object_get(json, parent), dot + 1);
}

/* A value in a few words: scalars as they are, an image and a file by where they are, lists by
 * their length, the rest by its JSON. */
static char *in_words(const json_t *value)
{
    static const char *const telling[] = {"location", "path"};
    if (!value || json_is_null(value)) {
        return mem_strdup("(not set)");
    }
    if (json_is_string(value)) {
        return mem_strdup(json_string_value(value));
    }
    if (json_is_array(value)) {
        size_t n = json_array_size(value);
        return n == 0 ? mem_strdup("(none)")
                      : mem_printf("%zu %s", n, n == 1 ? "entry" : "entries");
    }
    for (size_t i = 0; i < ARRAY_LEN(telling); i++) {
        if (json_text(value, telling[i])) {
            return json_copy_text(value, telling[i]);
        }
    }
    return json_canonical(value);
}

/* What changed is not in those words: a check sum, a file's bytes, an entry. */
static char *in_other_words(const char *before, char *after_take)
{
    if (!text_eq(before, after_take)) {
        return after_take;
    }
    cleanup_free char *same = after_take;
    return mem_printf("%s (changed)", same);
}

static void add_change(
    struct spec_diff *diff, const struct field *field, json_t *before, json_t *after)
{
    char *words = in_words(before);
    mem_grow(diff->changes, diff->count);
    diff->changes[diff->count++] = (struct spec_change){
        .field = field->name,
        .before = words,
        .after = in_other_words(words, in_words(after)),
        .before_value = json_incref(before),
        .after_value = json_incref(after),
        .disposition = field->disposition,
    };
    if (field->disposition > diff->strongest) {
        diff->strongest = field->disposition;
    }
}

struct spec_diff spec_diff(const struct vm_spec *before, const struct vm_spec *after)
{
    struct spec_diff diff = {.strongest = DISPOSITION_LIVE};
    cleanup_json json_t *old = vm_spec_to_json(before);
    cleanup_json json_t *new = vm_spec_to_json(after);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        json_t *a = at_path(old, fields[i].path), *b = at_path(new, fields[i].path);
        cleanup_free char *a_text = json_canonical(a), *b_text = json_canonical(b);
        if (!text_eq(a_text, b_text)) {
            add_change(&diff, &fields[i], a, b);
        }
    }
    return diff;
}

void spec_diff_clear(struct spec_diff *diff)
{
    for (size_t i = 0; i < diff->count; i++) {
        free(diff->changes[i].before);
        free(diff->changes[i].after);
        json_decref(diff->changes[i].before_value);
        json_decref(diff->changes[i].after_value);
    }
    free(diff->changes);
    *diff = (struct spec_diff){.strongest = DISPOSITION_LIVE};
}

const char *disposition_name(enum disposition disposition)
{
    static const char *const names[] = {
        [DISPOSITION_LIVE] = "live",
        [DISPOSITION_PROVISION] = "provision",
        [DISPOSITION_RESTART] = "restart",
        [DISPOSITION_RECREATE] = "recreate",
    };
    _Static_assert(ARRAY_LEN(names) == DISPOSITION_COUNT_, "every disposition has a name");
    return names[disposition];
}
