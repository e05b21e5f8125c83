/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

int text_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool text_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool text_is_visible(const char *s)
{
    while (*s > ' ' && *s < 0x7f) {
        s++;
    }
    return *s == '\0';
}

bool text_has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; p && *p; p += strspn(p, " ")) {
        size_t length = strcspn(p, " ");
        if (length == n && memcmp(p, word, n) == 0) {
            return true;
        }
        p += length;
    }
    return false;
}

bool text_ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

bool text_to_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
    if (s[0] < '0' || s[0] > '9') {
        return false;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno || *end || v < min || v > max) {
        return false;
    }
    *ret = v;
    return true;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters of two short words are missing, changed, or exchanged with their neighbour
 * (optimal string alignment); longer words count as far apart. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 48 };
    size_t n = strlen(a), m = strlen(b), rows[3][LONGEST + 1];
    if (n > LONGEST || m > LONGEST) {
        return LONGEST;
    }
    for (size_t i = 0; i <= n; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above_that = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            if (i == 0) {
                row[j] = j;
                continue;
            }
            size_t replaced = above[j - 1] + (a[i - 1] != b[j - 1]);
            bool is_exchange = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            row[j] = smaller(replaced, 1 + smaller(above[j], row[j - 1]));
            row[j] = is_exchange ? smaller(row[j], above_that[j - 2] + 1) : row[j];
        }
    }
    return rows[n % 3][m];
}

const char *text_nearest(const char *word, const char *const *candidates, size_t count)
{
    enum { PREFIX_MIN = 3 };
    const char *best = NULL;
    size_t best_distance = 2 + strlen(word) / 5;
    for (size_t i = 0; strlen(word) >= PREFIX_MIN && i < count; i++) {
        if (text_starts_with(candidates[i], word)) {
            return candidates[i];
        }
    }
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, candidates[i]);
        if (d < best_distance && d < strlen(candidates[i])) {
            best = candidates[i];
            best_distance = d;
        }
    }
    return best;
}

size_t text_utf8_length(const char *s, size_t n)
{
    static const struct {
        unsigned char first, last, length, low, high; /* low, high: of the second byte */
    } forms[] = {
        {0x00, 0x7f, 1, 0, 0},
        {0xc2, 0xdf, 2, 0x80, 0xbf},
        {0xe0, 0xe0, 3, 0xa0, 0xbf},
        {0xe1, 0xec, 3, 0x80, 0xbf},
        {0xed, 0xed, 3, 0x80, 0x9f},
        {0xee, 0xef, 3, 0x80, 0xbf},
        {0xf0, 0xf0, 4, 0x90, 0xbf},
        {0xf1, 0xf3, 4, 0x80, 0xbf},
        {0xf4, 0xf4, 4, 0x80, 0x8f},
    };
    const unsigned char *u = (const unsigned char *)s;
    size_t i = 0;
    while (i < ARRAY_LEN(forms) && u[0] > forms[i].last) {
        i++;
    }
    if (i == ARRAY_LEN(forms) || u[0] < forms[i].first || n < forms[i].length) {
        return 0;
    }
    for (size_t k = 1; k < forms[i].length; k++) {
        if (u[k] < (k == 1 ? forms[i].low : 0x80) || u[k] > (k == 1 ? forms[i].high : 0xbf)) {
            return 0;
        }
    }
    return forms[i].length;
}

/* U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069 (UAX 9, 2): they let a line show other
 * words than it has. U+2028, U+2029: they end a line for programs that read the text. */
static bool is_line_control(const unsigned char *s, size_t length)
{
    return (length == 2 && s[0] == 0xd8 && s[1] == 0x9c) ||
           (length == 3 && s[0] == 0xe2 && s[1] == 0x80 &&
               (s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae))) ||
           (length == 3 && s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9);
}

void text_add_shell_word(struct buf *out, const char *word)
{
    buf_add_char(out, '\'');
    for (; *word; word++) {
        if (*word == '\'') {
            buf_add_str(out, "'\\''");
        } else {
            buf_add_char(out, *word);
        }
    }
    buf_add_char(out, '\'');
}

void text_add_printable(struct buf *out, const char *bytes, size_t n)
{
    const unsigned char *s = (const unsigned char *)bytes;
    for (size_t i = 0; i < n;) {
        size_t len = text_utf8_length(bytes + i, n - i);
        bool is_c0 = len == 1 && (s[i] < 0x20 || s[i] == 0x7f) && s[i] != '\n' && s[i] != '\t';
        bool is_c1 = len == 2 && s[i] == 0xc2 && s[i + 1] < 0xa0;
        if (len > 0 && !is_c0 && !is_c1 && !is_line_control(s + i, len)) {
            buf_add(out, s + i, len);
        } else if (s[i] == '\r' && i + 1 < n && s[i + 1] == '\n') {
            len = 1; /* a terminal's line end: the \n alone is enough */
        } else {
            buf_printf(out, "\\x%02x", s[i]);
            len = 1;
        }
        i += len;
    }
}

size_t text_cut(const char *text, size_t n, size_t max)
{
    size_t kept = n < max ? n : max;
    while (kept < n && kept > 0 && ((unsigned char)text[kept] & 0xc0) == 0x80) {
        kept--;
    }
    return kept;
}

void text_add_beginning(struct buf *out, const char *text, size_t n, size_t max)
{
    size_t shown = text_cut(text, n, max);
    text_add_printable(out, text, shown);
    buf_add_str(out, text[shown] ? "…" : "");
}

char *text_last_line(const char *bytes, size_t n)
{
    while (n > 0 && strchr(" \t\r\n", bytes[n - 1])) {
        n--;
    }
    size_t start = n;
    while (start > 0 && bytes[start - 1] != '\n') {
        start--;
    }
    struct buf line = BUF_INIT(0);
    text_add_printable(&line, bytes + start, n - start);
    return buf_steal(&line);
}

bool text_to_duration_ms(const char *s, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t digits = strspn(s, "0123456789");
    if (digits == 0 || digits > 9) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (text_eq(s + digits, units[i].unit)) {
            *ret_ms = strtoll(s, NULL, 10) * units[i].ms;
            return true;
        }
    }
    return false;
}

bool text_to_size_mib(const char *s, uint64_t *ret_mib)
{
    static const struct {
        char letter;
        unsigned shift;
    } units[] = {{'m', 0}, {'g', 10}, {'t', 20}};
    enum { DIGITS_MAX = 9 };
    size_t digits = strspn(s, "0123456789");
    const char *suffix = s + digits;
    if (digits == 0 || digits > DIGITS_MAX || suffix[0] == '\0' ||
        (suffix[1] && strcasecmp(suffix + 1, "b") != 0 && strcasecmp(suffix + 1, "ib") != 0)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if ((suffix[0] | 0x20) == units[i].letter) {
            *ret_mib = strtoull(s, NULL, 10) << units[i].shift;
            return true;
        }
    }
    return false;
}

bool text_is_id(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char lower = s[i] | ('a' ^ 'A');
        if (!(lower >= 'a' && lower <= 'z') && !(s[i] >= '0' && s[i] <= '9') && s[i] != '-' &&
            s[i] != '_') {
            return false;
        }
    }
    return true;
}

void text_hex(char *out, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

void duration_format(int64_t length_ms, char *out)
{
    static const struct {
        int64_t seconds;
        char letter;
    } units[] = {{24 * 3600, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    int64_t seconds = length_ms > 0 ? length_ms / 1000 : 0;
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(units) && seconds < 2 * units[i].seconds) {
        i++;
    }
    (void)snprintf(
        out, DURATION_SIZE, "%" PRId64 "%c", seconds / units[i].seconds, units[i].letter);
}
