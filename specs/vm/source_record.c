/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/source_record.h"

#include <inttypes.h>

#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/vm/record_fields.h"

DEFINE_OWN_WORDS(source_state, enum source_state, SOURCE_STATE_COUNT_, [SOURCE_PENDING] = "Pending",
    [SOURCE_SYNCED] = "Synced", [SOURCE_PARSE_FAILED] = "ParseFailed", [SOURCE_GONE] = "Missing",
    [SOURCE_CONFLICT] = "Conflict", [SOURCE_REFUSED] = "Refused")
DEFINE_WORDS(source_prune, enum source_prune, SOURCE_PRUNE_COUNT_, [SOURCE_PRUNE_NOTHING] = "no",
    [SOURCE_PRUNE_STOP] = "stop", [SOURCE_PRUNE_DESTROY] = "destroy")

/* Of `is_directory`. */
static const char *const kind_names[] = {[false] = "file", [true] = "directory"};
static const struct enum_names kind_words = {kind_names, ARRAY_LEN(kind_names)};

static const struct field source_rows[] = {
    FIELD(struct source_record, path, "path"),
    FIELD_ENUM(struct source_record, is_directory, "kind", &kind_words),
    FIELD(struct source_record, directory, "directory"),
    FIELD_ENUM(struct source_record, prune, "prune", &source_prune_words),
    FIELD(struct source_record, starts_new, "startsNew"),
    FIELD(struct source_record, since_ms, "since"),
    FIELD_STRUCT(struct source_record, proxies, "proxies", &proxies_fields, .omit_empty = true),
    FIELD_TEXTS(struct source_record, inputs.items, inputs.count, "inputs", .omit_empty = true),
    FIELD_TEXTS(
        struct source_record, overrides.items, overrides.count, "overrides", .omit_empty = true),
    FIELD_ENUM(struct source_record, state, "state", &source_state_words),
    FIELD(struct source_record, line, "line", .omit_empty = true),
    FIELD(struct source_record, column, "column", .omit_empty = true),
    FIELD(struct source_record, message, "message"),
    FIELD(struct source_record, applied_sha, "appliedSha", .omit_empty = true),
    FIELD(struct source_record, applied_digest, "appliedDigest", .omit_empty = true),
    FIELD(struct source_record, failed_digest, "failedDigest", .omit_empty = true),
    FIELD(struct source_record, pruned_digest, "prunedDigest", .omit_empty = true),
    FIELD(struct source_record, applied_ms, "appliedAt"),
    FIELD_TEXTS(struct source_record, removed.items, removed.count, "removed"),
};
const struct fields source_record_fields = {FIELDS_OF(source_rows, struct source_record)};

struct source_record *source_record_new(const char *path, int64_t now_ms)
{
    struct source_record *record = fields_new(&source_record_fields);
    record->path = mem_strdup(path);
    record->since_ms = now_ms;
    return record;
}

DEFINE_RECORD(source_record, &source_record_fields)

struct source_record *source_record_from_json(const json_t *json, struct error *err)
{
    const char *path = json_text(json, "path");
    if (!path || path[0] != '/') {
        (void)error_set(err, ERR_STORE, "the record of a watched VMFile has no path");
        return NULL;
    }
    struct source_record *record = fields_new(&source_record_fields);
    (void)fields_from_json(
        &source_record_fields, json, record, err); /* not strict: it cannot fail */
    return record;
}

static void assign(struct strings *to, const struct strings *from)
{
    strings_clear(to);
    for (size_t i = 0; from && i < from->count; i++) {
        strings_append(to, from->items[i]);
    }
}

void source_record_set_inputs(
    struct source_record *record, const struct strings *inputs, const struct strings *overrides)
{
    assign(&record->inputs, inputs);
    assign(&record->overrides, overrides);
}

void source_record_follow(struct source_record *record, const struct source_record *other)
{
    record->prune = other->prune;
    record->starts_new = other->starts_new;
    proxies_assign(&record->proxies, &other->proxies);
    source_record_set_inputs(record, &other->inputs, &other->overrides);
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
