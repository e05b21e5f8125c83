/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/template.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_steps.h"

size_t template_steps(const struct vm_spec *spec)
{
    size_t n = 0;
    while (n < spec->n_steps && !spec->steps[n].is_per_vm) {
        n++;
    }
    return n;
}

/* A guest that was woken boots again some day: cloud-init, which takes it for a new one then, would
 * run the commands of a user-data once more. */
const char *template_memory_obstacle(const struct vm_spec *spec)
{
    const struct {
        bool holds;
        const char *what;
    } obstacles[] = {
        {spec->network.mode != NETWORK_USER, "a `network` other than \"user\""},
        {spec->n_further_networks > 0, "a second `network`"},
        {spec->firmware == FIRMWARE_UEFI, "firmware \"uefi\""},
        {spec->firmware == FIRMWARE_UEFI_SECURE, "firmware \"uefi-secure\""},
        {spec->has_tpm, "`tpm`"},
        {arch_is_foreign(spec->image.arch), "an `arch` that is not the host's"},
        {spec->n_shares > 0, "a `share`"},
        {spec->n_volumes > 0, "a `volume`"},
        {spec->n_disks > 0, "a further `disk`"},
        {spec->cloud_init.user_data.path, "`user-data`"},
        {spec->cloud_init.vendor_data.path, "`vendor-data`"},
        {spec->cloud_init.network_config.path, "`network-config`"},
    };
    size_t i = 0;
    while (i < ARRAY_LEN(obstacles) && !obstacles[i].holds) {
        i++;
    }
    return i < ARRAY_LEN(obstacles) ? obstacles[i].what : NULL;
}

bool template_has_memory(const struct vm_spec *spec)
{
    return spec->warm >= WARM_AUTO && !template_memory_obstacle(spec);
}

/* With memory also the boot is saved. */
bool template_is_wanted(const struct vm_spec *spec)
{
    bool saves_some = template_steps(spec) > 0 || spec->cloud_init.user_data.path ||
                      spec->cloud_init.vendor_data.path;
    return spec->warm != WARM_NEVER && (saves_some || template_has_memory(spec));
}

/* ---- the key ---- */

static json_t *key_of_step(const struct spec_step *step)
{
    json_t *json = json_object();
    json_put_text(json, "kind", enum_names_at(&step_kind_words, step->kind));
    json_put_text(json, "command", step->command);
    json_put_text(json, "file", step->file.digest[0] ? step->file.digest : step->file.path);
    json_put_text(json, "destination", step->destination);
    for (size_t i = 0; i < step->n_env; i++) {
        cleanup_free char *key = mem_printf("env %s", step->env[i].name);
        json_put_text(json, key, step->env[i].value);
    }
    return json;
}

static void put_file(json_t *key, const char *name, const struct spec_file *file)
{
    json_put_text(key, name, file->digest[0] ? file->digest : file->path);
}

/* `layout`: the parts that are there whatever the spec says; before 1 there was no channel to the
 * guest's agent. */
static void add_machine(json_t *key, const struct vm_spec *spec)
{
    json_put_int(key, "layout", 1);
    json_put_int(key, "vcpus", spec->vcpus);
    json_put_int(key, "max-vcpus", spec->max_vcpus);
    json_put_int(key, "memory", spec->memory_mib);
    json_put_int(key, "max-memory", spec->max_memory_mib);
    json_put_text(key, "machine", spec->machine);
    json_put_text(key, "accel", enum_names_at(&accel_mode_words, spec->accel));
}

/* Not in that of a disk: what a guest is given at each start (CPUs, memory, machine type,
 * accelerator, forwards, bridge) and what the seed gives each clone (its name unless that is set,
 * its keys). */
char *template_key(const struct vm_spec *spec, const char *image_id)
{
    cleanup_json json_t *key = json_object();
    json_t *steps = json_array();
    const struct spec_cloud_init *cloud_init = &spec->cloud_init;
    for (size_t i = 0; i < template_steps(spec); i++) {
        (void)json_array_append_new(steps, key_of_step(&spec->steps[i]));
    }
    bool has_memory = template_has_memory(spec);
    json_put_text(key, "kind", has_memory ? "memory" : "disk");
    json_put_int(key, "format", TEMPLATE_FORMAT);
    json_put_text(key, "backend", backend_kind_name(spec->backend));
    json_put_text(key, "image", image_id);
    json_put_int(key, "disk", spec->disk_gib);
    json_put_text(key, "firmware", enum_names_at(&firmware_words, spec->firmware));
    if (spec->image.arch != ARCH_HOST) {
        json_put_text(key, "arch", arch_machine(spec->image.arch));
    }
    if (spec->has_tpm) {
        json_put_text(key, "tpm", "#true");
    }
    json_put_text(key, "network", network_mode_name(spec->network.mode));
    for (size_t i = 0; i < spec->n_further_networks; i++) {
        cleanup_free char *name = mem_printf("network-%zu", i + 2);
        json_put_text(key, name, network_mode_name(spec->further_networks[i].mode));
    }
    json_put_text(key, "seed", enum_names_at(&seed_bus_words, cloud_init->bus));
    json_put_text(key, "hostname", cloud_init->hostname);
    json_put_text(key, "user", spec->ssh.user);
    put_file(key, "user-data", &cloud_init->user_data);
    for (size_t i = 0; i < cloud_init->n_further_user_data; i++) {
        cleanup_free char *name = mem_printf("user-data-%zu", i + 2);
        put_file(key, name, &cloud_init->further_user_data[i]);
    }
    if (cloud_init->is_joined) {
        json_put_text(key, "raw", "#false");
    }
    put_file(key, "vendor-data", &cloud_init->vendor_data);
    put_file(key, "network-config", &cloud_init->network_config);
    json_put(key, "steps", steps);
    if (has_memory) {
        add_machine(key, spec);
    }
    return json_canonical(key);
}

static char *in_words(const json_t *value)
{
    enum { SHOWN = 40 };
    const char *text = json_string_value(value);
    return json_is_integer(value) ? mem_printf("%lld", (long long)json_integer_value(value))
           : text                 ? mem_strndup(text, SHOWN)
                                  : mem_strdup("(none)");
}

char *template_key_difference(const char *before, const char *after)
{
    static const char *const keys[] = {"kind", "format", "backend", "image", "disk", "firmware",
        "arch", "tpm", "network", "seed", "hostname", "user", "user-data", "raw", "user-data-2",
        "vcpus", "max-vcpus", "memory", "max-memory", "machine", "accel", "layout"};
    cleanup_json json_t *a = json_loads(before, 0, NULL), *b = json_loads(after, 0, NULL);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        json_t *old = json_object_get(a, keys[i]), *new = json_object_get(b, keys[i]);
        if (old != new && !json_equal(old, new)) {
            cleanup_free char *was = in_words(old), *is = in_words(new);
            bool is_digest = text_eq(keys[i], "image") || text_eq(keys[i], "user-data");
            return is_digest ? mem_strdup(keys[i]) : mem_printf("%s %s -> %s", keys[i], was, is);
        }
    }
    const json_t *old = json_object_get(a, "steps"), *new = json_object_get(b, "steps");
    size_t n = 0;
    while (n < json_array_size(old) && json_equal(json_array_get(old, n), json_array_get(new, n))) {
        n++;
    }
    return mem_printf("step %zu", n + 1);
}

/* ---- the builder ---- */

void template_builder_name(const char *digest, char ret_name[TEMPLATE_NAME_SIZE])
{
    (void)snprintf(ret_name, TEMPLATE_NAME_SIZE, "~%.*s", TEMPLATE_DIGITS, digest);
}

struct vm_spec *template_builder_spec(
    const struct vm_spec *spec, const char *digest, const char *forget_identity)
{
    enum { SHUTDOWN_S = 60, FORGET_S = 120 };
    static const char *const of_one_vm[] = {"vnc", "cloudInit.sshKey", "ready", "live", "dependsOn",
        "restart", "warm", "network.forwards", "network.sockets", "network.autoForward",
        "network.mac", "network.address", "volumes", "shares", "protected", "cpuLimitMilli",
        "memoryLimitMib", "ioLimit"};
    char name[TEMPLATE_NAME_SIZE];
    struct vm_spec *builder = vm_spec_copy(spec);
    template_builder_name(digest, name);
    free(builder->name);
    builder->name = mem_strdup(name);
    struct vm_spec *none = vm_spec_new("");
    for (size_t i = 0; i < ARRAY_LEN(of_one_vm); i++) {
        (void)fields_take(&vm_spec_fields, builder, none, of_one_vm[i]);
    }
    vm_spec_free(none);
    vm_spec_leave_identity(builder);
    builder->warm = template_has_memory(spec) ? WARM_AUTO : WARM_NEVER;
    if (!builder->cloud_init.hostname) {
        builder->cloud_init.hostname = mem_printf("template-%s", name + 1);
    }
    for (size_t n = template_steps(spec); builder->n_steps > n;) {
        struct spec_step *step = &builder->steps[--builder->n_steps];
        free(step->command);
        free(step->file.path);
        free(step->destination);
        for (size_t i = 0; i < step->n_env; i++) {
            free(step->env[i].name);
            free(step->env[i].value);
        }
        free(step->env);
        for (size_t i = 0; i < step->n_secrets; i++) {
            free(step->secrets[i].name);
            free(step->secrets[i].from);
        }
        free(step->secrets);
    }
    mem_grow(builder->steps, builder->n_steps);
    builder->steps[builder->n_steps++] = (struct spec_step){
        .kind = STEP_INLINE, .command = mem_strdup(forget_identity), .timeout_s = FORGET_S};
    builder->stop_timeout_s =
        builder->stop_timeout_s > SHUTDOWN_S ? builder->stop_timeout_s : SHUTDOWN_S;
    return builder;
}

/* ---- the record ---- */

static const struct field memory_rows[] = {
    FIELD(struct template_memory, host, "host"),
    FIELD(struct template_memory, accel, "accel"),
    FIELD(struct template_memory, has_agent, "agentChannel", .omit_empty = true),
    FIELD(struct template_memory, memory_bytes, "bytes"),
    FIELD(struct template_memory, memory_changed_ns, "changed"),
    FIELD(struct template_memory, state_bytes, "stateBytes"),
    FIELD(struct template_memory, state_sha256, "stateSha256"),
};
static const struct fields memory_fields = {FIELDS_OF(memory_rows, struct template_memory)};

static const struct field template_rows[] = {
    FIELD(struct template_record, format, "format"),
    FIELD(struct template_record, digest, "digest"),
    FIELD(struct template_record, key, "key"),
    FIELD(struct template_record, vm_name, "vm"),
    FIELD(struct template_record, image_path, "imagePath"),
    FIELD(struct template_record, image_id, "imageId"),
    FIELD(struct template_record, disk_bytes, "diskBytes"),
    FIELD(struct template_record, disk_changed_ns, "diskChanged"),
    FIELD(struct template_record, disk_sha256, "diskSha256"),
    FIELD_STRUCT(struct template_record, memory, "memory", &memory_fields, .omit_empty = true),
    FIELD(struct template_record, created_ms, "created"),
    FIELD(struct template_record, took_ms, "tookMs"),
    FIELD_LIST(struct template_record, steps, n_steps, "steps", &vm_step_record_fields),
};
static const struct fields template_fields = {FIELDS_OF(template_rows, struct template_record)};

struct template_record *template_record_new(void)
{
    return fields_new(&template_fields);
}

void template_record_free(struct template_record *record)
{
    fields_free(&template_fields, record);
}

json_t *template_record_to_json(const struct template_record *record)
{
    return fields_to_json(&template_fields, record);
}

/* ---- files ---- */

char *template_path(const struct paths *paths, const char *digest, const char *file)
{
    return mem_printf("%s/templates/%s%s%s", paths->data_dir, digest, file[0] ? "/" : "", file);
}

bool template_digest_is_valid(const char *name)
{
    enum { DIGITS = DIGEST_SIZE - 1 };
    return strspn(name, "0123456789abcdef") == DIGITS && name[DIGITS] == '\0';
}

/* That size and time are those of when it was sealed. */
static int check_file(const char *path, uint64_t bytes, int64_t changed_ns, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return error_set_errno(err, ERR_TEMPLATE, errno, "'%s'", path);
    }
    int64_t found_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return (uint64_t)st.st_size == bytes && found_ns == changed_ns
               ? 0
               : error_set(err, ERR_TEMPLATE, "'%s' was changed since it was sealed", path);
}

static int read_record(const struct paths *paths, const char *digest, const struct buf *text,
    struct template_record *ret, struct error *err)
{
    struct bytes json = {.data = buf_str(text), .n = text->len};
    char found[DIGEST_SIZE];
    int rc = fields_read(&template_fields, json, ret, NULL, err);
    if (rc < 0) {
        return rc;
    }
    digest_text(ret->key ? ret->key : "", found);
    if (ret->format != TEMPLATE_FORMAT || !text_eq(found, digest) || !ret->image_path) {
        return error_set(err, ERR_TEMPLATE, "its record is damaged, or from another version");
    }
    cleanup_free char *disk = template_path(paths, digest, "disk.qcow2");
    cleanup_free char *memory = template_path(paths, digest, TEMPLATE_MEMORY);
    rc = check_file(disk, ret->disk_bytes, ret->disk_changed_ns, err);
    return rc < 0 || !ret->memory.host
               ? rc
               : check_file(memory, ret->memory.memory_bytes, ret->memory.memory_changed_ns, err);
}

struct template_record *template_find(
    const struct paths *paths, const char *digest, struct error *err)
{
    enum { RECORD_MAX = 4 << 20 };
    cleanup_buf struct buf text = BUF_INIT(RECORD_MAX);
    cleanup_free char *path = template_path(paths, digest, "template.json");
    if (!fs_exists(path)) {
        return NULL;
    }
    struct template_record *record = template_record_new();
    int rc = fs_read_file(path, &text, err);
    rc = rc < 0 ? rc : read_record(paths, digest, &text, record, err);
    if (rc == 0) {
        return record;
    }
    template_record_free(record);
    err->code = ERR_TEMPLATE;
    (void)error_wrap(err, "template %.*s", TEMPLATE_DIGITS, digest);
    (void)error_help(err, "remove it, and vmctl makes it again: vmctl template rm %.*s",
        TEMPLATE_DIGITS, digest);
    return NULL;
}
