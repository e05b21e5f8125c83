/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_steps.h"

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

void vm_steps_digest(const struct vm_spec *spec, size_t n, char *ret_hex)
{
    const void *owner;
    struct vm_spec first = *spec; /* shares all with it */
    cleanup_free struct spec_step *plain = NULL;
    first.n_steps = n < spec->n_steps ? n : spec->n_steps;
    for (size_t i = 0; i < first.n_steps; i++) {
        if (first.steps[i].is_per_vm) { /* says where it runs, not what it does */
            plain = plain ? plain : mem_dup(spec->steps, first.n_steps * sizeof(*plain));
            first.steps = plain;
            plain[i].is_per_vm = false;
        }
    }
    const struct field *steps = fields_find(&vm_spec_fields, &first, "provision", &owner);
    cleanup_free char *text = field_to_text(steps, owner);
    digest_text(text, ret_hex);
}

bool vm_steps_are_under_way(const struct vm_provision *provision)
{
    return !provision->is_failed && provision->next_step < provision->total;
}

/* The empty list begins every list; most VMs have no steps, and every pass calls this. */
static bool is_digest_of(const char *digest, const struct vm_spec *spec, size_t n)
{
    char actual[DIGEST_SIZE];
    if (n == 0 || n > spec->n_steps || !digest[0]) {
        return n == 0;
    }
    vm_steps_digest(spec, n, actual);
    return text_eq(digest, actual);
}

enum steps_state vm_steps_state(
    const struct vm_provision *provision, const struct vm_spec *spec, const char *left_out)
{
    if (!provision->digest[0]) {
        return STEPS_NEVER_RUN;
    }
    if (!is_digest_of(provision->digest, spec, provision->total)) {
        return STEPS_CHANGED;
    }
    if (spec->n_steps == provision->total) {
        return STEPS_SAME;
    }
    if (provision->is_failed) {
        return STEPS_CHANGED;
    }
    return is_digest_of(left_out, spec, spec->n_steps) ? STEPS_LEFT_OUT : STEPS_APPENDED;
}

uint32_t vm_steps_continue_at(const struct vm_provision *provision, const struct vm_spec *spec)
{
    uint32_t n = provision->next_step;
    bool continues = provision->is_failed && provision->is_continued &&
                     is_digest_of(provision->ran_digest, spec, n);
    return continues ? n + 1 : 0;
}
