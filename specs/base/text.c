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

bool text_eq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool text_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
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

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Levenshtein distance of two short words; longer ones count as far apart. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 48 };
    size_t n = strlen(a), m = strlen(b), row[LONGEST + 1];
    if (n > LONGEST || m > LONGEST) {
        return LONGEST;
    }
    for (size_t j = 0; j <= m; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[m];
}

const char *text_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    size_t best_distance = 2 + strlen(word) / 3;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, candidates[i]);
        if (d < best_distance && d < strlen(candidates[i])) {
            best = candidates[i];
            best_distance = d;
        }
    }
    return best;
}

/* Length of the well-formed UTF-8 sequence at `s`, 0 when there is none (RFC 3629, table 3-7). */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    unsigned char c = s[0];
    size_t len = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3
        : c >= 0xf0 && c < 0xf5                       ? 4
                                                      : 0;
    if (len == 0 || len > n) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (c == 0xe0 && s[1] < 0xa0) || (c == 0xf0 && s[1] < 0x90);
    bool beyond = (c == 0xed && s[1] >= 0xa0) || (c == 0xf4 && s[1] >= 0x90);
    return overlong || beyond ? 0 : len;
}

static bool is_control(const unsigned char *s, size_t len)
{
    bool c0 = len == 1 && (s[0] < 0x20 || s[0] == 0x7f) && s[0] != '\n' && s[0] != '\t';
    bool c1 = len == 2 && s[0] == 0xc2 && s[1] < 0xa0;
    return c0 || c1;
}

void text_add_printable(struct buf *out, const char *bytes, size_t n)
{
    const unsigned char *s = (const unsigned char *)bytes;
    for (size_t i = 0; i < n;) {
        size_t len = utf8_length(s + i, n - i);
        if (len > 0 && !is_control(s + i, len)) {
            buf_add(out, s + i, len);
        } else if (s[i] == '\r' && i + 1 < n && s[i + 1] == '\n') {
            len = 1; /* a terminal's line end: the \n alone says it */
        } else {
            buf_printf(out, "\\x%02x", s[i]);
            len = 1;
        }
        i += len;
    }
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
    enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
    int64_t seconds = length_ms > 0 ? length_ms / 1000 : 0;
    if (seconds < 2 * MINUTE) {
        (void)snprintf(out, DURATION_SIZE, "%" PRId64 "s", seconds);
    } else if (seconds < 2 * HOUR) {
        (void)snprintf(out, DURATION_SIZE, "%" PRId64 "m", seconds / MINUTE);
    } else if (seconds < 2 * DAY) {
        (void)snprintf(out, DURATION_SIZE, "%" PRId64 "h", seconds / HOUR);
    } else {
        (void)snprintf(out, DURATION_SIZE, "%" PRId64 "d", seconds / DAY);
    }
}
