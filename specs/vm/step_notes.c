/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/step_notes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_steps.h"

enum { ROWS_MAX = 16 };

/* The table without the members that `left_out` names, up to NULL; its rows are put into `rows`. */
static struct fields table_without(
    const struct fields *whole, const char *const left_out[], struct field rows[ROWS_MAX])
{
    size_t n = 0;
    assert(whole->count <= ROWS_MAX);
    for (size_t i = 0; i < whole->count; i++) {
        size_t k = 0;
        while (left_out[k] && !text_eq(left_out[k], whole->rows[i].name)) {
            k++;
        }
        if (!left_out[k]) {
            rows[n++] = whole->rows[i];
        }
    }
    return (struct fields){.rows = rows, .count = n, .size = whole->size};
}

/* Excludes how often the step runs, and for "once" also the bytes of its file, because an edited
 * script is still the step that was to run once. */
void step_content(const struct vm_spec *spec, uint32_t index, char *ret_hex)
{
    static const char *const of_step[] = {"run", "timeoutSeconds", "perVm", NULL};
    static const char *const of_file[] = {"digest", NULL};
    struct field rows[ROWS_MAX], file_rows[ROWS_MAX];
    struct fields file;
    char hex[DIGEST_SIZE];
    const void *owner;
    const struct field *steps = fields_find(&vm_spec_fields, spec, "provision", &owner);
    struct fields step = table_without(steps->fields, of_step, rows);
    for (size_t i = 0; i < step.count && spec->steps[index].run == RUN_ONCE; i++) {
        if (text_eq(rows[i].name, "file")) {
            file = table_without(rows[i].fields, of_file, file_rows);
            rows[i].fields = &file;
        }
    }
    cleanup_buf struct buf text = BUF_INIT(0);
    struct json_writer writer = {.out = &text, .is_sorted = true};
    fields_write(&step, &spec->steps[index], &writer);
    digest_text(buf_str(&text), hex);
    memcpy(ret_hex, hex, STEP_CONTENT_SIZE - 1);
    ret_hex[STEP_CONTENT_SIZE - 1] = '\0';
}

/* A note of `done`: " once:CONTENT " by content, " 3:CONTENT " by the step's place. free() it. */
static char *note_of(const struct vm_spec *spec, uint32_t index, const char *secrets)
{
    char content[STEP_CONTENT_SIZE];
    step_content(spec, index, content);
    return spec->steps[index].run == RUN_ONCE ? mem_printf(" once:%s ", content)
           : secrets[0]                       ? mem_printf(" %u:%s.%.16s ", index, content, secrets)
                                              : mem_printf(" %u:%s ", index, content);
}

/* NULL: none is looked for, and none is left. */
static char *note_that_counts(const struct vm_spec *spec, uint32_t index, const char *secrets)
{
    enum step_run run = spec->steps[index].run;
    bool counts = run == RUN_ONCE || (run == RUN_ON_CHANGE && secrets);
    return counts ? note_of(spec, index, secrets) : NULL;
}

bool step_is_done(const struct vm_provision *provision, const struct vm_spec *spec, uint32_t index,
    const char *secrets)
{
    cleanup_free char *note = note_that_counts(spec, index, secrets);
    return note && provision->done && strstr(provision->done, note) != NULL;
}

/* The note of the last success of a step at this place. */
static void drop_note_at(char *done, uint32_t index)
{
    cleanup_free char *place = mem_printf(" %u:", index);
    char *old = strstr(done, place);
    char *end = old ? strchr(old + 1, ' ') : NULL;
    if (end) {
        memmove(old, end + 1, strlen(end + 1) + 1);
    }
}

void step_mark_done(
    struct vm_provision *provision, const struct vm_spec *spec, uint32_t index, const char *secrets)
{
    cleanup_free char *note = note_that_counts(spec, index, secrets);
    cleanup_free char *before = TAKE_PTR(provision->done);
    if (before) {
        drop_note_at(before, index);
    }
    provision->done = !note                            ? TAKE_PTR(before)
                      : before && strstr(before, note) ? TAKE_PTR(before)
                      : before                         ? mem_printf("%s%s", before, note)
                                                       : TAKE_PTR(note);
}

/* ---- what is going to run ---- */

/* Of steps that will run on another disk than those before nothing is known. */
static bool *find_skipped(
    const struct vm_desired *desired, const struct vm_status *status, uint32_t asked_step)
{
    const struct vm_spec *spec = desired->spec;
    if (!status || !text_eq(desired->recreate_token, status->handled_recreate_token)) {
        return NULL;
    }
    bool *skips = mem_calloc(spec->n_steps, sizeof(*skips));
    for (uint32_t i = 0; i < spec->n_steps; i++) {
        skips[i] = i + 1 != asked_step && spec->steps[i].run == RUN_ONCE &&
                   step_is_done(&status->provision, spec, i, NULL);
    }
    return skips;
}

uint32_t steps_due(
    const struct vm_desired *desired, const struct vm_status *status, bool **ret_skips)
{
    uint32_t n_steps = (uint32_t)desired->spec->n_steps, asked = desired->provision_from;
    bool is_requested =
        desired->provision_token[0] &&
        !(status && text_eq(desired->provision_token, status->handled_provision_token));
    *ret_skips = NULL;
    if (n_steps == 0 || desired->is_deleting) {
        return n_steps;
    }
    if (is_requested) {
        asked = asked <= n_steps ? asked : 0;
        *ret_skips = find_skipped(desired, status, asked);
        return asked > 0 ? asked - 1 : 0;
    }
    if (status && (vm_steps_are_under_way(&status->provision) ||
                      vm_steps_state(&status->provision, desired->spec, desired->skipped_steps) ==
                          STEPS_APPENDED)) {
        *ret_skips = find_skipped(desired, status, status->provision.asked_step);
        return status->provision.next_step;
    }
    return n_steps;
}
