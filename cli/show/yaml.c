/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static void add_value(struct buf *out, const json_t *value, size_t depth, bool is_in_list);

static void indent(struct buf *out, size_t depth)
{
    for (size_t i = 0; i < depth; i++) {
        buf_add_str(out, "  ");
    }
}

/* Plain only when it starts with a letter or '/' and holds nothing that means something: numbers,
 * dates, indicators and everything unusual are quoted, and the words that YAML 1.1 or 1.2 resolves
 * to a boolean or null. */
static bool is_plain(const char *text)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "/._-+@,%() ";
    static const char *const reserved[] = {
        "true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"};
    size_t n = strlen(text);
    bool is_safe =
        (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') || text[0] == '/';
    is_safe = is_safe && text[n - 1] != ' ' && strspn(text, safe) == n;
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        is_safe = is_safe && strcasecmp(text, reserved[i]) != 0;
    }
    return is_safe;
}

static void add_string(struct buf *out, const char *text)
{
    if (is_plain(text)) {
        buf_add_str(out, text);
    } else {
        /* A JSON string without surrogate pairs is a YAML double-quoted scalar. */
        cleanup_json json_t *value = json_string(text);
        cleanup_free char *quoted = json_dumps(value, JSON_ENCODE_ANY);
        buf_add_str(out, quoted ? quoted : "\"\"");
    }
}

static void add_scalar(struct buf *out, const json_t *value)
{
    if (json_is_string(value)) {
        add_string(out, json_string_value(value));
        return;
    }
    cleanup_free char *text = json_dumps(value, JSON_ENCODE_ANY);
    buf_add_str(out, text ? text : "null");
}

static bool is_empty(const json_t *value)
{
    return (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

/* The first key of an object in a list is on the line of its dash. */
static void add_object(struct buf *out, const json_t *object, size_t depth, bool is_in_list)
{
    cleanup_free const char **keys = mem_calloc(json_object_size(object), sizeof(*keys));
    const char *key;
    json_t *value;
    size_t count = 0;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        keys[count++] = key;
    }
    qsort(keys, count, sizeof(*keys), text_compare);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 || !is_in_list) {
            indent(out, depth);
        }
        add_string(out, keys[i]);
        buf_add_char(out, ':');
        add_value(out, json_object_get(object, keys[i]), depth, false);
    }
}

static void add_array(struct buf *out, const json_t *array, size_t depth)
{
    size_t i;
    json_t *element;
    json_array_foreach(array, i, element)
    {
        indent(out, depth);
        buf_add_char(out, '-');
        add_value(out, element, depth, true);
    }
}

/* Behind "key:" or "-": a scalar on the same line, the rest below it. */
static void add_value(struct buf *out, const json_t *value, size_t depth, bool is_in_list)
{
    if (is_empty(value)) {
        buf_add_str(out, json_is_object(value) ? " {}\n" : " []\n");
    } else if (json_is_object(value)) {
        buf_add_char(out, is_in_list ? ' ' : '\n');
        add_object(out, value, depth + 1, is_in_list);
    } else if (json_is_array(value)) {
        buf_add_char(out, '\n');
        add_array(out, value, depth + 1);
    } else {
        buf_add_char(out, ' ');
        add_scalar(out, value);
        buf_add_char(out, '\n');
    }
}

void yaml_add(struct buf *out, const json_t *value)
{
    if (is_empty(value)) {
        buf_add_str(out, json_is_object(value) ? "{}\n" : "[]\n");
    } else if (json_is_object(value)) {
        add_object(out, value, 0, false);
    } else if (json_is_array(value)) {
        add_array(out, value, 0);
    } else {
        add_scalar(out, value);
        buf_add_char(out, '\n');
    }
}
