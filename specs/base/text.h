/* SPDX-License-Identifier: MPL-2.0 */
/* String comparison and conversion, and foreign text made safe to display. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf;

/* A borrowed range of memory, such as a part of a page of the store's map. */
struct bytes {
    const char *data;
    size_t n;
};

/* NULL equals only NULL. In line, because records have many texts that are NULL. */
static inline bool text_eq(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : !a && !b;
}

/* For qsort(3): of strings, and of structs whose first member is the string to sort by. */
int text_compare(const void *a, const void *b);
bool text_starts_with(const char *s, const char *prefix);
bool text_ends_with(const char *s, const char *suffix);

/* Decimal, whole string, within [min, max]; false otherwise and *ret untouched. */
bool text_to_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);

/* Whether it has only visible ASCII characters: no blank, no line break. */
bool text_is_visible(const char *s);

/* Whether `words`, separated by single spaces, has `word`; NULL has none. */
bool text_has_word(const char *words, const char *word);

/* For "did you mean …?": the first candidate that begins with `word`, else the one most like it:
 * within one edit for words below five letters, two below ten, and so on. NULL: none. */
const char *text_nearest(const char *word, const char *const *candidates, size_t count);

/* Bytes of the well-formed UTF-8 sequence at `s` (Unicode, table 3-7), 0 when there is none. n > 0.
 */
size_t text_utf8_length(const char *s, size_t n);

/* Appends `word` as one word for a POSIX shell: 'it'\''s' is the word "it's". */
void text_add_shell_word(struct buf *out, const char *word);

/*
 * Appends `n` bytes from outside (guest output, server headers) in a form that no terminal
 * interprets: control bytes other than \n and \t become \xNN, escape sequences lose their
 * ESC. Valid UTF-8 passes, except C1 controls and the bidirectional ones, whose bytes become \xNN.
 */
void text_add_printable(struct buf *out, const char *bytes, size_t n);

/* How many of the `n` bytes of UTF-8 fit into `max` without a part of a character. */
size_t text_cut(const char *text, size_t n, size_t max);

/* The printable first `n` bytes of `text`, at most `max`, and "…" where `text` continues. */
void text_add_beginning(struct buf *out, const char *text, size_t n, size_t max);

/* The last line of a program's output, without blanks at its end, printable; "" without output.
 * free() it. */
char *text_last_line(const char *bytes, size_t n);

/* Duration such as "90", "90s", "5m", "2h", "500ms" to milliseconds; false when malformed. */
bool text_to_duration_ms(const char *s, int64_t *ret_ms);

/* "512M", "2G", "2GB", "2GiB", "1T" to MiB; false without a suffix, or when malformed. All of them
 * are binary, as QEMU's own are. */
bool text_to_size_mib(const char *s, uint64_t *ret_mib);

/* 32 lower-case hexadecimal digits of a 128-bit id, and a NUL. */
#define TEXT_ID_SIZE 33
/* Whether it may be an id, or a part of one: ASCII letters, digits, '-' and '_' alone. */
bool text_is_id(const char *s, size_t n);
void text_hex(char *out, const uint8_t *bytes, size_t n); /* out: 2n + 1 bytes */

/* A length of time in one short word, as kubectl shows ages: "42s", "5m", "3h", "12d". `out` holds
 * DURATION_SIZE bytes; a negative length (a clock set back) reads as "0s". */
enum { DURATION_SIZE = 24 };
void duration_format(int64_t length_ms, char *out);
