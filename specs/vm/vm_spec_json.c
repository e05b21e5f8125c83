/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The spec as JSON (store records, `get -o json`) and its digest. Every field is written, defaults
 * too (what has none is left out), so that a record says what it means without this program's
 * version; what is a set in a VMFile (forwards, probes, dependsOn) is written in one fixed order.
 */
#include "specs/vm/vm_spec.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

static int compare_canonical(const void *a, const void *b)
{
    cleanup_free char *left = json_canonical(*(json_t *const *)a);
    cleanup_free char *right = json_canonical(*(json_t *const *)b);
    return strcmp(left, right);
}

/* Makes an array out of `items` (owned by it from now on) in the order of their canonical texts. */
static json_t *sorted_array_take(json_t **items, size_t n)
{
    if (n > 1) {
        qsort(items, n, sizeof(json_t *), compare_canonical);
    }
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(array, items[i]);
    }
    return array;
}

static void put_file(json_t *json, const char *key, const struct spec_file *file)
{
    if (!file->path) {
        return;
    }
    json_t *object = json_object();
    json_put_text(object, "path", file->path);
    json_put_text(object, "digest", file->digest);
    json_put(json, key, object);
}

static json_t *image_to_json(const struct spec_image *image)
{
    json_t *json = json_object();
    json_put_text(json, "kind", image_kind_name(image->kind));
    json_put_text(json, "location", image->location);
    json_put_text(json, "sha256", image->sha256);
    return json;
}

static json_t *forwards_to_json(const struct vm_spec *spec)
{
    size_t n = spec->network.n_forwards;
    cleanup_free json_t **items = mem_calloc(n + 1, sizeof(*items));
    for (size_t i = 0; i < n; i++) {
        const struct spec_forward *forward = &spec->network.forwards[i];
        items[i] = json_object();
        json_put_text(items[i], "protocol", forward_protocol_name(forward->protocol));
        json_put_int(items[i], "hostPort", forward->host_port);
        json_put_int(items[i], "guestPort", forward->guest_port);
    }
    return sorted_array_take(items, n);
}

static json_t *network_to_json(const struct vm_spec *spec)
{
    json_t *json = json_object();
    json_put_text(json, "mode", network_mode_name(spec->network.mode));
    json_put_text(json, "bridge", spec->network.bridge);
    json_put_text(json, "vnic", spec->network.vnic);
    json_put(json, "forwards", forwards_to_json(spec));
    return json;
}

static json_t *cloud_init_to_json(const struct vm_spec *spec)
{
    json_t *json = json_object();
    json_put_flag(json, "isSet", spec->cloud_init.is_set);
    json_put_text(json, "hostname", spec->cloud_init.hostname);
    put_file(json, "sshKey", &spec->cloud_init.ssh_key);
    put_file(json, "userData", &spec->cloud_init.user_data);
    json_put_text(json, "seedBus", seed_bus_name(spec->cloud_init.bus));
    return json;
}

static json_t *ssh_to_json(const struct vm_spec *spec)
{
    json_t *json = json_object();
    json_put_flag(json, "isSet", spec->ssh.is_set);
    json_put_text(json, "user", spec->ssh.user);
    json_put_text(json, "privateKey", spec->ssh.private_key);
    return json;
}

static json_t *steps_to_json(const struct vm_spec *spec)
{
    json_t *array = json_array();
    for (size_t i = 0; i < spec->n_steps; i++) {
        const struct spec_step *step = &spec->steps[i];
        json_t *json = json_object();
        json_put_text(json, "kind", step_kind_name(step->kind));
        json_put_text(json, "command", step->command);
        put_file(json, "file", &step->file);
        json_put_text(json, "destination", step->destination);
        json_put_text(json, "run", step_run_name(step->run));
        json_put_int(json, "timeoutSeconds", step->timeout_s);
        (void)json_array_append_new(array, json);
    }
    return array;
}

static json_t *probes_to_json(const struct spec_check *check)
{
    cleanup_free json_t **items = mem_calloc(check->n_probes + 1, sizeof(*items));
    for (size_t i = 0; i < check->n_probes; i++) {
        const struct spec_probe *probe = &check->probes[i];
        items[i] = json_object();
        json_put_text(items[i], "kind", probe_kind_name(probe->kind));
        json_put_int(items[i], "port", probe->port);
        json_put_text(items[i], "text", probe->text);
    }
    return sorted_array_take(items, check->n_probes);
}

static json_t *check_to_json(const struct spec_check *check)
{
    json_t *json = json_object();
    json_put(json, "probes", probes_to_json(check));
    json_put_int(json, "periodSeconds", check->period_s);
    json_put_int(json, "timeoutSeconds", check->timeout_s);
    json_put_int(json, "failures", check->failures);
    return json;
}

static json_t *live_to_json(const struct spec_check *live)
{
    json_t *json = check_to_json(live);
    json_put_int(json, "startPeriodSeconds", live->start_period_s);
    return json;
}

static json_t *depends_on_to_json(const struct vm_spec *spec)
{
    cleanup_free json_t **items = mem_calloc(spec->n_depends_on + 1, sizeof(*items));
    for (size_t i = 0; i < spec->n_depends_on; i++) {
        items[i] = json_string(spec->depends_on[i]);
    }
    return sorted_array_take(items, spec->n_depends_on);
}

json_t *vm_spec_to_json(const struct vm_spec *spec)
{
    json_t *json = json_object();
    json_put_text(json, "name", spec->name);
    json_put_text(json, "backend", backend_kind_name(spec->backend));
    json_put(json, "image", image_to_json(&spec->image));
    json_put_int(json, "vcpus", spec->vcpus);
    json_put_int(json, "memoryMib", spec->memory_mib);
    if (spec->max_vcpus) {
        json_put_int(json, "maxVcpus", spec->max_vcpus);
    }
    if (spec->max_memory_mib) {
        json_put_int(json, "maxMemoryMib", spec->max_memory_mib);
    }
    json_put_int(json, "diskGib", spec->disk_gib);
    json_put(json, "network", network_to_json(spec));
    json_put(json, "cloudInit", cloud_init_to_json(spec));
    json_put(json, "ssh", ssh_to_json(spec));
    json_put(json, "provision", steps_to_json(spec));
    json_put(json, "ready", check_to_json(&spec->checks[CHECK_READY]));
    json_put(json, "live", live_to_json(&spec->checks[CHECK_LIVE]));
    json_put(json, "dependsOn", depends_on_to_json(spec));
    json_put_text(json, "accel", accel_mode_name(spec->accel));
    json_put_text(json, "firmware", firmware_name(spec->firmware));
    json_put_text(json, "restart", restart_policy_name(spec->restart));
    json_put_int(json, "stopTimeoutSeconds", spec->stop_timeout_s);
    return json;
}

void vm_spec_digest(const struct vm_spec *spec, char *ret_hex)
{
    cleanup_json json_t *json = vm_spec_to_json(spec);
    cleanup_free char *text = json_canonical(json);
    digest_text(text, ret_hex);
}
