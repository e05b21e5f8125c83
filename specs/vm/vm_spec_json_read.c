/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The spec out of its JSON. Records of older versions lack keys, those of newer ones have more:
 * both are read. A word or number that this version cannot represent is an error, because acting
 * on a default in its place could destroy something.
 */
#include "specs/vm/vm_spec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec_names.h"

/* Readers go on after an error and keep the first one, so that they need no branch per field. */
struct spec_reader {
    const char *vm_name;
    struct error *err;
    int result; /* 0 or the negative code of the first error */
};

__attribute__((format(printf, 2, 3))) static void fail(
    struct spec_reader *reader, const char *fmt, ...)
{
    if (reader->result < 0) {
        return;
    }
    cleanup_free char *what = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&what, fmt, ap) < 0) {
        what = NULL;
    }
    va_end(ap);
    reader->result = error_set(
        reader->err, ERR_STORE, "spec of VM '%s': %s", reader->vm_name, what ? what : "unreadable");
}

static int read_word(struct spec_reader *reader, const json_t *json, const char *key,
    const struct enum_names *list, int otherwise)
{
    const char *word = json_text(json, key);
    int value = word ? enum_names_find(list, word) : otherwise;
    if (value < 0) {
        fail(reader, "%s '%s' is not known to this version", key, word);
        return otherwise;
    }
    return value;
}

static uint32_t read_number(struct spec_reader *reader, const json_t *json, const char *key,
    uint32_t max, uint32_t otherwise)
{
    int64_t value = json_int(json, key, otherwise);
    if (value < 0 || value > (int64_t)max) {
        fail(reader, "%s %" PRId64 " is out of range", key, value);
        return otherwise;
    }
    return (uint32_t)value;
}

static char *read_required(struct spec_reader *reader, const json_t *json, const char *key)
{
    char *text = json_copy_text(json, key);
    if (!text) {
        fail(reader, "%s is missing", key);
        return mem_strdup("");
    }
    return text;
}

static void read_file(struct spec_reader *reader, const json_t *json, struct spec_file *file)
{
    const char *digest = json_text(json, "digest");
    file->path = json_copy_text(json, "path");
    if (digest && strlen(digest) >= sizeof(file->digest)) {
        fail(reader, "digest '%s' is too long", digest);
    } else if (digest) {
        memcpy(file->digest, digest, strlen(digest) + 1);
    }
}

static void read_image(struct spec_reader *reader, const json_t *json, struct spec_image *image)
{
    image->kind = (enum image_kind)read_word(reader, json, "kind", &image_kind_words, IMAGE_FILE);
    image->location = json_copy_text(json, "location");
    image->sha256 = json_copy_text(json, "sha256");
}

static void read_network(struct spec_reader *reader, const json_t *json, struct vm_spec *spec)
{
    spec->network.mode =
        (enum network_mode)read_word(reader, json, "mode", &network_mode_words, NETWORK_USER);
    spec->network.bridge = json_copy_text(json, "bridge");
    spec->network.vnic = json_copy_text(json, "vnic");
    const json_t *forwards = json_object_get(json, "forwards");
    for (size_t i = 0; i < json_array_size(forwards); i++) {
        const json_t *item = json_array_get(forwards, i);
        mem_grow(spec->network.forwards, spec->network.n_forwards);
        spec->network.forwards[spec->network.n_forwards++] = (struct spec_forward){
            .protocol = (enum forward_protocol)read_word(
                reader, item, "protocol", &forward_protocol_words, FORWARD_TCP),
            .host_port = (uint16_t)read_number(reader, item, "hostPort", UINT16_MAX, 0),
            .guest_port = (uint16_t)read_number(reader, item, "guestPort", UINT16_MAX, 0),
        };
    }
}

static void read_cloud_init(struct spec_reader *reader, const json_t *json, struct vm_spec *spec)
{
    spec->cloud_init.is_set = json_flag(json, "isSet", false);
    spec->cloud_init.hostname = json_copy_text(json, "hostname");
    read_file(reader, json_object_get(json, "sshKey"), &spec->cloud_init.ssh_key);
    read_file(reader, json_object_get(json, "userData"), &spec->cloud_init.user_data);
    spec->cloud_init.bus =
        (enum seed_bus)read_word(reader, json, "seedBus", &seed_bus_words, SEED_SCSI);
}

static void read_ssh(const json_t *json, struct vm_spec *spec)
{
    spec->ssh.is_set = json_flag(json, "isSet", false);
    if (json_text(json, "user")) {
        free(spec->ssh.user);
        spec->ssh.user = json_copy_text(json, "user");
    }
    spec->ssh.private_key = json_copy_text(json, "privateKey");
}

static void read_step(struct spec_reader *reader, const json_t *json, struct spec_step *step)
{
    *step = (struct spec_step){
        .kind = (enum step_kind)read_word(reader, json, "kind", &step_kind_words, STEP_INLINE),
        .run = (enum step_run)read_word(reader, json, "run", &step_run_words, RUN_ALWAYS),
        .timeout_s = read_number(reader, json, "timeoutSeconds", UINT32_MAX, 0),
    };
    if (step->kind == STEP_INLINE) {
        step->command = read_required(reader, json, "command");
        return;
    }
    read_file(reader, json_object_get(json, "file"), &step->file);
    if (!step->file.path) {
        fail(reader, "a provision step has no file");
    }
    if (step->kind == STEP_FILE) {
        step->destination = read_required(reader, json, "destination");
    }
}

static void read_probe(struct spec_reader *reader, const json_t *json, struct spec_probe *probe)
{
    *probe = (struct spec_probe){
        .kind = (enum probe_kind)read_word(reader, json, "kind", &probe_kind_words, PROBE_TCP),
        .port = (uint16_t)read_number(reader, json, "port", UINT16_MAX, 0),
    };
    if (probe->kind != PROBE_TCP) {
        probe->text = read_required(reader, json, "text");
    }
}

static void read_check(struct spec_reader *reader, const json_t *json, struct spec_check *check)
{
    const json_t *probes = json_object_get(json, "probes");
    for (size_t i = 0; i < json_array_size(probes); i++) {
        mem_grow(check->probes, check->n_probes);
        read_probe(reader, json_array_get(probes, i), &check->probes[check->n_probes++]);
    }
    check->period_s = read_number(reader, json, "periodSeconds", UINT32_MAX, check->period_s);
    check->timeout_s = read_number(reader, json, "timeoutSeconds", UINT32_MAX, check->timeout_s);
    check->failures = read_number(reader, json, "failures", UINT32_MAX, check->failures);
    check->start_period_s =
        read_number(reader, json, "startPeriodSeconds", UINT32_MAX, check->start_period_s);
}

static void read_lists(struct spec_reader *reader, const json_t *json, struct vm_spec *spec)
{
    const json_t *steps = json_object_get(json, "provision");
    for (size_t i = 0; i < json_array_size(steps); i++) {
        mem_grow(spec->steps, spec->n_steps);
        read_step(reader, json_array_get(steps, i), &spec->steps[spec->n_steps++]);
    }
    const json_t *names = json_object_get(json, "dependsOn");
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name) {
            mem_grow(spec->depends_on, spec->n_depends_on);
            spec->depends_on[spec->n_depends_on++] = mem_strdup(name);
        }
    }
}

static void read_scalars(struct spec_reader *reader, const json_t *json, struct vm_spec *spec)
{
    spec->backend =
        (enum backend_kind)read_word(reader, json, "backend", &backend_kind_words, BACKEND_QEMU);
    spec->vcpus = read_number(reader, json, "vcpus", UINT32_MAX, SPEC_DEFAULT_VCPUS);
    spec->memory_mib = read_number(reader, json, "memoryMib", UINT32_MAX, SPEC_DEFAULT_MEMORY_MIB);
    spec->max_vcpus = read_number(reader, json, "maxVcpus", UINT32_MAX, 0);
    spec->max_memory_mib = read_number(reader, json, "maxMemoryMib", UINT32_MAX, 0);
    spec->disk_gib = read_number(reader, json, "diskGib", UINT32_MAX, 0);
    spec->accel = (enum accel_mode)read_word(reader, json, "accel", &accel_mode_words, ACCEL_AUTO);
    spec->firmware =
        (enum firmware)read_word(reader, json, "firmware", &firmware_words, FIRMWARE_BIOS);
    spec->restart = (enum restart_policy)read_word(
        reader, json, "restart", &restart_policy_words, RESTART_ON_FAILURE);
    spec->stop_timeout_s =
        read_number(reader, json, "stopTimeoutSeconds", UINT32_MAX, SPEC_DEFAULT_STOP_TIMEOUT_S);
}

struct vm_spec *vm_spec_from_json(const json_t *json, struct error *err)
{
    const char *name = json_text(json, "name");
    if (!vm_spec_name_is_valid(name)) { /* it becomes a directory's name */
        error_set(err, ERR_STORE, "spec of a VM: name '%s' is not valid", name ? name : "");
        return NULL;
    }
    struct vm_spec *spec = vm_spec_new(name);
    struct spec_reader reader = {.vm_name = name, .err = err};
    read_scalars(&reader, json, spec);
    read_image(&reader, json_object_get(json, "image"), &spec->image);
    read_network(&reader, json_object_get(json, "network"), spec);
    read_cloud_init(&reader, json_object_get(json, "cloudInit"), spec);
    read_ssh(json_object_get(json, "ssh"), spec);
    read_lists(&reader, json, spec);
    for (int i = 0; i < CHECK_KIND_COUNT_; i++) {
        const char *key = check_kind_name((enum check_kind)i);
        read_check(&reader, json_object_get(json, key), &spec->checks[i]);
    }
    if (reader.result < 0) {
        vm_spec_free(spec);
        return NULL;
    }
    return spec;
}
