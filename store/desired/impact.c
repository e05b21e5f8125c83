/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/impact.h"

#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/text.h"
#include "specs/vm/backend_traits.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_steps.h"
#include "store/store.h"

const struct vm_status *record_status(const struct vm_record *record)
{
    const struct vm_status *status = record->status;
    return status && record->desired && text_eq(status->uid, record->desired->uid) ? status : NULL;
}

static bool has_instance(const struct vm_record *record)
{
    const struct vm_status *status = record_status(record);
    return status && status->instance.instance_id[0];
}

bool record_has_disk(const struct vm_record *record)
{
    const struct vm_status *status = record_status(record);
    return status && (status->prepared.digest[0] || status->instance.instance_id[0]);
}

/* Whether the steps were run, or will be without another request. */
static bool is_provision_settled(
    const struct vm_record *record, const struct vm_spec *spec, bool runs_appended)
{
    const struct vm_status *status = record_status(record);
    const char *token = record->desired ? record->desired->provision_token : "";
    bool is_requested = token[0] && !(status && text_eq(token, status->handled_provision_token));
    enum steps_state steps =
        status ? vm_steps_state(&status->provision, spec, "") : STEPS_NEVER_RUN;
    return is_requested || (steps == STEPS_APPENDED && runs_appended) ||
           (steps == STEPS_SAME && !status->provision.is_failed) ||
           (status && vm_steps_continue_at(&status->provision, spec) == spec->n_steps + 1);
}

/* The place is where the same bytes are to be had. A file is used where it is: its place matters.
 */
static bool is_same_download(const struct vm_spec *before, const struct vm_spec *after)
{
    const struct spec_image *a = &before->image, *b = &after->image;
    return a->kind == IMAGE_URL && b->kind == IMAGE_URL && a->sha256 &&
           text_eq(a->sha256, b->sha256);
}

/* By what can be seen without reading the image. */
static bool is_same_image(
    const struct vm_record *record, const struct vm_spec *before, const struct vm_spec *after)
{
    const struct vm_status *status = record_status(record);
    const struct spec_image *a = &before->image, *b = &after->image;
    char stamp[DIGEST_SIZE];
    if (a->kind != b->kind || !status) {
        return false;
    }
    bool is_pinned = a->sha256 && text_eq(a->sha256, b->sha256);
    bool is_moved = b->kind == IMAGE_FILE && !b->sha256 && file_stamp(b->location, stamp) &&
                    text_eq(stamp, status->prepared.image_id);
    return is_pinned || is_moved || b->is_of_disk;
}

bool record_has_image(const struct vm_record *record, const struct vm_spec *spec)
{
    const struct vm_status *status = record_status(record);
    const struct vm_prepared *prepared = status ? &status->prepared : NULL;
    const struct spec_image *image = &spec->image;
    char digest[DIGEST_SIZE];
    struct error ignored = {.code = ERR_NONE};
    const struct spec_image *recorded = record->desired ? &record->desired->spec->image : NULL;
    if (recorded && image->sha256 && recorded->sha256 &&
        !text_eq(image->sha256, recorded->sha256)) {
        return false;
    }
    if (prepared && recorded && text_eq(image->location, recorded->location)) {
        enum reason synced = status->conditions[CONDITION_SYNCED].reason; /* vmctld has compared */
        return status->observed_generation >= record->desired->generation &&
               (synced == REASON_SYNCED || synced == REASON_RESTART_REQUIRED ||
                   synced == REASON_PROVISION_OUTDATED);
    }
    bool may_be = prepared && prepared->image_sha256[0] && image->kind == IMAGE_FILE &&
                  fs_size(image->location) == (int64_t)prepared->image_size &&
                  (!image->sha256 || text_eq(image->sha256, prepared->image_sha256));
    return may_be && digest_file(image->location, NULL, digest, &ignored) == 0 &&
           text_eq(digest, prepared->image_sha256);
}

static enum disposition disposition_here(
    const struct vm_record *record, enum disposition of_field, bool is_settled)
{
    bool is_running = has_instance(record);
    enum disposition sooner = is_running ? DISPOSITION_LIVE : DISPOSITION_START;
    switch (of_field) {
    case DISPOSITION_PROVISION:
        return is_settled ? sooner : of_field;
    case DISPOSITION_RESTART:
        return is_running ? of_field : sooner;
    case DISPOSITION_RECREATE:
        return record_has_disk(record) ? of_field : sooner;
    default:
        return of_field;
    }
}

struct spec_diff record_diff(const struct vm_record *record, const struct vm_spec *before,
    const struct vm_spec *after, bool runs_appended)
{
    const struct vm_spec *running = has_instance(record) ? record->status->applied_spec : NULL;
    struct spec_diff diff = spec_diff_on(before, after, running);
    if (running && backend_traits(running->backend)->is_fixed) {
        spec_diff_put_off(&diff);
    }
    if (is_same_download(before, after)) {
        spec_diff_drop_field(&diff, "image");
    }
    bool is_settled = diff.count > 0 && is_provision_settled(record, after, runs_appended);
    diff.strongest = DISPOSITION_LIVE;
    for (size_t i = 0; i < diff.count; i++) {
        enum disposition *disposition = &diff.changes[i].disposition;
        if (text_eq(diff.changes[i].field, "image") && is_same_image(record, before, after)) {
            *disposition = DISPOSITION_LIVE;
        }
        *disposition = disposition_here(record, *disposition, is_settled);
        diff.strongest = *disposition > diff.strongest ? *disposition : diff.strongest;
    }
    return diff;
}
