/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/unified_diff.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/spec_diff.h"

/* The lines of one side of a hunk. */
struct side {
    char **lines; /* owned */
    size_t count;
    size_t before; /* lines of this side in the hunks before */
};

struct writer {
    struct buf *out;
    bool use_color;
    struct side old, new;
};

static void side_clear(struct side *side)
{
    for (size_t i = 0; i < side->count; i++) {
        free(side->lines[i]);
    }
    free(TAKE_PTR(side->lines));
    side->before += side->count;
    side->count = 0;
}

/* ---- values to lines ---- */

static void unified_diff_add_line(struct side *side, const char *field, char *value_take)
{
    cleanup_free char *value = value_take;
    mem_grow(side->lines, side->count);
    side->lines[side->count++] = mem_printf("%s %s", field, value);
}

/* One line: a newline in a value would begin a line of the diff. */
static char *in_a_line(const char *words, const json_t *value)
{
    return strchr(words, '\n') ? json_canonical(value) : mem_strdup(words);
}

static bool has_entry(const json_t *list, const json_t *wanted)
{
    bool is_there = false;
    for (size_t i = 0; i < json_array_size(list) && !is_there; i++) {
        is_there = json_equal(json_array_get(list, i), wanted);
    }
    return is_there;
}

/* The entries that `but_of` does not have; NULL: all. */
static void add_entries(
    struct side *side, const char *field, const json_t *list, const json_t *but_of)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        if (!has_entry(but_of, entry)) {
            unified_diff_add_line(side, field,
                json_is_string(entry) ? in_a_line(json_string_value(entry), entry)
                                      : json_canonical(entry));
        }
    }
}

static void unified_diff_add_change(struct writer *w, const struct spec_change *change)
{
    const json_t *a = change->before_value, *b = change->after_value;
    if (json_is_array(a) || json_is_array(b)) {
        /* only the entries that one of them lacks; all when merely their order differs */
        add_entries(&w->old, change->field, a, b);
        add_entries(&w->new, change->field, b, a);
        if (w->old.count + w->new.count == 0) {
            add_entries(&w->old, change->field, a, NULL);
            add_entries(&w->new, change->field, b, NULL);
        }
        return;
    }
    if (a) {
        unified_diff_add_line(&w->old, change->field, in_a_line(change->before, a));
    }
    if (b) {
        unified_diff_add_line(&w->new, change->field, in_a_line(change->after, b));
    }
}

/* ---- lines to text ---- */

static void write_line(struct writer *w, const char *color, char sign, const char *line)
{
    buf_add_str(w->out, w->use_color ? color : "");
    buf_add_char(w->out, sign);
    text_add_printable(w->out, line, strlen(line));
    buf_add_str(w->out, w->use_color ? "\033[0m\n" : "\n");
}

/* "3", "3,2"; of no lines the line before: "2,0". */
static void write_range(struct buf *out, const struct side *side)
{
    buf_printf(out, "%zu", side->before + (side->count > 0));
    if (side->count != 1) {
        buf_printf(out, ",%zu", side->count);
    }
}

static void write_hunk(struct writer *w, const char *heading)
{
    buf_add_str(w->out, w->use_color ? "\033[36m@@ -" : "@@ -");
    write_range(w->out, &w->old);
    buf_add_str(w->out, " +");
    write_range(w->out, &w->new);
    buf_printf(w->out, " @@%s %s\n", w->use_color ? "\033[0m" : "", heading);
    for (size_t i = 0; i < w->old.count; i++) {
        write_line(w, "\033[31m", '-', w->old.lines[i]);
    }
    for (size_t i = 0; i < w->new.count; i++) {
        write_line(w, "\033[32m", '+', w->new.lines[i]);
    }
    side_clear(&w->old);
    side_clear(&w->new);
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
    struct writer w = {.out = out, .use_color = use_color};
    struct side *side = is_new ? &w.new : &w.old, *defaults = is_new ? &w.old : &w.new;
    struct vm_spec *plain = vm_spec_new(spec->name);
    cleanup_with(spec_diff_clear) struct spec_diff diff =
        is_new ? spec_diff(plain, spec) : spec_diff(spec, plain);
    write_names(&w, is_new ? NULL : spec->name, is_new ? spec->name : NULL);
    unified_diff_add_line(side, "vm", mem_strdup(spec->name));
    for (size_t i = 0; i < diff.count; i++) {
        unified_diff_add_change(&w, &diff.changes[i]);
    }
    side_clear(defaults);
    defaults->before = 0;
    write_hunk(&w, is_new ? "create" : "left running (vmctl up --prune destroys it)");
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
        unified_diff_add_change(&w, &diff->changes[i]);
        write_hunk(&w, disposition_name(diff->changes[i].disposition));
    }
}
