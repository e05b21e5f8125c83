/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/source_record.h"

#include <inttypes.h>
#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/json_field.h"

static const char *const state_names[] = {
    [SOURCE_PENDING] = "Pending",
    [SOURCE_SYNCED] = "Synced",
    [SOURCE_PARSE_FAILED] = "ParseFailed",
    [SOURCE_GONE] = "Missing",
    [SOURCE_CONFLICT] = "Conflict",
    [SOURCE_REFUSED] = "Refused",
};
_Static_assert(ARRAY_LEN(state_names) == SOURCE_STATE_COUNT_, "every state has a name");

static const char *const prune_names[] = {
    [SOURCE_PRUNE_NOTHING] = "no",
    [SOURCE_PRUNE_STOP] = "stop",
    [SOURCE_PRUNE_DESTROY] = "destroy",
};
_Static_assert(ARRAY_LEN(prune_names) == SOURCE_PRUNE_COUNT_, "every kind of pruning has a name");

const char *source_state_name(enum source_state state)
{
    return state_names[state];
}

const char *source_prune_name(enum source_prune prune)
{
    return prune_names[prune];
}

static int find_word(const char *word, const char *const *names, size_t count)
{
    for (size_t i = 0; word && i < count; i++) {
        if (text_eq(word, names[i])) {
            return (int)i;
        }
    }
    return -1;
}

int source_prune_parse(const char *word)
{
    return find_word(word, prune_names, ARRAY_LEN(prune_names));
}

struct source_record *source_record_new(const char *path, int64_t now_ms)
{
    struct source_record *record = mem_new(struct source_record);
    record->path = mem_strdup(path);
    record->since_ms = now_ms;
    return record;
}

void source_record_free(struct source_record *record)
{
    if (record) {
        free(record->path);
        free(record->directory);
        free(record->message);
        strings_clear(&record->removed);
        free(record);
    }
}

static json_t *strings_to_json(const struct strings *strings)
{
    json_t *array = json_array();
    for (size_t i = 0; i < strings->count; i++) {
        (void)json_array_append_new(array, json_string(strings->items[i]));
    }
    return array;
}

json_t *source_record_to_json(const struct source_record *record)
{
    json_t *json = json_object();
    json_put_text(json, "path", record->path);
    json_put_text(json, "kind", record->is_directory ? "directory" : "file");
    json_put_text(json, "directory", record->directory);
    json_put_text(json, "prune", source_prune_name(record->prune));
    json_put_flag(json, "startsNew", record->starts_new);
    json_put_int(json, "since", record->since_ms);
    json_put_text(json, "state", source_state_name(record->state));
    json_field_put_uint(json, "line", record->line);
    json_field_put_uint(json, "column", record->column);
    json_put_text(json, "message", record->message);
    json_field_put_text(json, "appliedSha", record->applied_sha);
    json_field_put_text(json, "appliedDigest", record->applied_digest);
    json_field_put_text(json, "failedDigest", record->failed_digest);
    json_field_put_text(json, "prunedDigest", record->pruned_digest);
    json_put_int(json, "appliedAt", record->applied_ms);
    json_put(json, "removed", strings_to_json(&record->removed));
    return json;
}

static void read_removed(struct source_record *record, const json_t *array)
{
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item) {
        if (json_is_string(item)) {
            strings_add(&record->removed, json_string_value(item));
        }
    }
}

static void read_findings(struct source_record *record, const json_t *json)
{
    int state = find_word(json_text(json, "state"), state_names, ARRAY_LEN(state_names));
    record->state = state < 0 ? SOURCE_PENDING : (enum source_state)state;
    record->line = (uint32_t)json_field_uint(json, "line", UINT32_MAX);
    record->column = (uint32_t)json_field_uint(json, "column", UINT32_MAX);
    record->message = json_copy_text(json, "message");
    json_field_text(json, "appliedSha", record->applied_sha, DIGEST_SIZE);
    json_field_text(json, "appliedDigest", record->applied_digest, DIGEST_SIZE);
    json_field_text(json, "failedDigest", record->failed_digest, DIGEST_SIZE);
    json_field_text(json, "prunedDigest", record->pruned_digest, DIGEST_SIZE);
    record->applied_ms = json_int(json, "appliedAt", 0);
    read_removed(record, json_object_get(json, "removed"));
}

struct source_record *source_record_from_json(const json_t *json, struct error *err)
{
    const char *path = json_text(json, "path");
    if (!path || path[0] != '/') {
        (void)error_set(err, ERR_STORE, "the record of a watched VMFile has no path");
        return NULL;
    }
    struct source_record *record = source_record_new(path, json_int(json, "since", 0));
    int prune = source_prune_parse(json_text(json, "prune"));
    record->is_directory = text_eq(json_text(json, "kind"), "directory");
    record->directory = json_copy_text(json, "directory");
    record->prune = prune < 0 ? SOURCE_PRUNE_NOTHING : (enum source_prune)prune;
    record->starts_new = json_flag(json, "startsNew", false);
    read_findings(record, json);
    return record;
}

struct source_record *source_record_copy(const struct source_record *record)
{
    struct source_record *copy = mem_dup(record, sizeof(*record));
    copy->path = mem_strdup(record->path);
    copy->directory = mem_strdup(record->directory);
    copy->message = mem_strdup(record->message);
    copy->removed = (struct strings){.count = 0};
    for (size_t i = 0; i < record->removed.count; i++) {
        strings_add(&copy->removed, record->removed.items[i]);
    }
    return copy;
}

bool source_record_equal(const struct source_record *a, const struct source_record *b)
{
    cleanup_json json_t *json_a = source_record_to_json(a);
    cleanup_json json_t *json_b = source_record_to_json(b);
    return json_equal(json_a, json_b);
}

bool source_record_is_failing(const struct source_record *record)
{
    return record->state == SOURCE_PARSE_FAILED || record->state == SOURCE_CONFLICT ||
        record->state == SOURCE_REFUSED;
}

char *source_record_explain(const struct source_record *record)
{
    const char *message = record->message ? record->message : source_state_name(record->state);
    return record->line > 0 ? mem_printf("%s:%" PRIu32 ":%" PRIu32 ": %s", record->path,
                                  record->line, record->column, message)
                            : mem_printf("%s: %s", record->path, message);
}
