/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A watched VMFile, or a watched directory of VMFiles: `watch` registers it, vmctld applies its
 * changes. A record of the store's sources table under the file's absolute path. vmctl writes how
 * to watch it, vmctld the result; each by compare-and-set, so neither undoes the other. Pure.
 *
 * `applied_sha` is the file-level observedGeneration: when it is the digest of the current file,
 * the desired records match the file.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/digest.h"
#include "specs/base/enum_names.h"
#include "specs/base/json.h"
#include "specs/base/proxies.h"
#include "specs/base/strings.h"

struct error;

enum source_state {
    SOURCE_PENDING,      /* registered, not read yet */
    SOURCE_SYNCED,       /* the desired records match the file; a directory: listed */
    SOURCE_PARSE_FAILED, /* not a valid VMFile, or a file it names cannot be read */
    SOURCE_GONE,         /* there is no such file */
    SOURCE_CONFLICT,     /* a name in it belongs to another VMFile */
    SOURCE_REFUSED, /* valid, but not possible now: a disk would shrink, a VM is being deleted */
    SOURCE_STATE_COUNT_
};

/* What happens to a VM that a valid file no longer names. */
enum source_prune {
    SOURCE_PRUNE_NOTHING,
    SOURCE_PRUNE_STOP,
    SOURCE_PRUNE_DESTROY,
    SOURCE_PRUNE_COUNT_
};

struct source_record {
    char *path; /* absolute: the record's key */

    /* how to watch it */
    bool is_directory;
    char *directory; /* the watched directory it was found in; NULL: registered by itself */
    enum source_prune prune;
    bool starts_new;          /* VMs that come into the file are started; else created only */
    int64_t since_ms;         /* wall: when it was registered */
    struct proxies proxies;   /* of the command that registered it, for its VMs */
    struct strings inputs;    /* what that command gave its variables and fields: "tag=13" */
    struct strings overrides; /* the further VMFiles that it named: absolute paths, in its order */

    /* the result */
    enum source_state state;
    uint32_t line, column;            /* of what is wrong, from 1; 0: not at one place */
    char *message;                    /* what is wrong, without the place; NULL: nothing */
    char applied_sha[DIGEST_SIZE];    /* of the file when it was last applied; "": never */
    char applied_digest[DIGEST_SIZE]; /* of that and of the contents of the files it names */
    char failed_digest[DIGEST_SIZE];  /* of the contents that `state` is about, when they were not
                                         applied */
    char pruned_digest[DIGEST_SIZE];  /* the applied_digest that pruning was done for */
    int64_t applied_ms;               /* wall */
    struct strings removed;           /* VMs that came from it and that it no longer names */
};

/* A record in SOURCE_PENDING; `path` is copied. source_record_free() it. */
struct source_record *source_record_new(const char *path, int64_t now_ms);
void source_record_free(struct source_record *record); /* NULL is fine */
struct source_record *source_record_copy(const struct source_record *record);
bool source_record_equal(const struct source_record *a, const struct source_record *b);

json_t *source_record_to_json(const struct source_record *record); /* caller owns */
/* NULL and ERR_STORE without a path. Unknown words and missing keys read as their default. */
struct source_record *source_record_from_json(const json_t *json, struct error *err);

/* The file exists but could not be applied: its VMs keep the last good version. */
bool source_record_is_failing(const struct source_record *record);

/* "VMFile.kdl:3:5: unknown node …" with the path in full, or without line and column where there is
 * no one place. free() it. */
char *source_record_explain(const struct source_record *record);

/* Takes over how the other one is watched: prune, starts_new, proxies, inputs and overrides. */
void source_record_follow(struct source_record *record, const struct source_record *other);
/* Copies; NULL: none. */
void source_record_set_inputs(
    struct source_record *record, const struct strings *inputs, const struct strings *overrides);

/* "ParseFailed"; "destroy". Static text. */
const char *source_state_name(enum source_state state);
const char *source_prune_name(enum source_prune prune);
extern const struct enum_names source_prune_words;
