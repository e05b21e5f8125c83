/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_sums.h"

#include <string.h>

#define HEX_DIGITS "0123456789abcdefABCDEF"

/* A part of a line. */
struct word {
    const char *at;
    size_t n;
};

static struct word trim(const char *at, const char *end)
{
    while (at < end && strchr(" \t*", *at)) {
        at++;
    }
    while (end > at && strchr(" \t\r", end[-1])) {
        end--;
    }
    return (struct word){at, (size_t)(end - at)};
}

/* The digits at its beginning, if that is what a check sum looks like: else 0. */
static size_t digits_of(struct word word)
{
    size_t n = 0;
    while (n < word.n && word.at[n] && strchr(HEX_DIGITS, word.at[n])) {
        n++;
    }
    bool ends = n == word.n || strchr(" \t", word.at[n]);
    return ends && (n == 64 || n == 128) ? n : 0;
}

/* Lists may give paths: "./debian.qcow2". */
static bool is_file(struct word name, const char *file)
{
    size_t n = strlen(file);
    return name.n >= n && memcmp(name.at + name.n - n, file, n) == 0 &&
           (name.n == n || name.at[name.n - n - 1] == '/');
}

/* The check sum that the line has for the file; n 0: none. */
static struct word sum_of_line(const char *at, const char *end, const char *file, bool *is_alone)
{
    const struct word none = {at, 0};
    struct word line = trim(at, end);
    size_t n = digits_of(line);
    *is_alone = n > 0 && n == line.n;
    if (n > 0) {
        struct word name = trim(line.at + n, line.at + line.n);
        return is_file(name, file) ? (struct word){line.at, n} : none;
    }
    const char *open = memchr(line.at, '(', line.n);
    const char *close = open ? memrchr(open, ')', (size_t)(line.at + line.n - open)) : NULL;
    if (!close || !is_file((struct word){open + 1, (size_t)(close - open - 1)}, file)) {
        return none;
    }
    const char *equals = memchr(close, '=', (size_t)(line.at + line.n - close));
    struct word sum = equals ? trim(equals + 1, line.at + line.n) : none;
    return digits_of(sum) == sum.n ? sum : none;
}

bool image_sums_find(const char *list, size_t n, const char *file, char ret_hex[IMAGE_SUM_SIZE])
{
    struct word found = {list, 0}, alone = {list, 0};
    size_t n_lines = 0;
    for (const char *at = list, *end = list + n; at < end;) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        bool is_alone;
        line_end = line_end ? line_end : end;
        struct word sum = sum_of_line(at, line_end, file, &is_alone);
        alone = is_alone ? trim(at, line_end) : alone;
        found = sum.n > found.n ? sum : found;
        n_lines += line_end > at;
        at = line_end + 1;
    }
    if (found.n == 0 && alone.n > 0 && n_lines == 1) {
        found = alone;
    }
    for (size_t i = 0; i < found.n; i++) {
        char c = found.at[i];
        ret_hex[i] = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
    }
    ret_hex[found.n] = '\0';
    return found.n > 0;
}
