/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_spec.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <strings.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"

/* ---- names ---- */

DEFINE_WORDS(backend_kind, enum backend_kind, BACKEND_COUNT_, "qemu", "propolis", "noop")
DEFINE_WORDS(image_kind, enum image_kind, IMAGE_KIND_COUNT_, "file", "url", "name")
DEFINE_WORD_LIST(arch, ARCH_COUNT_, "host", "x86_64", "aarch64", "riscv64")
DEFINE_WORD_LIST(accel_mode, ACCEL_COUNT_, "auto", "kvm", "tcg")
DEFINE_WORD_LIST(firmware, FIRMWARE_COUNT_, "bios", "uefi", "uefi-secure")
DEFINE_WORD_LIST(seed_bus, SEED_BUS_COUNT_, "scsi", "virtio", "ide")
DEFINE_WORD_LIST(setup_policy, SETUP_POLICY_COUNT_, "fail", "warn")
DEFINE_WORD_LIST(restart_policy, RESTART_COUNT_, "on-failure", "always", "never")
DEFINE_WORD_LIST(autostart, AUTOSTART_COUNT_, "#true", "#false")
DEFINE_WORD_LIST(warm, WARM_COUNT_, "never", "disk", "auto", "require")
DEFINE_WORD_LIST(step_kind, STEP_KIND_COUNT_, "inline", "script", "file")
DEFINE_WORD_LIST(step_run, RUN_COUNT_, "always", "once", "on-change")
DEFINE_WORD_LIST(secret_source, SECRET_SOURCE_COUNT_, "env", "file", "command")
DEFINE_WORD_LIST(probe_kind, PROBE_KIND_COUNT_, "tcp", "http", "exec")
DEFINE_WORDS(check_kind, enum check_kind, CHECK_KIND_COUNT_, "ready", "live")

/* ---- the fields, in the order in which JSON has them ---- */

static const struct field file_rows[] = {
    FIELD(struct spec_file, path, "path"),
    FIELD(struct spec_file, digest, "digest"),
};
static const struct fields file_fields = {FIELDS_OF(file_rows, struct spec_file)};

static const struct field image_rows[] = {
    FIELD_ENUM(struct spec_image, kind, "kind", &image_kind_words),
    FIELD(struct spec_image, location, "location"),
    FIELD_ENUM(struct spec_image, arch, "arch", &arch_words, .omit_empty = true),
    FIELD(struct spec_image, sha256, "sha256"),
};
static const struct fields image_fields = {FIELDS_OF(image_rows, struct spec_image)};

static const struct field volume_rows[] = {
    FIELD(struct spec_volume, name, "name"),
    FIELD(struct spec_volume, size_gib, "sizeGib", .omit_empty = true),
    FIELD(struct spec_volume, mount, "mount"),
};

/* It becomes the name of a directory, and a word of a command line. */
static int check_volume(const void *object, struct error *err)
{
    const struct spec_volume *volume = object;
    if (!volume_name_is_valid(volume->name)) {
        return error_set(err, ERR_STORE, "the name of a volume is not valid");
    }
    return volume->mount && !mount_point_is_valid(volume->mount)
               ? error_set(err, ERR_STORE, "volume '%s': its mount is not valid", volume->name)
               : 0;
}

const struct fields spec_volume_fields = {
    FIELDS_OF(volume_rows, struct spec_volume), .is_strict = true, .check = check_volume};

static const struct field disk_rows[] = {
    FIELD(struct spec_disk, name, "name"),
    FIELD(struct spec_disk, size_gib, "sizeGib", .omit_empty = true),
    FIELD(struct spec_disk, file, "file"),
};

static int check_further_disk(const void *object, struct error *err)
{
    const struct spec_disk *disk = object;
    bool is_one = (disk->size_gib > 0) != (disk->file != NULL);
    return vm_name_is_plain(disk->name) && volume_name_is_valid(disk->name) && is_one
               ? 0
               : error_set(err, ERR_STORE, "a disk has no valid name, or not one of size and file");
}

static const struct fields disk_fields = {
    FIELDS_OF(disk_rows, struct spec_disk), .check = check_further_disk};

static const struct field share_rows[] = {
    FIELD(struct spec_share, host, "host"),
    FIELD(struct spec_share, guest, "guest"),
    FIELD(struct spec_share, tag, "tag"),
    FIELD(struct spec_share, is_readonly, "readonly"),
};

static int check_share(const void *object, struct error *err)
{
    const struct spec_share *share = object;
    bool is_valid = share->host && share->host[0] == '/' && share->guest &&
                    mount_point_is_valid(share->guest) && share_tag_is_valid(share->tag);
    return is_valid ? 0 : error_set(err, ERR_STORE, "a shared folder is not valid");
}

static const struct fields share_fields = {
    FIELDS_OF(share_rows, struct spec_share), .is_strict = true, .check = check_share};

static const struct field vnc_rows[] = {
    FIELD(struct spec_vnc, port, "port"),
    FIELD(struct spec_vnc, password_file, "passwordFile"),
};
static const struct fields vnc_fields = {FIELDS_OF(vnc_rows, struct spec_vnc)};

static const struct field cloud_init_rows[] = {
    FIELD(struct spec_cloud_init, is_set, "isSet"),
    FIELD(struct spec_cloud_init, hostname, "hostname"),
    FIELD_STRUCT(struct spec_cloud_init, ssh_key, "sshKey", &file_fields, .omit_empty = true),
    FIELD_STRUCT(struct spec_cloud_init, user_data, "userData", &file_fields, .omit_empty = true),
    FIELD(struct spec_cloud_init, is_joined, "userDataJoined", .omit_empty = true),
    FIELD_LIST(struct spec_cloud_init, further_user_data, n_further_user_data, "furtherUserData",
        &file_fields, .omit_empty = true),
    FIELD_STRUCT(
        struct spec_cloud_init, vendor_data, "vendorData", &file_fields, .omit_empty = true),
    FIELD_STRUCT(
        struct spec_cloud_init, network_config, "networkConfig", &file_fields, .omit_empty = true),
    FIELD_ENUM(struct spec_cloud_init, bus, "seedBus", &seed_bus_words),
    FIELD_ENUM(
        struct spec_cloud_init, on_error, "onError", &setup_policy_words, .omit_empty = true),
};
static const struct fields cloud_init_fields = {FIELDS_OF(cloud_init_rows, struct spec_cloud_init)};

static const struct field ssh_rows[] = {
    FIELD(struct spec_ssh, is_set, "isSet"),
    FIELD(struct spec_ssh, user, "user"),
    FIELD(struct spec_ssh, private_key, "privateKey"),
    FIELD(struct spec_ssh, timeout_s, "timeoutSeconds", .omit_empty = true),
};
static const struct fields ssh_fields = {FIELDS_OF(ssh_rows, struct spec_ssh)};

static const struct field variable_rows[] = {
    FIELD(struct spec_variable, name, "name"),
    FIELD(struct spec_variable, value, "value"),
};

/* It becomes a word of a program in the guest. */
static int check_variable(const void *object, struct error *err)
{
    const struct spec_variable *variable = object;
    return step_variable_is_valid(variable->name) && variable->value
               ? 0
               : error_set(err, ERR_STORE, "a variable of a step has no valid name, or no value");
}

static const struct fields variable_fields = {
    FIELDS_OF(variable_rows, struct spec_variable), .check = check_variable};

static const struct field label_rows[] = {
    FIELD(struct spec_label, key, "key"),
    FIELD(struct spec_label, value, "value"),
};

static int check_label(const void *object, struct error *err)
{
    const struct spec_label *label = object;
    return label->key && label_key_is_valid(label->key) && label->value &&
                   label_value_is_valid(label->value)
               ? 0
               : error_set(err, ERR_STORE, "a label is not valid");
}

static const struct fields label_fields = {
    FIELDS_OF(label_rows, struct spec_label), .check = check_label};

static const struct field secret_rows[] = {
    FIELD(struct spec_secret, name, "name"),
    FIELD_ENUM(struct spec_secret, source, "source", &secret_source_words),
    FIELD(struct spec_secret, from, "from"),
};

static int check_secret(const void *object, struct error *err)
{
    const struct spec_secret *secret = object;
    return step_variable_is_valid(secret->name) && secret->from
               ? 0
               : error_set(err, ERR_STORE, "a secret of a step has no valid name, or no source");
}

static const struct fields secret_fields = {
    FIELDS_OF(secret_rows, struct spec_secret), .check = check_secret};

static const struct field step_rows[] = {
    FIELD_ENUM(struct spec_step, kind, "kind", &step_kind_words),
    FIELD(struct spec_step, command, "command"),
    FIELD_STRUCT(struct spec_step, file, "file", &file_fields, .omit_empty = true),
    FIELD(struct spec_step, destination, "destination"),
    FIELD_ENUM(struct spec_step, run, "run", &step_run_words),
    FIELD(struct spec_step, timeout_s, "timeoutSeconds"),
    FIELD(struct spec_step, is_per_vm, "perVm", .omit_empty = true),
    FIELD_LIST(
        struct spec_step, env, n_env, "env", &variable_fields, .is_set = true, .omit_empty = true),
    FIELD_LIST(struct spec_step, secrets, n_secrets, "secrets", &secret_fields, .is_set = true,
        .omit_empty = true),
};

static int check_step(const void *object, struct error *err)
{
    const struct spec_step *step = object;
    if (step->kind == STEP_INLINE && !step->command) {
        return error_set(err, ERR_STORE, "command is missing");
    }
    if (step->kind != STEP_INLINE && !step->file.path) {
        return error_set(err, ERR_STORE, "a provision step has no file");
    }
    if (step->kind == STEP_FILE && !step->destination) {
        return error_set(err, ERR_STORE, "destination is missing");
    }
    return 0;
}

static const struct fields step_fields = {
    FIELDS_OF(step_rows, struct spec_step), .check = check_step};

static const struct field probe_rows[] = {
    FIELD_ENUM(struct spec_probe, kind, "kind", &probe_kind_words),
    FIELD(struct spec_probe, port, "port"),
    FIELD(struct spec_probe, text, "text"),
};

static int check_probe(const void *object, struct error *err)
{
    const struct spec_probe *probe = object;
    bool is_complete = probe->kind == PROBE_TCP || probe->text;
    return is_complete ? 0 : error_set(err, ERR_STORE, "text is missing");
}

static const struct fields probe_fields = {
    FIELDS_OF(probe_rows, struct spec_probe), .check = check_probe};

#define CHECK_ROWS                                                                                 \
    FIELD_LIST(struct spec_check, probes, n_probes, "probes", &probe_fields, .is_set = true),      \
        FIELD(struct spec_check, period_s, "periodSeconds"),                                       \
        FIELD(struct spec_check, timeout_s, "timeoutSeconds"),                                     \
        FIELD(struct spec_check, failures, "failures")

static const struct field ready_rows[] = {CHECK_ROWS};
static const struct field live_rows[] = {
    CHECK_ROWS,
    FIELD(struct spec_check, start_period_s, "startPeriodSeconds"),
};
static const struct fields ready_fields = {FIELDS_OF(ready_rows, struct spec_check)};
static const struct fields live_fields = {FIELDS_OF(live_rows, struct spec_check)};

static const struct field io_limit_rows[] = {
    FIELD(struct spec_io_limit, read_kib, "readKib"),
    FIELD(struct spec_io_limit, write_kib, "writeKib"),
    FIELD(struct spec_io_limit, iops, "iops"),
};
static const struct fields io_limit_fields = {FIELDS_OF(io_limit_rows, struct spec_io_limit)};

static const struct field spec_rows[] = {
    FIELD(struct vm_spec, name, "name"),
    FIELD_ENUM(struct vm_spec, backend, "backend", &backend_kind_words),
    FIELD(struct vm_spec, propolis_server, "propolisServer"),
    FIELD_STRUCT(struct vm_spec, image, "image", &image_fields),
    FIELD(struct vm_spec, vcpus, "vcpus"),
    FIELD(struct vm_spec, memory_mib, "memoryMib"),
    FIELD(struct vm_spec, max_vcpus, "maxVcpus", .omit_empty = true),
    FIELD(struct vm_spec, max_memory_mib, "maxMemoryMib", .omit_empty = true),
    FIELD(struct vm_spec, cpu_limit_milli, "cpuLimitMilli", .omit_empty = true),
    FIELD(struct vm_spec, memory_limit_mib, "memoryLimitMib", .omit_empty = true),
    FIELD(struct vm_spec, disk_gib, "diskGib"),
    FIELD_STRUCT(struct vm_spec, io_limit, "ioLimit", &io_limit_fields, .omit_empty = true),
    FIELD_LIST(struct vm_spec, volumes, n_volumes, "volumes", &spec_volume_fields, .is_set = true,
        .omit_empty = true),
    FIELD_LIST(
        struct vm_spec, disks, n_disks, "disks", &disk_fields, .is_set = true, .omit_empty = true),
    FIELD_LIST(struct vm_spec, shares, n_shares, "shares", &share_fields, .is_set = true,
        .omit_empty = true),
    FIELD_STRUCT(struct vm_spec, network, "network", &spec_network_fields),
    FIELD_LIST(struct vm_spec, further_networks, n_further_networks, "furtherNetworks",
        &spec_network_fields, .omit_empty = true),
    FIELD_STRUCT(struct vm_spec, vnc, "vnc", &vnc_fields, .omit_empty = true),
    FIELD_STRUCT(struct vm_spec, cloud_init, "cloudInit", &cloud_init_fields),
    FIELD_STRUCT(struct vm_spec, ssh, "ssh", &ssh_fields),
    FIELD_LIST(struct vm_spec, steps, n_steps, "provision", &step_fields),
    FIELD_STRUCT(struct vm_spec, checks[CHECK_READY], "ready", &ready_fields),
    FIELD_STRUCT(struct vm_spec, checks[CHECK_LIVE], "live", &live_fields),
    FIELD_TEXTS(struct vm_spec, depends_on, n_depends_on, "dependsOn", .is_set = true),
    FIELD_LIST(struct vm_spec, labels, n_labels, "labels", &label_fields, .is_set = true,
        .omit_empty = true),
    FIELD(struct vm_spec, is_protected, "protected", .omit_empty = true),
    FIELD_ENUM(struct vm_spec, accel, "accel", &accel_mode_words),
    FIELD(struct vm_spec, machine, "machine"),
    FIELD_ENUM(struct vm_spec, firmware, "firmware", &firmware_words),
    FIELD(struct vm_spec, has_tpm, "tpm", .omit_empty = true),
    FIELD_ENUM(struct vm_spec, restart, "restart", &restart_policy_words),
    FIELD_ENUM(struct vm_spec, autostart, "autostart", &autostart_words, .omit_empty = true),
    FIELD_ENUM(struct vm_spec, warm, "warm", &warm_words, .omit_empty = true),
    FIELD(struct vm_spec, stop_timeout_s, "stopTimeoutSeconds"),
};

#define CHECK_DEFAULTS                                                                             \
    .period_s = SPEC_DEFAULT_PERIOD_S, .timeout_s = SPEC_DEFAULT_PROBE_TIMEOUT_S,                  \
    .failures = SPEC_DEFAULT_FAILURES

/* The first value of each enum is its default. */
static const struct vm_spec defaults = {
    .vcpus = SPEC_DEFAULT_VCPUS,
    .memory_mib = SPEC_DEFAULT_MEMORY_MIB,
    .ssh.user = (char *)SPEC_DEFAULT_USER,
    .checks[CHECK_READY] = {CHECK_DEFAULTS},
    .checks[CHECK_LIVE] = {CHECK_DEFAULTS, .start_period_s = SPEC_DEFAULT_START_PERIOD_S},
    .stop_timeout_s = SPEC_DEFAULT_STOP_TIMEOUT_S,
};

const struct fields vm_spec_fields = {
    FIELDS_OF(spec_rows, struct vm_spec), .defaults = &defaults, .is_strict = true};

/* ---- the record ---- */

struct vm_spec *vm_spec_new(const char *name)
{
    struct vm_spec *spec = fields_new(&vm_spec_fields);
    spec->name = mem_strdup(name);
    return spec;
}

DEFINE_RECORD(vm_spec, &vm_spec_fields)

struct vm_spec *vm_spec_read(struct bytes json, struct error *err)
{
    struct vm_spec *spec = fields_new(&vm_spec_fields);
    int rc = fields_read(&vm_spec_fields, json, spec, NULL, err);
    const char *name = spec->name ? spec->name : "";
    if (!vm_name_is_valid(name) &&
        !vm_spec_name_is_of_template(name)) { /* it becomes the name of a directory */
        error_clear(err);
        rc = error_set(err, ERR_STORE, "spec of a VM: name '%s' is not valid", name);
    } else if (rc < 0) {
        error_wrap(err, "spec of VM '%s'", name);
    }
    if (rc < 0) {
        vm_spec_free(spec);
        return NULL;
    }
    return spec;
}

void vm_spec_digest(const struct vm_spec *spec, char *ret_hex)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    struct json_writer canonical = {.out = &text, .is_sorted = true};
    fields_write(&vm_spec_fields, spec, &canonical);
    digest_text(buf_str(&text), ret_hex);
}

/* ---- properties ---- */

static const char *host_machine(void)
{
    static struct utsname host;
    return host.machine[0] || uname(&host) == 0 ? host.machine : "x86_64";
}

const char *arch_machine(enum arch arch)
{
    return arch == ARCH_HOST ? host_machine() : enum_names_at(&arch_words, (int)arch);
}

bool vm_spec_is_arm(const struct vm_spec *spec)
{
    return text_eq(arch_machine(spec->image.arch), "aarch64");
}

bool vm_spec_is_riscv(const struct vm_spec *spec)
{
    return text_eq(arch_machine(spec->image.arch), "riscv64");
}

bool vm_spec_is_virt(const struct vm_spec *spec)
{
    return vm_spec_is_arm(spec) || vm_spec_is_riscv(spec);
}

void vm_spec_settle_arch(struct vm_spec *spec)
{
    if (!arch_is_foreign(spec->image.arch)) {
        spec->image.arch = ARCH_HOST;
    }
    if (spec->firmware == FIRMWARE_BIOS && vm_spec_is_virt(spec)) {
        spec->firmware = FIRMWARE_UEFI;
    }
}

bool arch_is_foreign(enum arch arch)
{
    return arch != ARCH_HOST && !text_eq(arch_machine(arch), host_machine());
}

const char *spec_image_foreign_machine(const struct spec_image *image)
{
    static const char scheme[] = "oci://";
    bool is_in_registry =
        image->location && strncasecmp(image->location, scheme, sizeof(scheme) - 1) == 0;
    return is_in_registry && arch_is_foreign(image->arch) ? arch_machine(image->arch) : NULL;
}

char *spec_image_record_key(const struct spec_image *image)
{
    const char *machine = spec_image_foreign_machine(image); /* no URL contains a blank */
    return mem_printf("url:%s%s%s", image->location, machine ? " " : "", machine ? machine : "");
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* A letter or digit, then those and what else `others` has; at most SPEC_NAME_MAX. */
static bool is_word(const char *text, const char *others)
{
    if (!text || !is_letter_or_digit(text[0])) {
        return false;
    }
    size_t n = 1;
    while (is_letter_or_digit(text[n]) || (text[n] && strchr(others, text[n]))) {
        n++;
    }
    return text[n] == '\0' && n <= SPEC_NAME_MAX;
}

bool vm_spec_name_is_valid(const char *name)
{
    return vm_name_is_plain(name);
}

bool label_key_is_valid(const char *key)
{
    return is_word(key, "._-/");
}

bool label_value_is_valid(const char *value)
{
    return !value[0] || is_word(value, "._-");
}

bool step_variable_is_valid(const char *name)
{
    size_t n = name && (is_letter_or_digit(name[0]) || name[0] == '_') ? 1 : 0;
    bool begins = n > 0 && !(name[0] >= '0' && name[0] <= '9');
    while (begins && (is_letter_or_digit(name[n]) || name[n] == '_')) {
        n++;
    }
    return begins && name[n] == '\0' && n <= 128;
}

void vm_spec_leave_identity(struct vm_spec *spec)
{
    spec->is_protected = false;
    vm_spec_leave_sockets(spec, false);
    free(TAKE_PTR(spec->network.mac));
    free(TAKE_PTR(spec->network.address));
    for (size_t i = 0; i < spec->n_further_networks; i++) {
        free(TAKE_PTR(spec->further_networks[i].mac));
        free(TAKE_PTR(spec->further_networks[i].address));
    }
}

char *spec_secret_key(const struct spec_secret *secret)
{
    return mem_printf(
        "%s:%s", enum_names_at(&secret_source_words, (int)secret->source), secret->from);
}

const char *spec_secret_problem(const struct spec_secret *secret, struct buf *value)
{
    _Static_assert(SECRETS_MAX_BYTES == 64 << 10, "as the text says");
    bool ends_line = secret->source != SECRET_FROM_ENV;
    value->len -= ends_line && value->len > 0 && value->data[value->len - 1] == '\n';
    value->len -= ends_line && value->len > 0 && value->data[value->len - 1] == '\r';
    return value->is_full || value->len > SECRETS_MAX_BYTES ? "it has more than 64 KiB"
           : value->len == 0                                ? "it is empty"
           : memchr(value->data, '\0', value->len)          ? "it holds a NUL character"
                                                            : NULL;
}

bool volume_name_is_valid(const char *name)
{
    return vm_name_is_valid(name) && strlen(vm_name_plain(name)) <= VOLUME_NAME_MAX;
}

bool share_tag_is_valid(const char *tag)
{
    return vm_spec_name_is_valid(tag) && strlen(tag) <= SHARE_TAG_MAX;
}

char *share_default_tag(const char *guest)
{
    size_t n = strlen(guest), skipped = n > SHARE_TAG_MAX ? n - SHARE_TAG_MAX : 0;
    while (guest[skipped] && !is_letter_or_digit(guest[skipped])) {
        skipped++;
    }
    char *tag = mem_strdup(guest[skipped] ? guest + skipped : "share");
    for (char *at = tag; *at; at++) {
        *at = is_letter_or_digit(*at) || strchr("._", *at) ? *at : '-';
    }
    return tag;
}

bool mount_point_is_valid(const char *path)
{
    bool is_valid = path[0] == '/' && path[1] && strlen(path) < 1024;
    for (const char *at = path; is_valid && *at; at++) {
        bool is_dots = at[0] == '/' && at[1] == '.' &&
                       (!at[2] || at[2] == '/' || (at[2] == '.' && (!at[3] || at[3] == '/')));
        bool is_empty = at[0] == '/' && (!at[1] || at[1] == '/');
        is_valid = (unsigned char)*at >= ' ' && *at != 0x7f && !is_dots && !is_empty;
    }
    return is_valid;
}

const char *vm_spec_label(const struct vm_spec *spec, const char *key)
{
    for (size_t i = 0; i < spec->n_labels; i++) {
        if (text_eq(spec->labels[i].key, key)) {
            return spec->labels[i].value;
        }
    }
    return NULL;
}

bool vm_spec_has_our_seed(const struct vm_spec *spec)
{
    return spec->cloud_init.is_set &&
           (!spec->cloud_init.user_data.path || spec->cloud_init.is_joined);
}

/* QEMU and what it is started with, its page tables, and buffers of its disks. */
uint32_t spec_least_memory_limit_mib(uint32_t memory_mib)
{
    enum { OVERHEAD_MIB = 256, SHARE = 64 };
    return memory_mib + memory_mib / SHARE + OVERHEAD_MIB;
}

const struct spec_volume *vm_spec_volume(const struct vm_spec *spec, const char *name)
{
    for (size_t i = 0; spec && i < spec->n_volumes; i++) {
        if (text_eq(spec->volumes[i].name, name)) {
            return &spec->volumes[i];
        }
    }
    return NULL;
}

const struct spec_disk *vm_spec_disk(const struct vm_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->n_disks; i++) {
        if (text_eq(spec->disks[i].name, name)) {
            return &spec->disks[i];
        }
    }
    return NULL;
}

char *volume_lease_key(const char *name)
{
    return mem_printf("volume/%s", name);
}

bool vm_spec_name_is_of_template(const char *name)
{
    return name && name[0] == '~' && vm_spec_name_is_valid(name + 1);
}

uint32_t vm_spec_ssh_timeout_s(const struct vm_spec *spec)
{
    return spec->ssh.timeout_s ? spec->ssh.timeout_s : SPEC_DEFAULT_SSH_TIMEOUT_S;
}

char *vm_spec_key_beside(const struct vm_spec *spec)
{
    const char *path = spec->cloud_init.ssh_key.path;
    bool has_private = spec->cloud_init.is_set && path && text_ends_with(path, ".pub");
    return has_private ? mem_strndup(path, strlen(path) - strlen(".pub")) : NULL;
}

bool vm_spec_expects_ssh(const struct vm_spec *spec)
{
    return spec->network.mode != NETWORK_NONE &&
           (spec->ssh.is_set || spec->cloud_init.is_set || spec->n_steps > 0);
}
