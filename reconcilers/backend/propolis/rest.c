/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/propolis/rest.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/backend/instance_id.h"
#include "reconcilers/fetch/multi.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/propolis.h"

enum { EXCHANGE_TIMEOUT_MS = 5000, BODY_MAX = 1 << 20 };

/* ---- one exchange ---- */

struct exchange {
    struct op op;        /* first: the caller holds a pointer to it */
    struct multi *multi; /* borrowed: outlives its transfers */
    struct multi_transfer wire;
    struct curl_slist *headers;
    char curl_text[CURL_ERROR_SIZE];
    struct rest_answer *answer; /* borrowed until `done` or a cancel */
};

void rest_answer_clear(struct rest_answer *answer)
{
    buf_clear(&answer->body);
    answer->status = 0;
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

static void on_end(void *context, CURLcode code)
{
    struct exchange *x = context;
    struct error err = {.code = ERR_NONE};
    if (code != CURLE_OK) {
        (void)error_set(&err, ERR_PROPOLIS_UNREACHABLE, "propolis-server on %s does not answer: %s",
            propolis_address(), x->curl_text[0] ? x->curl_text : curl_easy_strerror(code));
    } else {
        (void)curl_easy_getinfo(x->wire.easy, CURLINFO_RESPONSE_CODE, &x->answer->status);
    }
    op_finish(&x->op, code != CURLE_OK ? &err : NULL);
}

struct op *rest_send(struct multi *multi, const struct rest_request *request,
    struct rest_answer *answer, op_done_fn *done, void *context)
{
    struct exchange *x = mem_new(struct exchange);
    cleanup_free char *url = mem_printf("http://%s%s", propolis_address(), request->path);
    rest_answer_clear(answer);
    answer->body.max = BODY_MAX;
    CURL *easy = multi_easy_new(url, x->curl_text);
    x->op = (struct op){cancel_exchange, done, context};
    x->multi = multi;
    x->wire = (struct multi_transfer){.easy = easy, .ended = on_end, .context = x};
    x->headers = curl_slist_append(NULL, "Content-Type: application/json");
    x->answer = answer;
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, x->headers);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"); /* it is on this host */
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)EXCHANGE_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    if (request->body) {
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body);
    }
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
    multi_start(multi, &x->wire);
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
    if (answer->status != 200) {
        return ret; /* the server has no instance yet */
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
    if (has_ended && id && instance_id_to_uuid(instance_id, uuid) && !text_eq(id, uuid)) {
        return ret; /* an earlier instance */
    }
    ret.is_there = true;
    ret.is_other = its_name && !text_eq(its_name, name);
    ret.run_state = run_state;
    (void)snprintf(ret.state, sizeof(ret.state), "%s", state ? state : "unknown");
    return ret;
}

/* ---- the request ---- */

static json_t *properties_of(const struct vm_env *env, const char *uuid)
{
    static const char no_uuid[] =
        "00000000-0000-0000-0000-000000000000"; /* the disk is a ZFS clone instead */
    json_t *properties = json_object();
    json_put_text(properties, "id", uuid);
    json_put_text(properties, "name", env->name);
    json_put_text(properties, "description", "made by vmctl");
    json_put_text(properties, "image_id", no_uuid);
    json_put_text(properties, "bootrom_id", no_uuid);
    json_put_int(properties, "memory", env->spec->memory_mib);
    json_put_int(properties, "vcpus", env->spec->vcpus);
    return properties;
}

static json_t *disks_of(const char *dataset, const char *uuid)
{
    json_t *disks = json_array(), *disk = json_object(), *source = json_object();
    cleanup_free char *path = mem_printf("/dev/zvol/rdsk/%s", dataset);
    json_put_text(source, "type", "file");
    json_put_text(source, "id", uuid);
    json_put_int(source, "block_size", 512);
    json_put_text(source, "path", path);
    json_put_text(disk, "name", "disk0");
    json_put_int(disk, "slot", 0);
    json_put_flag(disk, "read_only", false);
    json_put_text(disk, "device", "virtio");
    json_put(disk, "volume_construction_request", source);
    json_array_append_new(disks, disk);
    return disks;
}

static json_t *nics_of(const struct vm_spec *spec)
{
    json_t *nics = json_array();
    if (spec->network.mode == NETWORK_VNIC) {
        json_t *nic = json_object();
        json_put_text(nic, "name", spec->network.vnic);
        json_put_int(nic, "slot", 0);
        json_array_append_new(nics, nic);
    }
    return nics;
}

char *rest_instance_body(const struct vm_env *env, const char *dataset)
{
    char uuid[IID_UUID_SIZE] = "";
    (void)instance_id_to_uuid(env->status->instance.instance_id, uuid);
    cleanup_json json_t *body = json_object();
    json_put(body, "properties", properties_of(env, uuid));
    json_put(body, "disks", disks_of(dataset, uuid));
    json_put(body, "nics", nics_of(env->spec));
    return json_canonical(body);
}
