/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/propolis/rest.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/http/multi.h"
#include "reconcilers/backend/instance_id.h"
#include "specs/base/base64.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/propolis.h"

enum { EXCHANGE_TIMEOUT_MS = 5000, BODY_MAX = 2 << 20 };

/* ---- one exchange ---- */

struct exchange {
    struct op op;        /* first: the caller holds a pointer to it */
    struct multi *multi; /* borrowed: outlives its transfers */
    struct rest_server *server;
    struct multi_transfer wire;
    struct curl_slist *headers;
    char curl_text[CURL_ERROR_SIZE];
    struct rest_answer *answer; /* borrowed until `done` or a cancel */
};

void rest_server_set(struct rest_server *server, const char *address)
{
    if (!text_eq(server->address, address)) {
        free(server->address);
        *server = (struct rest_server){.address = mem_strdup(address)};
    }
}

void rest_answer_clear(struct rest_answer *answer)
{
    buf_clear(&answer->body);
    answer->status = 0;
}

char *rest_answer_text(const struct rest_answer *answer)
{
    enum { SHOWN_MAX = 500 };
    cleanup_json json_t *json = json_loadb(buf_str(&answer->body), answer->body.len, 0, NULL);
    const char *message = json_text(json, "message");
    const char *text = message ? message : buf_str(&answer->body);
    size_t n = strcspn(text, "\r\n");
    struct buf line = BUF_INIT(8 * SHOWN_MAX);
    text_add_printable(&line, text, n < SHOWN_MAX ? n : SHOWN_MAX);
    return line.len > 0 ? buf_steal(&line) : mem_strdup("it gave no reason");
}

static void cancel_exchange(struct op *op)
{
    struct exchange *x = (struct exchange *)(void *)op;
    multi_stop(x->multi, &x->wire);
    curl_easy_cleanup(x->wire.easy);
    curl_slist_free_all(x->headers);
    free(x);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct exchange *x = context;
    return buf_add(&x->answer->body, bytes, size * count) ? size * count : CURL_WRITEFUNC_ERROR;
}

static void send_headers(struct exchange *x)
{
    curl_slist_free_all(x->headers);
    x->headers = curl_slist_append(NULL, "Content-Type: application/json");
    x->headers = curl_slist_append(x->headers, x->server->knows_only_oldest
                                                   ? "api-version: " PROPOLIS_API_VERSION_OLDEST
                                                   : "api-version: " PROPOLIS_API_VERSION);
    curl_easy_setopt(x->wire.easy, CURLOPT_HTTPHEADER, x->headers);
    multi_start(x->multi, &x->wire);
}

static void on_end(void *context, CURLcode code)
{
    struct exchange *x = context;
    struct rest_answer *answer = x->answer;
    struct error err = {.code = ERR_NONE};
    if (answer->body.is_full) {
        (void)error_set(&err, ERR_PROPOLIS_UNREACHABLE,
            "propolis-server on %s answers with more than %d bytes", x->server->address, BODY_MAX);
    } else if (code != CURLE_OK) {
        (void)error_set(&err, ERR_PROPOLIS_UNREACHABLE, "propolis-server on %s does not answer: %s",
            x->server->address, x->curl_text[0] ? x->curl_text : curl_easy_strerror(code));
    } else {
        (void)curl_easy_getinfo(x->wire.easy, CURLINFO_RESPONSE_CODE, &answer->status);
        if (answer->status == 400 && !x->server->knows_only_oldest &&
            propolis_is_version_refused(buf_str(&answer->body))) {
            x->server->knows_only_oldest = true;
            buf_reset(&answer->body);
            multi_stop(x->multi, &x->wire);
            send_headers(x);
            return;
        }
    }
    op_finish(&x->op, err.code ? &err : NULL);
}

struct op *rest_send(struct multi *multi, struct rest_server *server,
    const struct rest_request *request, struct rest_answer *answer, op_done_fn *done, void *context)
{
    struct exchange *x = mem_new(struct exchange);
    cleanup_free char *url = mem_printf("http://%s%s", server->address, request->path);
    rest_answer_clear(answer);
    answer->body = BUF_INIT(BODY_MAX);
    CURL *easy = multi_easy_new(url, x->curl_text);
    x->op = (struct op){cancel_exchange, done, context};
    x->multi = multi;
    x->server = server;
    x->wire = (struct multi_transfer){.easy = easy, .ended = on_end, .context = x};
    x->answer = answer;
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, 0L); /* the monitor is silent for long */
    curl_easy_setopt(
        easy, CURLOPT_TIMEOUT_MS, request->timeout_ms ? request->timeout_ms : EXCHANGE_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    if (request->body) {
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body);
    }
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
    send_headers(x);
    return &x->op;
}

/* ---- the response ---- */

static enum run_state run_state_of(const char *state)
{
    static const struct {
        const char *state; /* InstanceState of propolis-server's interface */
        enum run_state run_state;
    } states[] = {
        {"Creating", RUN_STATE_PRELAUNCH},
        {"Starting", RUN_STATE_PRELAUNCH},
        {"Running", RUN_STATE_RUNNING},
        {"Stopping", RUN_STATE_RUNNING},
        {"Rebooting", RUN_STATE_RUNNING},
        {"Migrating", RUN_STATE_RUNNING},
        {"Repairing", RUN_STATE_RUNNING},
        {"Stopped", RUN_STATE_SHUTDOWN},
        {"Destroyed", RUN_STATE_SHUTDOWN},
        {"Failed", RUN_STATE_INTERNAL_ERROR},
    };
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (text_eq(states[i].state, state)) {
            return states[i].run_state;
        }
    }
    return RUN_STATE_UNKNOWN;
}

struct rest_instance rest_instance_parse(
    const struct rest_answer *answer, const char *name, const char *instance_id)
{
    struct rest_instance ret = {.run_state = RUN_STATE_PRELAUNCH};
    /* 424 in the versions since 1.0.0, once 500 with these words; 404 and 410 mean the same to any
     * reader of HTTP. */
    if (answer->status == 404 || answer->status == 410 || answer->status == 424 ||
        (answer->status == 500 && strstr(buf_str(&answer->body), "not initialized"))) {
        return ret;
    }
    cleanup_json json_t *json = json_loadb(buf_str(&answer->body), answer->body.len, 0, NULL);
    const json_t *instance = json_object_get(json, "instance");
    const char *state = json_text(instance, "state");
    const json_t *properties = json_object_get(instance, "properties");
    const char *its_name = json_text(properties, "name");
    enum run_state run_state = run_state_of(state);
    char uuid[IID_UUID_SIZE] = "";
    const char *id = json_text(properties, "id");
    bool has_ended = run_state == RUN_STATE_SHUTDOWN || run_state == RUN_STATE_INTERNAL_ERROR;
    if (answer->status != 200 || !state) {
        ret.is_error = true;
        ret.run_state = RUN_STATE_UNKNOWN;
        return ret;
    }
    if (has_ended && id && instance_id_to_uuid(instance_id, uuid) && !text_eq(id, uuid)) {
        return ret; /* an earlier instance */
    }
    ret.is_there = true;
    ret.is_other = its_name && !text_eq(its_name, name);
    ret.run_state = run_state;
    (void)snprintf(ret.state, sizeof(ret.state), "%s", state);
    return ret;
}

/* Its first complaint about our body is the first member that it misses. */
bool rest_wants_unversioned(const struct rest_answer *answer)
{
    return answer->status >= 400 && answer->status < 500 &&
           strstr(buf_str(&answer->body), "image_id");
}

bool rest_generation_parse(const struct rest_answer *answer, int64_t *ret)
{
    cleanup_json json_t *json = json_loadb(buf_str(&answer->body), answer->body.len, 0, NULL);
    *ret = json_int(json, "gen", -1);
    return answer->status == 200 && *ret >= 0;
}

/* ---- the request ---- */

static const char no_uuid[] = "00000000-0000-0000-0000-000000000000";

/* The metadata name a rack of Oxide's for its statistics; here is none. */
static json_t *properties_of(const struct vm_env *env, const char *uuid)
{
    return json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s, s:i, s:s}}", "id", uuid, "name",
        env->name, "description", "made by vmctl", "metadata", "project_id", no_uuid, "silo_id",
        no_uuid, "sled_id", no_uuid, "sled_model", "vmctl", "sled_revision", 0, "sled_serial",
        "vmctl");
}

static void add_component(
    json_t *components, const char *name, const char *type, json_t *component_take)
{
    json_put(components, name, json_pack("{s:s, s:o}", "type", type, "component", component_take));
}

/* A device on bus 0 and what it is backed by. */
static void add_pci_device(
    json_t *components, const char *name, const char *type, int slot, json_t *more_take)
{
    cleanup_free char *backend = mem_printf("%s-backend", name);
    json_t *device = json_pack("{s:s, s:{s:i, s:i, s:i}}", "backend_id", backend, "pci_path", "bus",
        0, "device", slot, "function", 0);
    (void)json_object_update_missing(device, more_take);
    json_decref(more_take);
    add_component(components, name, type, device);
}

/* A card's own id: the first one's is that of the instance. */
static void card_uuid(const char *uuid, size_t i, char ret[IID_UUID_SIZE])
{
    char digest[DIGEST_SIZE];
    cleanup_free char *seed = mem_printf("%s/nic%zu", uuid, i);
    digest_text(seed, digest);
    digest[TEXT_ID_SIZE - 1] = '\0';
    if (i == 0 || !instance_id_to_uuid(digest, ret)) {
        (void)snprintf(ret, IID_UUID_SIZE, "%s", uuid);
    }
}

/* Slots as Oxide's control plane gives them out: the guest finds its devices where images made for
 * it expect them. */
static json_t *components_of(
    const struct vm_env *env, const char *disk_path, const char *seed, const char *uuid)
{
    enum { NIC_SLOT = 8, DISK_SLOT = 16, SEED_SLOT = 24 };
    _Static_assert(NIC_SLOT + NETWORKS_MAX <= DISK_SLOT, "each card has a slot");
    json_t *all = json_object();
    add_pci_device(all, "disk0", "virtio_disk", DISK_SLOT, json_object());
    add_component(all, "disk0-backend", "file_storage_backend",
        json_pack("{s:s, s:i, s:b}", "path", disk_path, "block_size", 512, "readonly", 0));
    if (seed[0]) {
        add_pci_device(all, "seed", "virtio_disk", SEED_SLOT, json_object());
        add_component(all, "seed-backend", "blob_storage_backend",
            json_pack("{s:s, s:b}", "base64", seed, "readonly", 1));
    }
    const struct spec_network *network;
    for (size_t i = 0; (network = vm_spec_network(env->spec, i)); i++) {
        char card[IID_UUID_SIZE];
        cleanup_free char *name = mem_printf("nic%zu", i);
        cleanup_free char *link = mem_printf("%s-backend", name);
        if (network->mode == NETWORK_VNIC) {
            card_uuid(uuid, i, card);
            add_pci_device(all, name, "virtio_nic", NIC_SLOT + (int)i,
                json_pack("{s:s}", "interface_id", card));
            add_component(all, link, "virtio_network_backend",
                json_pack("{s:s}", "vnic_name", network->vnic));
        }
    }
    add_component(all, "com1", "serial_port", json_pack("{s:s}", "num", "com1"));
    add_component(
        all, "boot-order", "boot_settings", json_pack("{s:[{s:s}]}", "order", "id", "disk0"));
    return all;
}

static char *current_body(
    const struct vm_env *env, const char *disk_path, const char *seed, const char *uuid)
{
    json_t *board = json_pack("{s:i, s:I, s:{s:s, s:{s:b}}}", "cpus", (int)env->spec->vcpus,
        "memory_mb", (json_int_t)env->spec->memory_mib, "chipset", "type", "i440_fx", "value",
        "enable_pcie", 0);
    cleanup_json json_t *body = json_pack("{s:o, s:{s:s, s:{s:{s:o, s:o}}}}", "properties",
        properties_of(env, uuid), "init", "method", "Spec", "value", "spec", "board", board,
        "components", components_of(env, disk_path, seed, uuid));
    return json_canonical(body);
}

static char *unversioned_body(
    const struct vm_env *env, const char *disk_path, const char *seed, const char *uuid)
{
    json_t *properties = properties_of(env, uuid);
    json_put_text(properties, "image_id", no_uuid); /* the disk is a ZFS clone instead */
    json_put_text(properties, "bootrom_id", no_uuid);
    json_put_int(properties, "memory", env->spec->memory_mib);
    json_put_int(properties, "vcpus", env->spec->vcpus);
    cleanup_json json_t *body =
        json_pack("{s:o, s:[{s:s, s:i, s:b, s:s, s:{s:s, s:s, s:i, s:s}}], s:[]}", "properties",
            properties, "disks", "name", "disk0", "slot", 0, "read_only", 0, "device", "virtio",
            "volume_construction_request", "type", "file", "id", uuid, "block_size", 512, "path",
            disk_path, "nics");
    const struct spec_network *network;
    for (size_t i = 0; (network = vm_spec_network(env->spec, i)); i++) {
        if (network->mode == NETWORK_VNIC) {
            json_array_append_new(json_object_get(body, "nics"),
                json_pack("{s:s, s:i}", "name", network->vnic, "slot", (int)i));
        }
    }
    json_put_text(body, "cloud_init_bytes", seed[0] ? seed : NULL);
    return json_canonical(body);
}

struct rest_body rest_body_make(
    const struct vm_env *env, const char *dataset, const void *seed, size_t n_seed)
{
    char uuid[IID_UUID_SIZE] = "";
    cleanup_buf struct buf seed_text = BUF_INIT(BUF_DEFAULT_MAX);
    cleanup_free char *path = mem_printf("/dev/zvol/rdsk/%s", dataset);
    (void)instance_id_to_uuid(env->status->instance.instance_id, uuid);
    base64_encode(&seed_text, seed, n_seed);
    while (seed_text.len % 4 != 0) {
        buf_add_char(&seed_text, '=');
    }
    return (struct rest_body){
        .current = current_body(env, path, buf_str(&seed_text), uuid),
        .unversioned = unversioned_body(env, path, buf_str(&seed_text), uuid),
    };
}

void rest_body_clear(struct rest_body *body)
{
    free(body->current);
    free(body->unversioned);
}
