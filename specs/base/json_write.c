/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/json_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* ---- objects and arrays ---- */

static void add_line(struct json_writer *writer)
{
    static const char blanks[] = "\n                                                              ";
    unsigned left = 2 * writer->depth;
    size_t n = left < sizeof(blanks) - 2 ? left : sizeof(blanks) - 2;
    buf_add(writer->out, blanks, 1 + n);
    for (left -= (unsigned)n; left > 0; left--) {
        buf_add_char(writer->out, ' ');
    }
}

void json_write_open(struct json_writer *writer, char open)
{
    buf_add_char(writer->out, open);
    writer->depth++;
    writer->has_item = false;
}

void json_write_close(struct json_writer *writer, char close)
{
    writer->depth--;
    if (writer->is_indented && writer->has_item) {
        add_line(writer);
    }
    buf_add_char(writer->out, close);
    writer->has_item = true;
}

void json_write_item(struct json_writer *writer)
{
    if (writer->has_item) {
        buf_add_char(writer->out, ',');
    }
    if (writer->is_indented) {
        add_line(writer);
    }
    writer->has_item = true;
}

void json_write_key(struct json_writer *writer, const char *key)
{
    json_write_item(writer);
    buf_add_char(writer->out, '"');
    buf_add_str(writer->out, key);
    buf_add(writer->out, "\": ", writer->is_indented ? 3 : 2);
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

void json_write_text(struct json_writer *writer, const char *text)
{
    cleanup_free char *shown = writer->shown && text ? writer->shown(text) : NULL;
    if (!text) {
        buf_add_str(writer->out, "null");
        return;
    }
    text = shown ? shown : text;
    size_t plain = 0;
    while (text[plain] >= ' ' && text[plain] != '"' && text[plain] != '\\') { /* char is signed */
        plain++;
    }
    bool is_plain = !text[plain]; /* mostly */
    buf_add_char(writer->out, '"');
    if (is_plain) {
        buf_add(writer->out, text, plain);
    }
    text = is_plain ? "" : is_utf8(text) ? text : "(not UTF-8)";
    while (*text) {
        size_t n = 0;
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
    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) {
        *--p = '-';
    }
    buf_add(writer->out, p, (size_t)(digits + sizeof(digits) - p));
}

void json_write_flag(struct json_writer *writer, bool value)
{
    buf_add_str(writer->out, value ? "true" : "false");
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
