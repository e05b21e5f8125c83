/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/refused.h"

#include <stdio.h>
#include <stdlib.h>

#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/fleet/fleet_sources.h"
#include "specs/fleet/fleet_spec.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/store.h"

static int refuse_path(
    const struct vm_spec *spec, const char *node, const char *path, struct error *err)
{
    (void)error_set(err, ERR_FLEET_NO_NODE,
        "vm '%s' uses the path '%s', and node '%s' accepts no paths from the fleet", spec->name,
        path, node);
    return error_help(err,
        "name its image by URL, or let the node accept paths: vmctl fleet join --accept "
        "url,cache,path");
}

/* Whether the node has what the image's URL or name gave. */
static int check_cache(const struct member *member, const struct vm_spec *spec, struct error *err)
{
    cleanup_free char *key = spec_image_record_key(&spec->image);
    cleanup_json json_t *record = NULL;
    int rc = store_get_json(member->store, STORE_IMAGES, key, &record, err);
    if (rc == 0 && !record) { /* of a version that had one record for all processors */
        cleanup_free char *old = mem_printf("url:%s", spec->image.location);
        rc = store_get_json(member->store, STORE_IMAGES, old, &record, err);
        if (json_text(record, "arch")) {
            json_decref(TAKE_PTR(record));
        }
    }
    return rc < 0 || record ? rc
                            : error_set(err, ERR_FLEET_NO_NODE,
                                  "node '%s' has no image '%s' for vm '%s', and downloads none",
                                  member->config->node, spec->image.location, spec->name);
}

int refused_check(const struct member *member, const struct vm_desired *object, struct error *err)
{
    const struct vm_spec *spec = object->spec;
    unsigned sources = fleet_sources_read(member->config->accept);
    const char *file = fleet_spec_file(spec), *path = fleet_spec_host_path(spec);
    bool is_fetched = spec->image.kind != IMAGE_FILE && spec->image.location;
    if (object->is_deleting) {
        return 0;
    }
    if (file) {
        return error_set(err, ERR_FLEET_NO_NODE,
            "vm '%s' uses the file '%s', which a VM of the fleet cannot", spec->name, file);
    }
    if (path && !(sources & FLEET_SOURCE_PATH)) {
        return refuse_path(spec, member->config->node, path, err);
    }
    if (is_fetched && !(sources & (FLEET_SOURCE_URL | FLEET_SOURCE_CACHE))) {
        return error_set(err, ERR_FLEET_NO_NODE,
            "node '%s' accepts no images by URL or name from the fleet, such as that of vm '%s'",
            member->config->node, spec->name);
    }
    return is_fetched && !(sources & FLEET_SOURCE_URL) ? check_cache(member, spec, err) : 0;
}

int refused_foresee(
    const struct member *member, const char *node, const struct vm_desired *next, struct error *err)
{
    cleanup_free char *row = fleet_row(FLEET_KIND_NODE, node, NULL);
    cleanup_json json_t *json = mirror_json(member->mirror, row);
    const char *path = next->is_deleting ? NULL : fleet_spec_host_path(next->spec);
    return path && !(fleet_sources_of_node(json) & FLEET_SOURCE_PATH)
               ? refuse_path(next->spec, node, path, err)
               : 0;
}

json_t *refused_entry(
    const struct vm_desired *object, const struct error *why, const json_t *before, int64_t now_ms)
{
    json_t *entry = json_object();
    json_put_text(entry, "uid", object->uid);
    json_put_int(entry, "generation", (int64_t)object->generation);
    json_put_text(entry, "message", why->message);
    json_put_text(entry, "help", why->help[0] ? why->help : NULL);
    json_put_int(entry, "at", before ? json_int(before, "at", now_ms) : now_ms);
    return entry;
}

struct vm_status *refused_status(const json_t *entry, const struct vm_status *status)
{
    const char *message = json_text(entry, "message");
    int64_t at_ms = json_int(entry, "at", 0);
    struct vm_status *next =
        status ? vm_status_copy(status) : vm_status_new(json_text(entry, "uid"));
    next->observed_generation = (uint64_t)json_int(entry, "generation", 0);
    if (!status) {
        vm_status_set(next, CONDITION_READY, CONDITION_FALSE, REASON_NOT_ACCEPTED, message, at_ms);
    }
    vm_status_set(next, CONDITION_SYNCED, CONDITION_FALSE, REASON_NOT_ACCEPTED, message, at_ms);
    vm_status_set(next, CONDITION_STALLED, CONDITION_TRUE, REASON_NOT_ACCEPTED, message, at_ms);
    free(next->blocker.code);
    free(next->blocker.message);
    free(next->blocker.help);
    next->blocker.code = mem_strdup(error_code_name(ERR_FLEET_NO_NODE));
    next->blocker.message = mem_strdup(message);
    next->blocker.help = json_copy_text(entry, "help");
    return next;
}
