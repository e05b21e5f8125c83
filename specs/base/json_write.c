/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/json_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/json_scan.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* ---- objects and arrays ---- */

/* What comes before an item, and then room for `n` bytes of it; NULL: there is none left. */
static inline char *add_item(struct json_writer *writer, size_t n)
{
    size_t line = writer->is_indented ? 1 + 2 * (size_t)writer->depth : 0;
    size_t comma = writer->has_item;
    char *at = buf_extend(writer->out, comma + line + n);
    writer->has_item = true;
    if (!at) {
        return NULL;
    }
    if (comma) {
        *at++ = ',';
    }
    if (line > 0) {
        memset(at, ' ', line);
        *at = '\n';
    }
    return at + line;
}

void json_write_open(struct json_writer *writer, char open)
{
    buf_add_char(writer->out, open);
    writer->depth++;
    writer->has_item = false;
}

void json_write_close(struct json_writer *writer, char close)
{
    bool is_on_line = writer->is_indented && writer->has_item;
    writer->depth--;
    writer->has_item = false; /* no comma before the end */
    if (is_on_line) {
        (void)add_item(writer, 0);
    }
    buf_add_char(writer->out, close);
    writer->has_item = true;
}

void json_write_item(struct json_writer *writer)
{
    (void)add_item(writer, 0);
}

void json_write_key_of(struct json_writer *writer, const char *key, size_t n)
{
    char *at = add_item(writer, n + (writer->is_indented ? 4 : 3));
    if (at) {
        at[0] = '"';
        memcpy(at + 1, key, n);
        at[n + 1] = '"';
        at[n + 2] = ':';
        if (writer->is_indented) {
            at[n + 3] = ' ';
        }
    }
}

/* ---- values ---- */

static bool is_utf8(const char *text)
{
    for (size_t i = 0, left = strlen(text); left > 0;) {
        size_t n = (unsigned char)text[i] < 0x80 ? 1 : text_utf8_length(text + i, left);
        if (n == 0) {
            return false;
        }
        i += n;
        left -= n;
    }
    return true;
}

static void add_escaped(struct buf *out, char c)
{
    static const char bytes[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = strchr(bytes, c);
    if (found) {
        buf_add(out, (const char[]){'\\', letters[found - bytes]}, 2);
    } else {
        char escape[8];
        buf_add(out, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04X", (unsigned)c));
    }
}

void json_write_word(struct json_writer *writer, const char *word)
{
    size_t n = strlen(word);
    char *at = buf_extend(writer->out, n + 2);
    if (at) {
        at[0] = at[n + 1] = '"';
        memcpy(at + 1, word, n);
    }
}

void json_write_text(struct json_writer *writer, const char *text)
{
    cleanup_free char *shown = writer->shown && text ? writer->shown(text) : NULL;
    if (!text) {
        buf_add_str(writer->out, "null");
        return;
    }
    text = shown ? shown : text;
    size_t n = strlen(text), plain = json_count_plain(text, text + n);
    /* ASCII alone, also where char is unsigned. */
    while ((signed char)text[plain] >= ' ' && text[plain] != '"' && text[plain] != '\\') {
        plain++;
    }
    if (plain == n) { /* mostly */
        char *at = buf_extend(writer->out, n + 2);
        if (at) {
            *at++ = '"';
            at = mempcpy(at, text, n);
            *at = '"';
        }
        return;
    }
    text = is_utf8(text) ? text : "(not UTF-8)";
    buf_add_char(writer->out, '"');
    while (*text) {
        n = 0;
        while ((unsigned char)text[n] >= ' ' && text[n] != '"' && text[n] != '\\') {
            n++;
        }
        buf_add(writer->out, text, n);
        text += n;
        if (*text) {
            add_escaped(writer->out, *text++);
        }
    }
    buf_add_char(writer->out, '"');
}

void json_write_integer(struct json_writer *writer, int64_t value)
{
    char digits[24], *p = digits + sizeof(digits);
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
    for (; left >= 100; left /= 100) { /* half as many long divisions: most numbers are times */
        unsigned two = (unsigned)(left % 100);
        *--p = (char)('0' + two % 10);
        *--p = (char)('0' + two / 10);
    }
    if (left >= 10) {
        *--p = (char)('0' + left % 10);
        left /= 10;
    }
    *--p = (char)('0' + left);
    if (value < 0) {
        *--p = '-';
    }
    buf_add(writer->out, p, (size_t)(digits + sizeof(digits) - p));
}

void json_write_flag(struct json_writer *writer, bool value)
{
    buf_add_str(writer->out, value ? "true" : "false");
}

void json_write_time(struct json_writer *writer, const char *name, int64_t wall_ms)
{
    const char *behind = writer->is_indented ? "Time\": \"" : "Time\":\"";
    char text[CLOCK_TEXT_SIZE];
    if (wall_ms <= 0) {
        return;
    }
    clock_format_utc(wall_ms, text);
    size_t n = strlen(name), n_text = strlen(text), n_behind = strlen(behind);
    char *at = add_item(writer, 1 + n + n_behind + n_text + 1);
    if (at) {
        at[0] = '"';
        memcpy(at + 1, name, n);
        memcpy(at + 1 + n, behind, n_behind);
        memcpy(at + 1 + n + n_behind, text, n_text);
        at[1 + n + n_behind + n_text] = '"';
    }
}

/* ---- trees ---- */

static void write_object(struct json_writer *writer, const json_t *object)
{
    size_t n = 0;
    const char *key;
    json_t *value;
    cleanup_free const char **keys = mem_calloc(json_object_size(object) + 1, sizeof(*keys));
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        keys[n++] = key;
    }
    if (writer->is_sorted) {
        qsort(keys, n, sizeof(*keys), text_compare);
    }
    json_write_open(writer, '{');
    for (size_t i = 0; i < n; i++) {
        json_write_item(writer);
        struct json_writer plain = {.out = writer->out};
        json_write_text(&plain, keys[i]);
        buf_add(writer->out, ": ", writer->is_indented ? 2 : 1);
        json_write_tree(writer, json_object_get(object, keys[i]));
    }
    json_write_close(writer, '}');
}

void json_write_tree(struct json_writer *writer, const json_t *value)
{
    if (json_is_object(value)) {
        write_object(writer, value);
    } else if (json_is_array(value)) {
        json_write_open(writer, '[');
        for (size_t i = 0; i < json_array_size(value); i++) {
            json_write_item(writer);
            json_write_tree(writer, json_array_get(value, i));
        }
        json_write_close(writer, ']');
    } else if (json_is_string(value)) {
        json_write_text(writer, json_string_value(value));
    } else {
        cleanup_free char *text = json_dumps(value, JSON_ENCODE_ANY);
        buf_add_str(writer->out, text ? text : "null");
    }
}
