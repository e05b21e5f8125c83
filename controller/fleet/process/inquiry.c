/* SPDX-License-Identifier: MPL-2.0 */
/* fleet_process_ask(): asks etcd once, without a store. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/etcd/etcd.h"
#include "controller/fleet/member.h"
#include "controller/fleet/process/fleet_process.h"
#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"

enum { INPUT_MAX = 64 * 1024, LIMIT_MS = 8000 };

struct inquiry {
    struct loop *loop;
    struct engine *engine;
    const struct fleet_config *config;
    char *host; /* fleet_host_id() of this one */
    json_t *answer;
    struct error err;
    struct engine_status status;
    struct engine_rows rows;
    struct engine_result result;
};

static void on_answer(void *context, const struct error *err)
{
    struct inquiry *inquiry = context;
    if (err) {
        inquiry->err = *err;
    }
    loop_stop(inquiry->loop);
}

/* Each member for itself: one that does not answer is no error of the whole. */
static void ask_members(struct inquiry *inquiry)
{
    struct engine *engine = inquiry->engine;
    json_t *members = json_array();
    for (size_t i = 0; i < inquiry->config->n_endpoints; i++) {
        const char *endpoint = inquiry->config->endpoints[i];
        json_t *member = json_object();
        inquiry->err = (struct error){.code = ERR_NONE};
        (void)engine->ops->status(engine, endpoint, &inquiry->status, on_answer, inquiry);
        loop_run(inquiry->loop);
        json_put_text(member, "endpoint", endpoint);
        json_put_text(member, "error", inquiry->err.code ? inquiry->err.message : NULL);
        if (!inquiry->err.code) {
            json_put_text(member, "version", inquiry->status.version);
            json_put_int(member, "bytes", inquiry->status.size_bytes);
            json_put_flag(member, "full", inquiry->status.is_full);
            json_put_flag(member, "leader", inquiry->status.leader == inquiry->status.member);
            json_put_flag(member, "hasLeader", inquiry->status.leader != 0);
        }
        (void)json_array_append_new(members, member);
    }
    json_put(inquiry->answer, "members", members);
}

/* The value of a row; *ret is NULL: there is none. Caller owns. */
static int read_row(struct inquiry *inquiry, const char *key, json_t **ret)
{
    struct engine *engine = inquiry->engine;
    const struct engine_range range = {.key = key};
    inquiry->err = (struct error){.code = ERR_NONE};
    (void)engine->ops->range(engine, &range, &inquiry->rows, on_answer, inquiry);
    loop_run(inquiry->loop);
    const struct engine_row *row = inquiry->err.code ? NULL : engine_rows_find(&inquiry->rows, key);
    *ret = row ? json_loads(row->value.data, 0, NULL) : NULL;
    return -(int)inquiry->err.code;
}

/* Puts the row if all of these hold: 0, 1 if one does not, or the error of the inquiry. */
static int put_if(struct inquiry *inquiry, const struct engine_compare *compares, size_t n,
    const char *key, const json_t *json)
{
    struct engine *engine = inquiry->engine;
    cleanup_free char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    const struct engine_write write = {
        .kind = ENGINE_PUT, .key = key, .value = {text, strlen(text)}};
    const struct engine_txn txn = {
        .compares = compares, .n_compares = n, .writes = &write, .n_writes = 1};
    (void)engine->ops->txn(engine, &txn, &inquiry->result, on_answer, inquiry);
    loop_run(inquiry->loop);
    return inquiry->err.code ? -(int)inquiry->err.code
                             : inquiry->result.outcome != ENGINE_SUCCEEDED;
}

static json_t *fleet_to_json(const struct inquiry *inquiry, const char *uid)
{
    json_t *json = json_object();
    json_put_int(json, "v", FLEET_FORMAT);
    json_put_text(json, "uid", uid);
    json_put_text(json, "name", inquiry->config->fleet);
    return json;
}

static int make_fleet(struct inquiry *inquiry, const char *key, char *ret_uid)
{
    digest_random_id(ret_uid);
    cleanup_json json_t *json = fleet_to_json(inquiry, ret_uid);
    const struct engine_compare compare = {.condition = ENGINE_IF_ABSENT, .key = key};
    int rc = put_if(inquiry, &compare, 1, key, json);
    return rc > 0 ? error_set(&inquiry->err, ERR_VM_CONFLICT,
                        "fleet '%s' was just made by another host", inquiry->config->fleet)
                  : rc;
}

static int find_fleet(struct inquiry *inquiry, bool makes)
{
    cleanup_free char *prefix = fleet_prefix(inquiry->config->fleet);
    cleanup_free char *key = mem_printf("%sfleet", prefix);
    cleanup_json json_t *fleet = NULL;
    char uid[TEXT_ID_SIZE];
    int rc = read_row(inquiry, key, &fleet);
    if (rc < 0) {
        return rc;
    }
    if (makes && fleet) {
        (void)error_set(&inquiry->err, ERR_VM_CONFLICT, "there is a fleet '%s' in that etcd",
            inquiry->config->fleet);
        return error_help(&inquiry->err, "join it: vmctl fleet join, with the same options");
    }
    if (makes) {
        rc = make_fleet(inquiry, key, uid);
        json_put_text(inquiry->answer, "uid", rc == 0 ? uid : NULL);
        return rc;
    }
    if (!fleet) {
        (void)error_set(&inquiry->err, ERR_FLEET_CONFIG, "there is no fleet '%s' in that etcd",
            inquiry->config->fleet);
        return error_help(
            &inquiry->err, "on the first node: vmctl fleet init; its name: --fleet NAME");
    }
    if (json_int(fleet, "v", INT32_MAX) > FLEET_FORMAT) {
        return error_set(&inquiry->err, ERR_FLEET_CONFIG,
            "fleet '%s' is of a newer vmctl: upgrade this one", inquiry->config->fleet);
    }
    if (inquiry->config->uid && !text_eq(json_text(fleet, "uid"), inquiry->config->uid)) {
        return error_set(&inquiry->err, ERR_FLEET_FROZEN,
            "etcd has another fleet named '%s' than the one this host joined",
            inquiry->config->fleet);
    }
    json_put_text(inquiry->answer, "uid", json_text(fleet, "uid"));
    return 0;
}

/* In an etcd that was emptied the fleet is made again, as the one that this host has joined. */
static int remake_fleet(struct inquiry *inquiry)
{
    cleanup_free char *prefix = fleet_prefix(inquiry->config->fleet);
    cleanup_free char *key = mem_printf("%sfleet", prefix);
    const struct engine_compare compare = {.condition = ENGINE_IF_ABSENT, .key = key};
    cleanup_json json_t *json = fleet_to_json(inquiry, inquiry->config->uid);
    int rc = put_if(inquiry, &compare, 1, key, json);
    engine_result_clear(&inquiry->result);
    return rc < 0 ? rc : find_fleet(inquiry, false);
}

/* Whether there is a row `kind`/N/: what is behind that is in the error. */
static int check_none(struct inquiry *inquiry, const char *prefix, const char *kind,
    const char *what, const char *help)
{
    struct engine *engine = inquiry->engine;
    cleanup_free char *rows = mem_printf("%s%s/%s/", prefix, kind, inquiry->config->node);
    const struct engine_range range = {
        .key = rows, .is_prefix = true, .limit = 1, .has_keys_only = true};
    engine_rows_clear(&inquiry->rows);
    (void)engine->ops->range(engine, &range, &inquiry->rows, on_answer, inquiry);
    loop_run(inquiry->loop);
    if (!inquiry->err.code && inquiry->rows.n > 0) {
        const char *name = inquiry->rows.rows[0].key + strlen(rows);
        (void)error_set(&inquiry->err, ERR_VM_INVALID_STATE, "node '%s' %s: '%s'",
            inquiry->config->node, what, name);
        return error_help(&inquiry->err, "%s", help);
    }
    return -(int)inquiry->err.code;
}

/* A node that has VMs of the fleet, or gets one, does not leave it; nor one that has not ended yet
 * what was given to others: that would be its own, and run on. */
static int check_unused(struct inquiry *inquiry, const char *prefix, bool is_other)
{
    int rc = check_none(
        inquiry, prefix, "vm", "has VMs of the fleet", "destroy them first; all VMs: vmctl list");
    rc = rc == 0 ? check_none(inquiry, prefix, "in", "gets VMs of other nodes",
                       "wait for them; or: vmctl move --cancel VM")
                 : rc;
    return rc == 0 && !is_other
               ? check_none(inquiry, prefix, "gone",
                     "still has VMs to end that other nodes have now",
                     "wait for that: vmctl controller start, then the command again")
               : rc;
}

/* node/N is of this host, or there is none; *ret_revision is the row's. What is known of the other
 * one is in the error. */
static int check_host(struct inquiry *inquiry, const char *key, int64_t *ret_revision)
{
    cleanup_json json_t *node = NULL;
    engine_rows_clear(&inquiry->rows);
    int rc = read_row(inquiry, key, &node);
    const struct engine_row *row = rc == 0 ? engine_rows_find(&inquiry->rows, key) : NULL;
    const char *ssh = json_text(node, "ssh"), *dir = json_text(node, "dataDir");
    *ret_revision = row ? row->mod_revision : 0;
    if (!row || text_eq(json_text(node, "uid"), inquiry->host)) {
        return rc;
    }
    return error_set(&inquiry->err, ERR_VM_CONFLICT,
        "another host is node '%s' of fleet '%s': %s, with the data directory %s",
        inquiry->config->node, inquiry->config->fleet, ssh ? ssh : "?", dir ? dir : "?");
}

/* A copy of this host has the same id: that one, or this host before it was restarted, is online as
 * the node. */
static int check_copy(struct inquiry *inquiry, const char *prefix)
{
    const char *node = inquiry->config->node;
    cleanup_free char *key = mem_printf("%salive/%s", prefix, node);
    cleanup_json json_t *alive = NULL;
    engine_rows_clear(&inquiry->rows);
    int rc = read_row(inquiry, key, &alive);
    if (rc < 0 || !member_is_of_other_boot(alive, clock_boot_id(clock_system()))) {
        return rc;
    }
    (void)error_set(&inquiry->err, ERR_VM_CONFLICT,
        "node '%s' is online, on a host with this one's machine-id and data directory", node);
    return error_help(&inquiry->err,
        "if this host was just restarted, again in %u s; if it is a copy, give it its own "
        "/etc/machine-id and --as NAME",
        (unsigned)inquiry->config->ttl_s);
}

/* The user says that the other host is gone for good: done only while that is offline. */
static int take_node(
    struct inquiry *inquiry, const char *prefix, const char *node_key, int64_t revision)
{
    const struct engine_row *row = engine_rows_find(&inquiry->rows, node_key);
    cleanup_free char *alive_key = mem_printf("%salive/%s", prefix, inquiry->config->node);
    cleanup_json json_t *node = json_loads(row->value.data, 0, NULL);
    if (!json_is_object(node)) {
        json_decref(node);
        node = json_object();
    }
    json_put_text(node, "uid", inquiry->host);
    const struct engine_compare compares[] = {
        {.condition = ENGINE_IF_REVISION, .key = node_key, .revision = revision},
        {.condition = ENGINE_IF_ABSENT, .key = alive_key}};
    int rc = put_if(inquiry, compares, ARRAY_LEN(compares), node_key, node);
    if (rc > 0) {
        (void)error_set(&inquiry->err, ERR_VM_CONFLICT, "another host is node '%s', and is online",
            inquiry->config->node);
        return error_help(&inquiry->err, "give this one another name: --as NAME");
    }
    return rc;
}

/* Two hosts of one name would both run its VMs. */
static int claim_node(struct inquiry *inquiry, bool is_forced)
{
    int64_t revision;
    cleanup_free char *prefix = fleet_prefix(inquiry->config->fleet);
    cleanup_free char *key = mem_printf("%snode/%s", prefix, inquiry->config->node);
    int rc = check_host(inquiry, key, &revision);
    if (rc == -ERR_VM_CONFLICT && is_forced) {
        error_clear(&inquiry->err);
        return take_node(inquiry, prefix, key, revision);
    }
    if (rc == 0) {
        return check_copy(inquiry, prefix);
    }
    return rc == -ERR_VM_CONFLICT
               ? error_help(&inquiry->err,
                     "give this one another name: --as NAME; if that host is gone for good: "
                     "vmctl fleet join --force")
               : rc;
}

/* Removes this host's node if the name is its own, or another node while that is offline: one that
 * is online would register again. */
static int remove_node(struct inquiry *inquiry, bool is_other)
{
    enum { ROWS = 5 };
    struct engine *engine = inquiry->engine;
    const char *node = inquiry->config->node;
    int64_t revision = 0;
    cleanup_free char *prefix = fleet_prefix(inquiry->config->fleet);
    cleanup_free char *node_key = mem_printf("%snode/%s", prefix, node);
    cleanup_free char *alive_key = mem_printf("%salive/%s", prefix, node);
    cleanup_free char *reg_key = mem_printf("%sreg/%s", prefix, node);
    cleanup_free char *hold_key = mem_printf("%shold/%s", prefix, node);
    cleanup_free char *status_key = mem_printf("%sst/%s/", prefix, node);
    const struct engine_write writes[ROWS] = {
        {.kind = ENGINE_DELETE, .key = node_key},
        {.kind = ENGINE_DELETE, .key = alive_key},
        {.kind = ENGINE_DELETE, .key = reg_key},
        {.kind = ENGINE_DELETE, .key = hold_key},
        {.kind = ENGINE_DELETE_PREFIX, .key = status_key},
    };
    int rc = is_other ? 0 : check_host(inquiry, node_key, &revision);
    if (rc == -ERR_VM_CONFLICT) { /* it never was that node: none of the rows are its own */
        error_clear(&inquiry->err);
        return 0;
    }
    const struct engine_compare if_lost = {.condition = ENGINE_IF_ABSENT, .key = alive_key};
    const struct engine_compare if_ours = {
        .condition = revision ? ENGINE_IF_REVISION : ENGINE_IF_ABSENT,
        .key = node_key,
        .revision = revision};
    const struct engine_txn txn = {.compares = is_other ? &if_lost : &if_ours,
        .n_compares = 1,
        .writes = writes,
        .n_writes = ROWS};
    rc = rc == 0 && !is_other ? check_copy(inquiry, prefix) : rc;
    rc = rc == 0 ? check_unused(inquiry, prefix, is_other) : rc;
    if (rc == 0) {
        (void)engine->ops->txn(engine, &txn, &inquiry->result, on_answer, inquiry);
        loop_run(inquiry->loop);
    }
    if (!inquiry->err.code && inquiry->result.outcome != ENGINE_SUCCEEDED) {
        (void)error_set(&inquiry->err, ERR_VM_INVALID_STATE,
            is_other ? "node '%s' is online" : "node '%s' was just changed", node);
        return error_help(&inquiry->err, "%s",
            is_other ? "let it leave by itself; on that node: vmctl fleet leave"
                     : "run the command again");
    }
    return -(int)inquiry->err.code;
}

/* Whether it takes new VMs. */
static int cordon_node(struct inquiry *inquiry, bool is_cordoned)
{
    const char *node = inquiry->config->node;
    cleanup_free char *prefix = fleet_prefix(inquiry->config->fleet);
    cleanup_free char *key = mem_printf("%snode/%s", prefix, node);
    cleanup_json json_t *json = NULL;
    engine_rows_clear(&inquiry->rows);
    int rc = read_row(inquiry, key, &json);
    const struct engine_row *row = rc == 0 ? engine_rows_find(&inquiry->rows, key) : NULL;
    if (rc == 0 && !json_is_object(json)) {
        return error_set(&inquiry->err, ERR_FLEET_NO_NODE, "fleet '%s' has no node '%s'",
            inquiry->config->fleet, node);
    }
    if (rc < 0) {
        return rc;
    }
    json_put_flag(json, "cordoned", is_cordoned);
    const struct engine_compare compare = {
        .condition = ENGINE_IF_REVISION, .key = key, .revision = row->mod_revision};
    rc = put_if(inquiry, &compare, 1, key, json);
    if (rc > 0) {
        (void)error_set(&inquiry->err, ERR_VM_CONFLICT, "node '%s' was just changed", node);
        return error_help(&inquiry->err, "run the command again");
    }
    return rc;
}

static int inquire(struct inquiry *inquiry, const char *verb)
{
    const struct etcd_config etcd = {
        .endpoints = (const char *const *)inquiry->config->endpoints,
        .n_endpoints = inquiry->config->n_endpoints,
        .ca = inquiry->config->ca,
        .certificate = inquiry->config->cert,
        .key = inquiry->config->key,
    };
    int rc = loop_new(&inquiry->loop, &inquiry->err);
    rc = rc == 0 ? etcd_new(inquiry->loop, &etcd, &inquiry->engine, &inquiry->err) : rc;
    if (rc < 0) {
        return rc;
    }
    inquiry->engine->timeout_ms = LIMIT_MS / 2;
    ask_members(inquiry);
    inquiry->err = (struct error){.code = ERR_NONE};
    rc = text_eq(verb, "rebuild") ? remake_fleet(inquiry)
                                  : find_fleet(inquiry, text_eq(verb, "init"));
    return rc < 0                                     ? rc
           : text_has_word("join take rebuild", verb) ? claim_node(inquiry, text_eq(verb, "take"))
           : text_eq(verb, "leave")                   ? remove_node(inquiry, false)
           : text_eq(verb, "forget")                  ? remove_node(inquiry, true)
           : text_has_word("cordon uncordon", verb) ? cordon_node(inquiry, text_eq(verb, "cordon"))
                                                    : 0;
}

int fleet_process_ask(const char *verb, const char *path, const char *data_dir)
{
    struct paths paths = {.data_dir = NULL};
    paths_find(&paths, data_dir);
    struct inquiry inquiry = {.answer = json_object(), .host = fleet_host_id(&paths)};
    paths_clear(&paths);
    cleanup_buf struct buf text = BUF_INIT(INPUT_MAX);
    struct fleet_config *config = NULL;
    signal(SIGPIPE, SIG_IGN);
    int rc = fs_read_regular(path, &text, &inquiry.err);
    if (rc == 0) {
        config = fleet_config_read(buf_str(&text), text.len, &inquiry.err);
        inquiry.config = config;
        rc = config ? inquire(&inquiry, verb) : -(int)inquiry.err.code;
    }
    if (rc < 0) {
        cleanup_json json_t *error = fleet_answer_of_error(NULL, NULL, &inquiry.err);
        json_put(inquiry.answer, "error", json_incref(json_object_get(error, "error")));
    }
    cleanup_free char *out = json_dumps(inquiry.answer, JSON_COMPACT);
    puts(out);
    engine_rows_clear(&inquiry.rows);
    engine_result_clear(&inquiry.result);
    engine_close(inquiry.engine);
    loop_free(inquiry.loop);
    fleet_config_free(config);
    free(inquiry.host);
    json_decref(inquiry.answer);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
