/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A record as a table: one row per member of its struct. The record's JSON, its reading, copy,
 * comparison and release all walk the table, so that none of them can forget a member. JSON is
 * written and read as text, without a tree between. Pure.
 *
 * What a new member takes: a status, desired or source record takes two places, the struct and its
 * row. A scalar of the VMFile takes four: struct vm_spec, its row in vm_spec.c (with its default,
 * unless that is zero), its row in spec_diff.c, and its node in vmfile_read_*.c.
 *
 * Reading: a key that is absent or holds another type of value leaves the member at its default; an
 * unknown key is ignored. A number out of range or a text too long for its array also reads as the
 * default, an unknown word of an enum as its first value; in a strict table and in those below it
 * they are errors. Nothing is ever shortened or wrapped. Of a key that comes twice the first
 * counts.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/cleanup.h"
#include "specs/base/enum_names.h"
#include "specs/base/json.h"
#include "specs/base/json_write.h"
#include "specs/base/text.h"

struct error;

enum field_kind {
    FIELD_KIND_BOOL,  /* the first four are numbers */
    FIELD_KIND_UINT,  /* uint16_t, uint32_t, uint64_t (JSON holds up to INT64_MAX) */
    FIELD_KIND_INT,   /* int32_t, int64_t */
    FIELD_KIND_ENUM,  /* written as its word */
    FIELD_KIND_TEXT,  /* char *, owned; NULL is not written */
    FIELD_KIND_JSON,  /* char *, owned: a JSON value, written as it is; NULL is not written. Read by
                       * the record's own reader only */
    FIELD_KIND_CHARS, /* char[n] that ends with a NUL */
    FIELD_KIND_STRUCT, /* a struct in place */
    FIELD_KIND_OWNED,  /* pointer to a struct, or NULL. Read by the record's own reader only */
    FIELD_KIND_SHARED, /* the same, of fields_share(): copies of the owner point to the same one */
    FIELD_KIND_LIST,   /* pointer to `count` structs, owned */
    FIELD_KIND_TEXTS,  /* pointer to `count` texts, owned both */
    FIELD_KIND_KEYED,  /* array of structs, one per value of an enum; in JSON a list of those whose
                        * first member is not zero, each with the value's word under `key`; others
                        * are all zero */
};

struct field {
    const char *name; /* key in the JSON */
    size_t name_n;    /* its length */
    size_t offset;
    size_t size;
    enum field_kind kind;
    bool omit_empty;  /* not written when zero, "", without items, or a struct of only that */
    bool is_kept;     /* written to sparse JSON, too, when it has its default */
    bool is_required; /* the same, of a text or word: one that is absent or does not fit is an
                       * error in any table */
    bool is_time;     /* INT: milliseconds since 1970, see json_write_time() */
    bool is_set;      /* the order of the items has no meaning: written sorted */
    size_t inherits;  /* of an item of KEYED: its default is the member there in the list's owner,
                       * of the same type and in an earlier row; 0: it has one of its own */
    size_t count_offset; /* LIST, TEXTS: member that counts the items */
    size_t count_size;
    const struct enum_names *words; /* ENUM, KEYED */
    const char *key;                /* KEYED */
    size_t key_n;
    const struct fields *fields; /* STRUCT, OWNED, SHARED, LIST, KEYED */
};

/* The places at which a struct points to what it owns; found when they are first needed. */
struct fields_owned {
    _Atomic(struct owned_list *) list;
};

struct fields {
    const struct field *rows;
    size_t count;
    size_t size;          /* of the struct */
    const void *defaults; /* a struct of that type; NULL: all zero */
    bool is_strict;
    struct fields_owned *owned; /* fields.c's own */
    /* Checks members against each other; sets `err` (ERR_STORE). NULL: nothing to check. */
    int (*check)(const void *object, struct error *err);
};

extern const struct fields fields_of_text; /* of an item of FIELD_TEXTS() */

/* const struct fields x_fields = {FIELDS_OF(x_rows, struct x), .is_strict = true}; */
#define FIELDS_OF(field_rows, type)                                                                \
    .rows = (field_rows), .count = ARRAY_LEN(field_rows), .size = sizeof(type),                    \
    .owned = &(struct fields_owned)                                                                \
    {                                                                                              \
        NULL                                                                                       \
    }

/*
 * The rows, each with its struct's type, the member and its JSON key. FIELD() is for flags, numbers
 * and texts: the kind follows from the member's type. Further members of struct field may follow
 * where the macro ends in dots: FIELD(struct x, y, "y", .omit_empty = true).
 */
#define FIELD(type, member, ...)                                                                        \
    {                                                                                                   \
        FIELD_AT_(type, member),                                                                      \
        .kind = _Generic(&((type *)0)->member,                                                     \
            bool *: FIELD_KIND_BOOL,                                                               \
            uint16_t *: FIELD_KIND_UINT,                                                           \
            uint32_t *: FIELD_KIND_UINT,                                                           \
            uint64_t *: FIELD_KIND_UINT,                                                           \
            int32_t *: FIELD_KIND_INT,                                                             \
            int64_t *: FIELD_KIND_INT,                                                             \
            char **: FIELD_KIND_TEXT,                                                              \
            char(*)[sizeof(((type *)0)->member)]: FIELD_KIND_CHARS),                               \
        FIELD_LENGTH_(__VA_ARGS__, ), .name = __VA_ARGS__ \
    }
#define FIELD_ENUM(type, member, json_name, ...) /* its words */                                   \
    {                                                                                              \
        FIELD_AT_(type, member), .kind = FIELD_KIND_ENUM, FIELD_NAME_(json_name),                  \
                                 .words = __VA_ARGS__                                              \
    }
#define FIELD_STRUCT(type, member, json_name, ...) /* its table */                                 \
    {                                                                                              \
        FIELD_AT_(type, member), .kind = FIELD_KIND_STRUCT, FIELD_NAME_(json_name),                \
                                 .fields = __VA_ARGS__                                             \
    }
#define FIELD_OWNED(type, member, json_name, table)                                                \
    {                                                                                              \
        FIELD_AT_(type, member), .kind = FIELD_KIND_OWNED, FIELD_NAME_(json_name),                 \
                                 .fields = (table)                                                 \
    }
#define FIELD_SHARED(type, member, json_name, table)                                               \
    {                                                                                              \
        FIELD_AT_(type, member), .kind = FIELD_KIND_SHARED, FIELD_NAME_(json_name),                \
                                 .fields = (table)                                                 \
    }
#define FIELD_JSON(type, member, json_name)                                                        \
    {                                                                                              \
        FIELD_AT_(type, member), .kind = FIELD_KIND_JSON, FIELD_NAME_(json_name)                   \
    }
#define FIELD_LIST(type, member, counter, json_name, ...) /* the items' table */                   \
    {                                                                                              \
        FIELD_AT_(type, member), FIELD_COUNT_(type, counter),                                      \
            .kind = FIELD_KIND_LIST, FIELD_NAME_(json_name), .fields = __VA_ARGS__                 \
    }
#define FIELD_TEXTS(type, member, counter, ...)                                                    \
    {                                                                                              \
        FIELD_AT_(type, member), FIELD_COUNT_(type, counter),                                      \
            .kind = FIELD_KIND_TEXTS, .fields = &fields_of_text, FIELD_LENGTH_(__VA_ARGS__, ),     \
            .name = __VA_ARGS__                                                                    \
    }
#define FIELD_KEYED(type, member, json_name, table, key_name, enum_names)                          \
    {                                                                                              \
        FIELD_AT_(type, member), .kind = FIELD_KIND_KEYED, FIELD_NAME_(json_name),                 \
                                 .fields = (table), .key = (key_name),                             \
                                 .key_n = sizeof("" key_name) - 1, .words = (enum_names)           \
    }
#define FIELD_NAME_(json_name) .name = (json_name), .name_n = sizeof("" json_name) - 1
#define FIELD_LENGTH_(json_name, ...) .name_n = sizeof("" json_name) - 1
#define FIELD_AT_(type, member)                                                                    \
    .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define FIELD_COUNT_(type, counter)                                                                \
    .count_offset = offsetof(type, counter), .count_size = sizeof(((type *)0)->counter)

/* A struct with its defaults; a copy that shares nothing (NULL gives NULL). Lists of both can grow
 * by mem_grow(). */
void *fields_new(const struct fields *fields);
void *fields_copy(const struct fields *fields, const void *object);
void fields_free(const struct fields *fields, void *object); /* NULL is fine */

/* Makes of a struct one that many share, for members of that kind: it is freed with the last of
 * them, in whatever thread, and nobody changes it. NULL gives NULL. */
const void *fields_share(const struct fields *fields, void *object_take);
/* One owner less; NULL is fine. */
void fields_drop(const struct fields *fields, const void *shared);

/* Whether all members are equal; lists in the same order, sets in any. NULL equals only NULL. */
bool fields_equal(const struct fields *fields, const void *a, const void *b);

/* Writes the record as one object: members in the order of the rows, or as the writer says. */
void fields_write(const struct fields *fields, const void *object, struct json_writer *writer);
json_t *fields_to_json(const struct fields *fields, const void *object); /* caller owns */

/* A record's own functions, for `struct PREFIX` and its table. */
#define DEFINE_RECORD(prefix, table)                                                               \
    void prefix##_free(struct prefix *record)                                                      \
    {                                                                                              \
        fields_free(table, record);                                                                \
    }                                                                                              \
    struct prefix *prefix##_copy(const struct prefix *record)                                      \
    {                                                                                              \
        return fields_copy(table, record);                                                         \
    }                                                                                              \
    bool prefix##_equal(const struct prefix *a, const struct prefix *b)                            \
    {                                                                                              \
        return fields_equal(table, a, b);                                                          \
    }                                                                                              \
    json_t *prefix##_to_json(const struct prefix *record)                                          \
    {                                                                                              \
        return fields_to_json(table, record);                                                      \
    }

/*
 * Reads into a struct that holds its defaults. Reports the first error; the caller frees the struct
 * then, too. `ret_owned` may be NULL; else it becomes the text of the OWNED or SHARED member, which
 * is part of `json`, without a byte when it is absent.
 */
int fields_read(const struct fields *fields, struct bytes json, void *object,
    struct bytes *ret_owned, struct error *err);
int fields_from_json(
    const struct fields *fields, const json_t *json, void *object, struct error *err);

/* The row at a path of names ("network.mode") and the struct that it is a member of; NULL: none. */
const struct field *fields_find(
    const struct fields *fields, const void *object, const char *path, const void **ret_owner);
/* One member of the struct `owner`, as above. */
static inline bool field_equal(const struct field *field, const void *a_owner, const void *b_owner);
json_t *field_to_json(const struct field *field, const void *owner); /* NULL: nothing is written */
/* Its canonical JSON, "" when nothing is written. free() it. */
char *field_to_text(const struct field *field, const void *owner);

/* Makes the member at the path a copy of that of `from`; returns whether it changed. */
bool fields_take(const struct fields *fields, void *to, const void *from, const char *path);

/* A flag, number or enum of the struct `owner`; false when the member cannot hold the value. */
int64_t field_number(const struct field *field, const void *owner);
bool field_set_number(const struct field *field, void *owner, int64_t value);

/* ---- members and items by their address, for fields_json.c ---- */

/* The structs that a member contains or points to. A text of a list is a struct of one text. */
struct field_items {
    void *first;
    size_t count;
};

struct field_items field_items(const struct field *field, const void *owner);
/* LIST, TEXTS: one more item, with its defaults. */
void *field_add_item(const struct field *field, void *owner);

/* field_equal() of a member that is no number. */
bool field_equal_beyond(const struct field *field, const void *a_owner, const void *b_owner);

/* Whether it is zero, "", without items, or a struct of only that. */
bool field_is_empty(const struct field *field, const void *owner);

/* The JSON that a struct of fields_share() keeps, as nobody changes it: NULL before there is any.
 * The second gives it one, and returns the one that it has then. Borrowed from it. */
const char *fields_shared_text(const void *shared);
const char *fields_keep_shared_text(const void *shared, char *text_take);

/* Frees what the struct's members own. */
void fields_clear(const struct fields *fields, void *object);

static inline void *field_at(const struct field *field, const void *owner)
{
    return (char *)(uintptr_t)owner + field->offset;
}

static inline char *field_text(const struct field *field, const void *owner)
{
    return *(char *const *)field_at(field, owner);
}

/* A flag, number or enum without its sign. */
static inline uint64_t field_load(const void *from, size_t size)
{
    switch (size) {
    case sizeof(uint8_t):
        return *(const uint8_t *)from;
    case sizeof(uint16_t):
        return *(const uint16_t *)from;
    case sizeof(uint32_t):
        return *(const uint32_t *)from;
    default:
        return *(const uint64_t *)from;
    }
}

/* In line: hundreds of members are compared for each record that is written; most are numbers,
 * or empty. */
static inline bool field_equal(const struct field *field, const void *a_owner, const void *b_owner)
{
    const void *a = field_at(field, a_owner), *b = field_at(field, b_owner);
    if (field->kind <= FIELD_KIND_ENUM) {
        return field_load(a, field->size) == field_load(b, field->size);
    }
    bool is_empty = field->kind == FIELD_KIND_TEXT    ? *(char *const *)a == *(char *const *)b
                    : field->kind == FIELD_KIND_CHARS ? !*(const char *)a && !*(const char *)b
                                                      : false;
    return is_empty || field_equal_beyond(field, a_owner, b_owner);
}

static inline void *field_item(const struct field *field, struct field_items items, size_t i)
{
    return (char *)items.first + i * field->fields->size;
}

/* KEYED: the item is in use. */
static inline bool field_is_present(const struct field *field, const void *item)
{
    return !field_is_empty(&field->fields->rows[0], item);
}
