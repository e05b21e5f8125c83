/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/step_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

/* Without how often it runs, and for "once" without the bytes of its file, because an edited script
 * is still the step that was to run once. */
void step_content(const struct vm_spec *spec, uint32_t index, char *ret_hex)
{
    char hex[DIGEST_SIZE];
    cleanup_json json_t *json = vm_spec_to_json(spec);
    json_t *step = json_array_get(json_object_get(json, "provision"), index);
    (void)json_object_del(step, "run");
    (void)json_object_del(step, "timeoutSeconds");
    if (spec->steps[index].run == RUN_ONCE) {
        (void)json_object_del(json_object_get(step, "file"), "digest");
    }
    cleanup_free char *text = json_canonical(step);
    digest_text(text, hex);
    (void)snprintf(ret_hex, STEP_CONTENT_SIZE, "%.*s", STEP_CONTENT_SIZE - 1, hex);
}

/* A note of `done`: " once:CONTENT " by content, " 3:CONTENT " by the step's place. free() it. */
static char *note_of(const struct vm_spec *spec, uint32_t index)
{
    char content[STEP_CONTENT_SIZE];
    step_content(spec, index, content);
    return spec->steps[index].run == RUN_ONCE ? mem_printf(" once:%s ", content)
                                              : mem_printf(" %u:%s ", index, content);
}

bool step_is_done(const struct vm_provision *provision, const struct vm_spec *spec, uint32_t index)
{
    if (!provision->done || spec->steps[index].run == RUN_ALWAYS) {
        return false;
    }
    cleanup_free char *note = note_of(spec, index);
    return strstr(provision->done, note) != NULL;
}

/* Takes out the note of the step's last success at this place. */
static void drop_place(char *done, uint32_t index)
{
    cleanup_free char *prefix = mem_printf(" %u:", index);
    char *old = strstr(done, prefix);
    char *end = old ? strchr(old + 1, ' ') : NULL;
    if (end) {
        memmove(old, end + 1, strlen(end + 1) + 1);
    }
}

void step_mark_done(struct vm_provision *provision, const struct vm_spec *spec, uint32_t index)
{
    if (spec->steps[index].run == RUN_ALWAYS || step_is_done(provision, spec, index)) {
        return;
    }
    cleanup_free char *before = provision->done ? TAKE_PTR(provision->done) : mem_strdup("");
    cleanup_free char *note = note_of(spec, index);
    drop_place(before, index);
    provision->done = mem_printf("%s%s", before, note);
}
