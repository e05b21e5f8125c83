/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/parts.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/member.h"
#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/store.h"

#define LINK_ROW "link"

struct link_state {
    struct member *member;
    const char *state; /* as it was written; NULL: not by this messenger */
    char *message;
    int64_t since_ms;
    int64_t revision; /* the highest that was seen of this fleet */
    int64_t restored; /* a lower one that etcd had later; 0: none. It stays, whatever is written
                       * to that etcd since, until the user accepts it */
};

struct link_state *link_state_new(struct member *member)
{
    struct link_state *link = mem_new(struct link_state);
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *stored = NULL;
    link->member = member;
    if (store_get_json(member->store, STORE_FLEET, LINK_ROW, &stored, &err) < 0) {
        log_warn("fleet", "%s", err.message);
    }
    if (text_eq(json_text(stored, "uid"), member->config->uid)) {
        link->revision = json_int(stored, "revision", 0);
        link->restored = json_int(stored, "restored", 0);
    }
    return link;
}

void link_state_free(struct link_state *link)
{
    if (link) {
        free(link->message);
        free(link);
    }
}

static void write_link(struct link_state *link, const struct error *cause)
{
    const struct member *member = link->member;
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *json = json_object();
    json_put_text(json, "state", link->state);
    json_put_int(json, "since", link->since_ms);
    json_put_text(json, "code", cause ? error_code_name(cause->code) : NULL);
    json_put_text(json, "message", link->message);
    json_put_text(json, "help", cause && cause->help[0] ? cause->help : NULL);
    json_put_int(json, "revision", link->revision);
    if (link->restored) {
        json_put_int(json, "restored", link->restored);
    }
    json_put_text(json, "uid", member->config->uid);
    store_batch_put_json(batch, STORE_FLEET, LINK_ROW, json);
    if (store_commit(member->store, batch, &err) < 0) {
        log_warn("fleet", "cannot record the link: %s", err.message);
    }
    error_clear(&err);
    (void)bell_ring(member->paths, BELL_STATUS, &err); /* costs a delay */
    store_batch_free(batch);
}

static void set_state(struct link_state *link, const char *state, const struct error *cause)
{
    const char *message = cause ? cause->message : NULL;
    if (text_eq(link->state, state) && text_eq(link->message, message)) {
        return;
    }
    if (!text_eq(link->state, state)) {
        link->since_ms = clock_wall_ms(loop_clock(link->member->loop));
    }
    free(link->message);
    link->message = mem_strdup(message);
    link->state = state;
    log_info("fleet", "%s%s%s", state, message ? ": " : "", message ? message : "");
    write_link(link, cause);
}

void link_state_up(struct link_state *link)
{
    set_state(link, "up", NULL);
}

void link_state_down(struct link_state *link, const struct error *err)
{
    set_state(link, "down", err);
}

void link_state_frozen(struct link_state *link, const struct error *err)
{
    set_state(link, "frozen", err);
}

/* Only a sign of life: it is not flushed, and may fail. */
static void touch_contact(const struct member *member)
{
    cleanup_free char *path = paths_path(member->paths, FLEET_CONTACT_FILE);
    cleanup_close int fd =
        open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd >= 0) {
        (void)futimens(fd, NULL);
    }
}

void link_state_heard(struct link_state *link, int64_t revision)
{
    link->revision = revision > link->revision ? revision : link->revision;
    touch_contact(link->member);
}

static int refuse_restored(const struct link_state *link, struct error *err)
{
    (void)error_set(err, ERR_FLEET_FROZEN,
        "etcd was restored from an older state: revision %lld, after %lld",
        (long long)link->restored, (long long)link->revision);
    return error_help(err, "to accept it, on each node: vmctl fleet resume --accept etcd");
}

int link_state_check(struct link_state *link, const struct engine_rows *rows, struct error *err)
{
    const struct fleet_config *config = link->member->config;
    cleanup_free char *key = member_key(link->member, "fleet");
    const struct engine_row *row = engine_rows_find(rows, key);
    cleanup_json json_t *json = row ? json_loads(row->value.data, 0, NULL) : NULL;
    if (!row) {
        (void)error_set(
            err, ERR_FLEET_FROZEN, "etcd has no fleet '%s': it was emptied", config->fleet);
        return error_help(err, "to fill it again, on each node: vmctl fleet rebuild");
    }
    if (json_int(json, "v", INT32_MAX) > FLEET_FORMAT) {
        return error_set(err, ERR_FLEET_FROZEN,
            "fleet '%s' has records of a newer vmctl: upgrade this one", config->fleet);
    }
    if (!text_eq(json_text(json, "uid"), config->uid)) {
        return error_set(err, ERR_FLEET_FROZEN,
            "etcd has another fleet named '%s' than the one this host joined", config->fleet);
    }
    if (!link->restored && rows->revision < link->revision) {
        link->restored = rows->revision;
    }
    return link->restored ? refuse_restored(link, err) : 0;
}
