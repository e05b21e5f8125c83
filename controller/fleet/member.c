/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/member.h"

#include <string.h>

#include "controller/fleet/mirror.h"
#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/fleet/fleet_config.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/store.h"

char *member_key(const struct member *member, const char *row)
{
    return mem_printf("%s%s", member->prefix, row);
}

struct engine_write member_write(const char *key, const char *text)
{
    return (struct engine_write){.kind = text ? ENGINE_PUT : ENGINE_DELETE,
        .key = key,
        .value = {text ? text : "", text ? strlen(text) : 0}};
}

struct engine_compare member_if_unchanged(
    const struct member *member, const char *row, const char *key)
{
    const struct mirror_row *known = mirror_get(member->mirror, row);
    return (struct engine_compare){.condition = known ? ENGINE_IF_REVISION : ENGINE_IF_ABSENT,
        .key = key,
        .revision = known ? known->mod_revision : 0};
}

void member_note_rows(const struct member *member, const struct strings *rows,
    const struct strings *texts, int64_t revision)
{
    for (size_t i = 0; i < rows->count; i++) {
        const char *text = texts->items[i];
        mirror_note(member->mirror, rows->items[i], text[0] ? text : NULL, revision);
    }
}

int member_check_node(const struct member *member, const char *node, struct error *err)
{
    cleanup_free char *node_row = fleet_row(FLEET_KIND_NODE, node, NULL);
    cleanup_free char *alive_row = fleet_row(FLEET_KIND_ALIVE, node, NULL);
    cleanup_json json_t *json = mirror_json(member->mirror, node_row);
    if (!json) {
        return error_set(
            err, ERR_FLEET_NO_NODE, "fleet '%s' has no node '%s'", member->config->fleet, node);
    }
    if (!mirror_get(member->mirror, alive_row)) {
        return error_set(err, ERR_FLEET_NODE_LOST, "node '%s' is offline", node);
    }
    if (json_flag(json, "cordoned", false)) {
        (void)error_set(err, ERR_FLEET_NO_NODE, "node '%s' takes no new VMs", node);
        return error_help(err, "to let it take new VMs again: vmctl fleet uncordon %s", node);
    }
    return 0;
}

bool member_is_of_other_boot(const json_t *alive, const char *boot_id)
{
    const char *other = json_text(alive, "bootId");
    return other && other[0] && boot_id[0] && !text_eq(other, boot_id);
}

bool member_answer(
    const struct member *member, const char *row, const json_t *ask, const json_t *answers)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *answered = json_object();
    json_put_int(answered, "at", json_int(ask, "at", 0));
    json_put(answered, "answers", json_deep_copy(answers));
    store_batch_expect_json(batch, STORE_FLEET, row, ask);
    store_batch_put_json(batch, STORE_FLEET, row, answered);
    int rc = store_commit(member->store, batch, &err);
    if (rc < 0 && rc != -ERR_STORE_STALE) {
        log_warn("fleet", "cannot answer a request: %s", err.message);
    }
    error_clear(&err);
    (void)bell_ring(member->paths, BELL_STATUS, &err); /* costs a delay */
    store_batch_free(batch);
    return rc == 0 || rc == -ERR_STORE_STALE;
}
