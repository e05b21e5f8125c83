/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/line_reader.h"

#include <assert.h>
#include <string.h>

void line_reader_init(struct line_reader *reader, size_t max)
{
    *reader = (struct line_reader){.input = BUF_INIT(max)};
}

void line_reader_clear(struct line_reader *reader)
{
    buf_clear(&reader->input);
    reader->start = reader->n_scanned = 0;
}

/* What was taken is moved away once for each piece that arrives. */
bool line_reader_feed(struct line_reader *reader, const char *bytes, size_t n)
{
    buf_consume(&reader->input, reader->start);
    reader->start = 0;
    return buf_add(&reader->input, bytes, n);
}

const char *line_reader_rest(const struct line_reader *reader, size_t *ret_n)
{
    *ret_n = reader->input.len - reader->start;
    return buf_str(&reader->input) + reader->start;
}

void line_reader_skip(struct line_reader *reader, size_t n)
{
    assert(n <= reader->input.len - reader->start);
    reader->start += n;
    reader->n_scanned = 0;
}

const char *line_reader_next(struct line_reader *reader, size_t *ret_n)
{
    size_t n;
    const char *line = line_reader_rest(reader, &n);
    const char *newline = memchr(line + reader->n_scanned, '\n', n - reader->n_scanned);
    if (!newline) {
        reader->n_scanned = n;
        return NULL;
    }
    *ret_n = (size_t)(newline - line);
    line_reader_skip(reader, *ret_n + 1);
    return line;
}
