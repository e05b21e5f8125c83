/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/parts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_sources.h"

struct registration {
    struct member *member;
    op_done_fn *changed;
    void *context;
    struct op *op;
    struct loop_timer *renewal;
    struct engine_lease lease;
    bool is_held; /* it is renewed */
    int64_t renewed_ms;
    struct engine_result result;
    char *alive_row, *reg_row, *node_row;
    char *alive, *reg, *node; /* their values */
    char *other_boot;         /* of which alive/N was found instead of ours; NULL: of none */
    int64_t other_since_ms;   /* since when, by the loop's clock … */
    int64_t other_seen_ms;    /* … and when last */
};

static void registration_clear(struct registration *registration)
{
    free(TAKE_PTR(registration->alive));
    free(TAKE_PTR(registration->reg));
    free(TAKE_PTR(registration->node));
    engine_result_clear(&registration->result);
}

void registration_stop(struct registration *registration)
{
    op_cancel(TAKE_PTR(registration->op));
    registration->is_held = false;
    loop_timer_stop(registration->renewal);
    registration_clear(registration);
}

void registration_free(struct registration *registration)
{
    if (registration) {
        registration_stop(registration);
        loop_timer_free(registration->renewal);
        free(registration->alive_row);
        free(registration->reg_row);
        free(registration->node_row);
        free(registration->other_boot);
        free(registration);
    }
}

/* ---- what is said ---- */

/* "ssd=yes,site=x" as an object. */
static json_t *labels_of(const char *text)
{
    json_t *labels = json_object();
    while (text && *text) {
        size_t n = strcspn(text, ","), n_key = strcspn(text, "=");
        if (n_key > 0 && n_key < n) {
            cleanup_free char *key = mem_strndup(text, n_key);
            cleanup_free char *value = mem_strndup(text + n_key + 1, n - n_key - 1);
            json_put_text(labels, key, value);
        }
        text += n + (text[n] == ',');
    }
    return labels;
}

/* What others have set of it (cordoned) stays. free() it. */
static char *text_of_node(const struct registration *registration)
{
    const struct member *member = registration->member;
    cleanup_json json_t *known = mirror_json(member->mirror, registration->node_row);
    cleanup_json json_t *json = known ? json_deep_copy(known) : json_object();
    cleanup_free char *uid = fleet_host_id(member->paths);
    int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    json_put_text(json, "uid", uid);
    json_put_text(json, "ssh", member->config->ssh);
    json_put_text(json, "dataDir", member->paths->data_dir);
    json_put_text(json, "version", VMCTL_VERSION);
    json_put_int(json, "vcpus", sysconf(_SC_NPROCESSORS_ONLN));
    json_put_int(json, "memMib", pages * (page / 1024) / 1024);
    json_put_int(json, "ttl", member->config->ttl_s);
    json_put(json, "labels", labels_of(member->config->labels));
    json_put(json, "accept", fleet_sources_to_json(fleet_sources_read(member->config->accept)));
    json_put_flag(json, "kvm", access("/dev/kvm", R_OK | W_OK) == 0);
    return json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
}

static void make_texts(struct registration *registration)
{
    const struct member *member = registration->member;
    const struct clock *clock = loop_clock(member->loop);
    cleanup_json json_t *alive = json_object(), *reg = json_object();
    json_put_text(alive, "session", member->session);
    json_put_text(alive, "bootId", clock_boot_id(clock));
    json_put_int(alive, "since", clock_wall_ms(clock));
    json_put_text(reg, "session", member->session);
    registration_clear(registration);
    registration->alive = json_dumps(alive, JSON_COMPACT);
    registration->reg = json_dumps(reg, JSON_COMPACT);
    registration->node = text_of_node(registration);
}

/* ---- the steps ---- */

static void registration_fail(struct registration *registration, const struct error *err)
{
    registration_stop(registration);
    registration->changed(registration->context, err);
}

/* Unless the watch reports something earlier (registration_beat()). */
static void await_renewal(struct registration *registration)
{
    registration->is_held = true;
    registration->renewed_ms = loop_now_ms(registration->member->loop);
    loop_timer_start(registration->renewal, registration->lease.ttl_ms * 7 / 15);
}

static void renew(void *context);

static void on_renewed(void *context, const struct error *err)
{
    struct registration *registration = context;
    registration->op = NULL;
    if (err) {
        registration_fail(registration, err);
    } else {
        await_renewal(registration);
    }
}

static void renew(void *context)
{
    struct registration *registration = context;
    struct engine *engine = registration->member->engine;
    registration->op = engine->ops->lease_keep(
        engine, registration->lease.id, &registration->lease, on_renewed, registration);
}

void registration_beat(struct registration *registration)
{
    int64_t age_ms = loop_now_ms(registration->member->loop) - registration->renewed_ms;
    if (registration->is_held && !registration->op && age_ms >= registration->lease.ttl_ms / 4) {
        loop_timer_stop(registration->renewal);
        renew(registration);
    }
}

static void on_written(void *context, const struct error *err)
{
    struct registration *registration = context;
    struct mirror *mirror = registration->member->mirror;
    struct error lost = {.code = ERR_NONE};
    int64_t revision = registration->result.revision;
    registration->op = NULL;
    if (!err && registration->result.outcome == ENGINE_FAILED) {
        (void)error_set(&lost, ERR_FLEET_LEASE, "this node was registered by another process");
        err = &lost;
    }
    if (err) {
        registration_fail(registration, err);
        return;
    }
    mirror_note(mirror, registration->alive_row, registration->alive, revision);
    mirror_note(mirror, registration->reg_row, registration->reg, revision);
    mirror_note(mirror, registration->node_row, registration->node, revision);
    registration_clear(registration);
    await_renewal(registration);
    registration->changed(registration->context, NULL);
}

static void write_rows(struct registration *registration)
{
    struct member *member = registration->member;
    cleanup_free char *alive = member_key(member, registration->alive_row);
    cleanup_free char *reg = member_key(member, registration->reg_row);
    cleanup_free char *node = member_key(member, registration->node_row);
    make_texts(registration);
    const struct engine_compare compares[] = {
        member_if_unchanged(member, registration->alive_row, alive),
        member_if_unchanged(member, registration->node_row, node)};
    struct engine_write writes[] = {member_write(alive, registration->alive),
        member_write(reg, registration->reg), member_write(node, registration->node)};
    writes[0].lease = registration->lease.id;
    const struct engine_txn txn = {.compares = compares,
        .n_compares = ARRAY_LEN(compares),
        .writes = writes,
        .n_writes = ARRAY_LEN(writes)};
    registration->op = member->engine->ops->txn(
        member->engine, &txn, &registration->result, on_written, registration);
}

static void on_granted(void *context, const struct error *err)
{
    struct registration *registration = context;
    registration->op = NULL;
    if (err) {
        registration_fail(registration, err);
    } else {
        write_rows(registration);
    }
}

/* Whether another host has this node's name, even if it is offline: it may be cut off with its VMs
 * running. A user who knows better says so: `vmctl fleet join --force`. */
static bool is_taken(const struct registration *registration)
{
    const struct member *member = registration->member;
    cleanup_free char *uid = fleet_host_id(member->paths);
    cleanup_json json_t *node = mirror_json(member->mirror, registration->node_row);
    return node && !text_eq(json_text(node, "uid"), uid);
}

/* How long alive/N of another boot is there already; -1: it is not. While etcd does not answer its
 * leases do not end either, and all of them begin again with its new leader. */
static int64_t other_age_ms(struct registration *registration)
{
    enum { GAP_MS = 20000 }; /* more than the messenger waits for its next try */
    const struct member *member = registration->member;
    cleanup_json json_t *alive = mirror_json(member->mirror, registration->alive_row);
    int64_t now_ms = loop_now_ms(member->loop), gap_ms = now_ms - registration->other_seen_ms;
    const char *boot = json_text(alive, "bootId");
    if (!member_is_of_other_boot(alive, clock_boot_id(loop_clock(member->loop)))) {
        free(TAKE_PTR(registration->other_boot));
        return -1;
    }
    if (!text_eq(registration->other_boot, boot) || gap_ms > GAP_MS) {
        free(registration->other_boot);
        registration->other_boot = mem_strdup(boot);
        registration->other_since_ms = now_ms;
    }
    registration->other_seen_ms = now_ms;
    return now_ms - registration->other_since_ms;
}

/* Two hosts that are copies of each other have one id. Only one of them can be the node: the one
 * that is online. This host itself, before it was restarted, is gone with its lease; that may be
 * given a second time, by a new leader of etcd. */
static int check_copy(struct registration *registration, struct error *err)
{
    const struct member *member = registration->member;
    const struct fleet_config *config = member->config;
    cleanup_json json_t *node = mirror_json(member->mirror, registration->node_row);
    int64_t age_ms = other_age_ms(registration);
    int64_t ttl_s = json_int(node, "ttl", config->ttl_s);
    if (age_ms < 0) {
        return 0;
    }
    if (age_ms < (ttl_s < FLEET_TTL_MAX_S ? ttl_s : FLEET_TTL_MAX_S) * 2 * 1000) {
        return error_set(err, ERR_FLEET_LEASE,
            "node '%s' still has its registration from before this host's start", config->node);
    }
    (void)error_set(err, ERR_FLEET_FROZEN,
        "another host is node '%s', too: one is a copy, with the other's machine-id", config->node);
    cleanup_free char *key = member_key(member, registration->alive_row);
    return error_help(err,
        "on the copy: vmctl fleet leave --force, then a new /etc/machine-id; if no host is a copy: "
        "etcdctl del %s",
        key);
}

bool registration_holds(const struct registration *registration)
{
    const struct member *member = registration->member;
    cleanup_json json_t *alive = mirror_json(member->mirror, registration->alive_row);
    return text_eq(json_text(alive, "session"), member->session);
}

void registration_start(struct registration *registration)
{
    struct engine *engine = registration->member->engine;
    const struct fleet_config *config = registration->member->config;
    if (is_taken(registration)) {
        struct error err = {.code = ERR_NONE};
        (void)error_set(&err, ERR_FLEET_FROZEN, "another host is node '%s' of fleet '%s'",
            config->node, config->fleet);
        (void)error_help(
            &err, "a name is for one host: vmctl fleet leave, then join --as another name");
        registration_fail(registration, &err);
        return;
    }
    struct error err = {.code = ERR_NONE};
    if (check_copy(registration, &err) < 0) {
        registration_fail(registration, &err);
        return;
    }
    registration->op = engine->ops->lease_grant(
        engine, (int64_t)config->ttl_s * 1000, &registration->lease, on_granted, registration);
}

struct registration *registration_new(struct member *member, op_done_fn *changed, void *context)
{
    struct registration *registration = mem_new(struct registration);
    registration->member = member;
    registration->changed = changed;
    registration->context = context;
    registration->renewal = loop_timer_new(member->loop, renew, registration);
    registration->alive_row = fleet_row(FLEET_KIND_ALIVE, member->config->node, NULL);
    registration->reg_row = fleet_row(FLEET_KIND_REG, member->config->node, NULL);
    registration->node_row = fleet_row(FLEET_KIND_NODE, member->config->node, NULL);
    return registration;
}
