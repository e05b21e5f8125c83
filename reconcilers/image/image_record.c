/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_record.h"

#include "controller/reconciler.h"
#include "reconcilers/fetch/oci_reference.h"
#include "reconcilers/fetch/published.h"
#include "reconcilers/image/image_work.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/image_format.h"

json_t *image_record_new(
    struct reconciler_host *host, const struct image_work *work, const struct oci_layer *layer)
{
    bool was_looked_up = work->image.kind == IMAGE_NAME && layer->url;
    cleanup_free char *published = was_looked_up ? published_text(layer) : NULL;
    cleanup_free char *key = spec_image_record_key(&work->image);
    cleanup_json json_t *known = host->image_record(host, key);
    if (text_eq(json_text(known, "sha256"), work->id) &&
        (!published || text_eq(json_text(known, "published"), published)) &&
        (!work->etag || text_eq(json_text(known, "etag"), work->etag))) {
        return NULL;
    }
    json_t *record = json_object();
    char now[CLOCK_TEXT_SIZE];
    clock_format_utc(clock_wall_ms(host->clock), now);
    json_put_text(record, "url", work->image.location);
    json_put_text(record, "arch",
        oci_is_reference(work->image.location) ? arch_machine(work->image.arch) : NULL);
    json_put_text(record, "from", published ? layer->url : NULL);
    json_put_text(record, "published", published);
    json_put_text(record, "etag", work->etag);
    json_put_text(record, "sha256", work->id);
    json_put_text(record, "path", work->path);
    json_put_text(record, "format", image_format_name(work->info.format));
    json_put_int(record, "size", fs_size(work->path));
    json_put_text(record, "downloadedAt", now);
    return record;
}
