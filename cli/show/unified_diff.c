/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/unified_diff.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/spec_diff.h"
#include "specs/vm/spec_text.h"

struct line {
    char sign; /* ' ', '-' or '+' */
    char *text;
};

struct writer {
    struct buf *out;
    bool use_color;
    const char *heading; /* of the hunk that is being collected */
    struct line *lines;  /* its lines; owned */
    size_t count;
    size_t n_old, n_new;           /* how many of them either side has */
    size_t old_before, new_before; /* lines of the sides before the hunk */
    bool is_file;                  /* numbers count also the lines that are not shown */
};

/* ---- lines to text ---- */

/* "3", "3,2"; of no lines the line before: "2,0". */
static void write_range(struct buf *out, char sign, size_t before, size_t count)
{
    buf_printf(out, "%c%zu", sign, before + (count > 0));
    if (count != 1) {
        buf_printf(out, ",%zu", count);
    }
}

static void write_hunk(struct writer *w)
{
    const char *off = w->use_color ? "\033[0m" : "";
    buf_add_str(w->out, w->use_color ? "\033[36m@@ " : "@@ ");
    write_range(w->out, '-', w->old_before, w->n_old);
    buf_add_char(w->out, ' ');
    write_range(w->out, '+', w->new_before, w->n_new);
    buf_printf(w->out, " @@%s%s%s\n", off, w->is_file ? "" : " ", w->is_file ? "" : w->heading);
    for (size_t i = 0; i < w->count; i++) {
        struct line *line = &w->lines[i];
        const char *color = line->sign == '-' ? "\033[31m" : line->sign == '+' ? "\033[32m" : "";
        buf_add_str(w->out, w->use_color ? color : "");
        buf_add_char(w->out, line->sign);
        text_add_printable(w->out, line->text, strlen(line->text));
        buf_printf(w->out, "%s\n", color[0] ? off : "");
        free(line->text);
    }
    w->old_before += w->n_old;
    w->new_before += w->n_new;
    w->count = w->n_old = w->n_new = 0;
    free(TAKE_PTR(w->lines));
}

static void add_line(struct writer *w, char sign, const char *text)
{
    mem_grow(w->lines, w->count);
    w->lines[w->count++] = (struct line){sign, mem_strdup(text)};
    w->n_old += sign != '+';
    w->n_new += sign != '-';
}

/* ---- lines of two texts ---- */

/* Splits the text in place; the lines are borrowed from it. */
static char **split(char *text, size_t *ret_count)
{
    char **lines = NULL, *rest = text[0] ? text : NULL;
    *ret_count = 0;
    while (rest) {
        mem_grow(lines, *ret_count);
        lines[(*ret_count)++] = strsep(&rest, "\n");
    }
    return lines;
}

/* lengths[i * (n + 1) + k]: of the longest common sequence of the lines from a[i] and from b[k] on.
 * free() it. */
static uint32_t *common_lengths(char *const *a, size_t m, char *const *b, size_t n)
{
    uint32_t *lengths = mem_calloc((m + 1) * (n + 1), sizeof(*lengths));
    for (size_t i = m; i-- > 0;) {
        for (size_t k = n; k-- > 0;) {
            uint32_t *at = &lengths[i * (n + 1) + k], below = at[n + 1], right = at[1];
            *at = text_eq(a[i], b[k]) ? at[n + 2] + 1 : below > right ? below : right;
        }
    }
    return lengths;
}

/* Lines in common are shown near those that differ; between distant ones a hunk ends. */
static void add_with_context(struct writer *w, const struct line *lines, size_t count)
{
    enum { CONTEXT = 3 };
    size_t last = SIZE_MAX; /* the last one that differs, of those before */
    for (size_t i = 0, next = 0; i < count; i++) {
        next = next < i ? i : next;
        while (next < count && lines[next].sign == ' ') {
            next++;
        }
        last = next == i && i < count ? i : last;
        bool is_near =
            (last != SIZE_MAX && i - last <= CONTEXT) || (next < count && next - i <= CONTEXT);
        if (is_near) {
            add_line(w, lines[i].sign, lines[i].text);
        } else if (last != SIZE_MAX && next < count && w->count > 0) {
            write_hunk(w);
        }
        if (!is_near && w->is_file && w->count == 0) {
            w->old_before++;
            w->new_before++;
        }
    }
}

/* What takes more than this many comparisons is shown as replaced. */
enum { COMPARISONS_MAX = 4 << 20 };

/* Those of `m` and `n` lines that differ are compared; common ones at the end only noted. */
static void add_texts(struct writer *w, char *old, char *new)
{
    size_t m, n, i = 0, k = 0, count = 0, n_same = 0;
    cleanup_free char **a = split(old, &m), **b = split(new, &n);
    size_t n_all = m;
    cleanup_free struct line *lines = mem_calloc(m + n + 1, sizeof(*lines));
    while (i < m && i < n && text_eq(a[i], b[i])) {
        lines[count++] = (struct line){' ', a[i++]};
    }
    while (m > i && n > i && text_eq(a[m - 1], b[n - 1])) {
        m--;
        n--;
    }
    n_same = i;
    m -= n_same;
    n -= n_same;
    bool is_compared = m > 1 && n > 1 && m * n <= COMPARISONS_MAX;
    cleanup_free uint32_t *lengths =
        is_compared ? common_lengths(a + n_same, m, b + n_same, n) : NULL;
    for (i = 0; i < m || k < n;) {
        const uint32_t *at = lengths ? &lengths[i * (n + 1) + k] : NULL;
        if (at && i < m && k < n && text_eq(a[n_same + i], b[n_same + k])) {
            lines[count++] = (struct line){' ', a[n_same + i++]};
            k++;
        } else if (i < m && (!at || k == n || at[n + 1] >= at[1])) {
            lines[count++] = (struct line){'-', a[n_same + i++]};
        } else {
            lines[count++] = (struct line){'+', b[n_same + k++]};
        }
    }
    for (i += n_same; i < n_all; i++) {
        lines[count++] = (struct line){' ', a[i]};
    }
    add_with_context(w, lines, count);
}

/* ---- values to lines ---- */

/* Either may be NULL. What reads the same on both sides names a file that was edited. */
static void add_values(
    struct writer *w, const char *field, const json_t *before, const json_t *after)
{
    cleanup_buf struct buf old = BUF_INIT(0), new = BUF_INIT(0);
    cleanup_free char *a = spec_text_digest(before), *b = spec_text_digest(after);
    spec_text_add_node(&old, field, before);
    spec_text_add_node(&new, field, after);
    if (a && b && text_eq(buf_str(&old), buf_str(&new))) {
        buf_printf(&old, " // sha256 %s", a);
        buf_printf(&new, " // sha256 %s", b);
    }
    cleanup_free char *old_text = buf_steal(&old), *new_text = buf_steal(&new);
    add_texts(w, old_text, new_text);
}

/* The entries that `but_of` does not have; NULL: all. The caller owns the list, borrows them. */
static const json_t **entries_of(const json_t *list, const json_t *but_of, size_t *ret_count)
{
    const json_t **entries = mem_calloc(json_array_size(list) + 1, sizeof(*entries));
    *ret_count = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        bool is_there = false;
        for (size_t k = 0; k < json_array_size(but_of) && !is_there; k++) {
            is_there = json_equal(json_array_get(but_of, k), entry);
        }
        if (!is_there) {
            entries[(*ret_count)++] = entry;
        }
    }
    return entries;
}

static void unified_diff_add_change(struct writer *w, const struct spec_change *change)
{
    const json_t *a = change->before_value, *b = change->after_value;
    if (!json_is_array(a) && !json_is_array(b)) {
        add_values(w, change->field, a, b);
        return;
    }
    /* only the entries that one of them lacks; all when merely their order differs */
    size_t m, n;
    cleanup_free const json_t **old = entries_of(a, b, &m), **new = entries_of(b, a, &n);
    if (m + n == 0) {
        free(TAKE_PTR(old));
        free(TAKE_PTR(new));
        old = entries_of(a, NULL, &m);
        new = entries_of(b, NULL, &n);
    }
    for (size_t i = 0; i < m || i < n; i++) {
        add_values(w, change->field, i < m ? old[i] : NULL, i < n ? new[i] : NULL);
    }
}

/* NULL: the VM does not exist on that side. */
static void write_names(struct writer *w, const char *before, const char *after)
{
    if (before) {
        buf_printf(w->out, "--- %s (stored)\n", before);
    } else {
        buf_add_str(w->out, "--- /dev/null\n");
    }
    if (after) {
        buf_printf(w->out, "+++ %s (VMFile)\n", after);
    } else {
        buf_add_str(w->out, "+++ /dev/null\n");
    }
}

void unified_diff_add_whole(
    struct buf *out, const struct vm_spec *spec, bool is_new, bool use_color)
{
    struct writer w = {.out = out,
        .use_color = use_color,
        .heading = is_new ? "create" : "left running (vmctl up --prune destroys it)"};
    struct vm_spec *plain = vm_spec_new(spec->name);
    cleanup_json json_t *name = json_of_text(spec->name);
    cleanup_with(spec_diff_clear) struct spec_diff diff =
        is_new ? spec_diff(plain, spec) : spec_diff(spec, plain);
    write_names(&w, is_new ? NULL : spec->name, is_new ? spec->name : NULL);
    add_values(&w, "vm", is_new ? NULL : name, is_new ? name : NULL);
    for (size_t i = 0; i < diff.count; i++) {
        struct spec_change change = diff.changes[i];
        *(is_new ? &change.before_value : &change.after_value) = NULL; /* the default */
        unified_diff_add_change(&w, &change);
    }
    write_hunk(&w);
    vm_spec_free(plain);
}

void unified_diff_add(
    struct buf *out, const char *name, const struct spec_diff *diff, bool use_color)
{
    struct writer w = {.out = out, .use_color = use_color};
    if (diff->count > 0) {
        write_names(&w, name, name);
    }
    for (size_t i = 0; i < diff->count; i++) {
        w.heading = disposition_name(diff->changes[i].disposition);
        unified_diff_add_change(&w, &diff->changes[i]);
        write_hunk(&w);
    }
}

void unified_diff_add_texts(struct buf *out, const char *before_name, char *before,
    const char *after_name, char *after, bool use_color)
{
    struct writer w = {.out = out, .use_color = use_color, .is_file = true};
    size_t m = strlen(before), n = strlen(after);
    if (text_eq(before, after)) {
        return;
    }
    before[m - (m > 0 && before[m - 1] == '\n')] = '\0'; /* ends the last line, begins none */
    after[n - (n > 0 && after[n - 1] == '\n')] = '\0';
    buf_printf(out, "--- %s\n+++ %s\n", before_name, after_name);
    add_texts(&w, before, after);
    write_hunk(&w);
}
