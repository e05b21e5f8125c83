/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/screen_filter.h"

#include "specs/base/buf.h"
#include "specs/base/text.h"

enum { BELL = 0x07, ESCAPE = 0x1b };

void screen_filter_end(struct screen_filter *filter, struct buf *out)
{
    text_add_printable(out, filter->partial, filter->n_partial);
    filter->n_partial = 0;
    if (filter->has_return) {
        buf_add_char(out, '\n');
        filter->has_return = false;
    }
}

static void add_text(struct screen_filter *filter, struct buf *out, char byte)
{
    bool continues = ((unsigned char)byte & 0xc0) == 0x80;
    if (filter->n_partial > 0 && !continues) {
        text_add_printable(out, filter->partial, filter->n_partial);
        filter->n_partial = 0;
    }
    filter->partial[filter->n_partial++] = byte;
    unsigned char first = (unsigned char)filter->partial[0];
    size_t length = first < 0xc0 || first >= 0xf8 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (filter->n_partial >= length) {
        text_add_printable(out, filter->partial, filter->n_partial);
        filter->n_partial = 0;
    }
}

/* One byte of plain text. "\r\n" is one line end, "\r\r\n" too; a lone "\r" would overwrite. */
static void take_text(struct screen_filter *filter, struct buf *out, char byte)
{
    if (byte == '\r') {
        filter->has_return = true;
        return;
    }
    if (filter->has_return && byte != '\n') {
        screen_filter_end(filter, out);
    }
    filter->has_return = false;
    if ((unsigned char)byte == ESCAPE) {
        screen_filter_end(filter, out);
        filter->state = SCREEN_ESCAPE;
    } else {
        add_text(filter, out, byte);
    }
}

static enum screen_state after_escape(unsigned char byte)
{
    if (byte == '[') {
        return SCREEN_CONTROL;
    }
    if (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_') {
        return SCREEN_STRING;
    }
    return byte >= 0x20 && byte < 0x30 ? SCREEN_ESCAPE : SCREEN_TEXT; /* intermediate bytes */
}

static void take(struct screen_filter *filter, struct buf *out, char byte)
{
    unsigned char c = (unsigned char)byte;
    switch (filter->state) {
    case SCREEN_TEXT:
        take_text(filter, out, byte);
        return;
    case SCREEN_ESCAPE:
        filter->state = after_escape(c);
        return;
    case SCREEN_CONTROL: /* parameters and intermediates, then one final byte */
        if (c < 0x20 || c > 0x3f) {
            filter->state = SCREEN_TEXT;
        }
        if (c < 0x20) {
            take_text(filter, out, byte);
        }
        return;
    case SCREEN_STRING: /* it ends with BEL or ESC \; a line end shows that it was none */
        if (c == ESCAPE) {
            filter->state = SCREEN_STRING_END;
        } else if (c == BELL || c == '\n') {
            filter->state = SCREEN_TEXT;
        }
        return;
    case SCREEN_STRING_END:
        filter->state = c == '\\' ? SCREEN_TEXT : after_escape(c);
        return;
    }
}

void screen_filter_add(struct screen_filter *filter, struct buf *out, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        take(filter, out, bytes[i]);
    }
}
