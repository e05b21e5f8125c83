/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Writes JSON as text without building a tree, byte for byte as jansson does: compact, or one item
 * per line, indented by two more spaces than its container.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "specs/base/json.h"

struct buf;

struct json_writer {
    struct buf *out;
    bool is_indented;
    /* For records (fields.h): members by their keys; without those that have their default. */
    bool is_sorted, is_sparse;
    bool says_times; /* of records: json_write_time() behind each member that is a time */
    /* What is written in the place of a text: caller frees. NULL: the text itself. */
    char *(*shown)(const char *text);
    unsigned depth; /* of what is open */
    bool has_item;  /* in it */
};

/* '{' or '[', and its end. An object's members are keys, each with a value behind it; an array's
 * items are announced by json_write_item(). A key is of ASCII, without escapes. */
void json_write_open(struct json_writer *writer, char open);
void json_write_close(struct json_writer *writer, char close);
void json_write_item(struct json_writer *writer);
void json_write_key_of(struct json_writer *writer, const char *key, size_t n);
static inline void json_write_key(struct json_writer *writer, const char *key)
{
    json_write_key_of(writer, key, strlen(key));
}

/* A text that is not UTF-8 is written as "(not UTF-8)", NULL as null. */
void json_write_text(struct json_writer *writer, const char *text);
/* A text of ASCII without escapes, which is shown as it is: a word of a list. */
void json_write_word(struct json_writer *writer, const char *word);
void json_write_integer(struct json_writer *writer, int64_t value);
void json_write_flag(struct json_writer *writer, bool value);
/* The member NAMETime, as json_put_time() puts it. */
void json_write_time(struct json_writer *writer, const char *name, int64_t wall_ms);
void json_write_tree(struct json_writer *writer, const json_t *value);
