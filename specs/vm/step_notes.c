/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/step_notes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_steps.h"

/* Excludes how often the step runs, and for "once" also the bytes of its file, because an edited
 * script is still the step that was to run once. */
void step_content(const struct vm_spec *spec, uint32_t index, char *ret_hex)
{
    char hex[DIGEST_SIZE];
    struct vm_spec alone = *spec; /* shares all with it */
    alone.steps = &spec->steps[index];
    alone.n_steps = 1;
    cleanup_json json_t *steps = vm_steps_to_json(&alone);
    json_t *step = json_array_get(steps, 0);
    (void)json_object_del(step, "run");
    (void)json_object_del(step, "timeoutSeconds");
    (void)json_object_del(step, "perVm");
    if (spec->steps[index].run == RUN_ONCE) {
        (void)json_object_del(json_object_get(step, "file"), "digest");
    }
    cleanup_free char *text = json_canonical(step);
    digest_text(text, hex);
    (void)snprintf(ret_hex, STEP_CONTENT_SIZE, "%.*s", STEP_CONTENT_SIZE - 1, hex);
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
