/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl create: a VM from the command line, without a VMFile. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/scope.h"
#include "cli/request/shares.h"
#include "cli/request/vm_request.h"
#include "cli/request/targets.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/vm/vm_spec.h"
#include "specs/vmfile/guest_text.h"
#include "specs/vmfile/image_names.h"
#include "store/store.h"

struct create_values {
    struct follow_values follow;
    const char *name, *image, *image_url, *sha256, *arch, *bridge, *user_data, *ssh_key, *user,
        *backend;
    uint32_t vcpus, memory_mib, disk_gib;
    struct arg_strings shares;
    bool starts, has_no_seed;
};

static const struct arg_option options[] = {
    {"name", 0, ARG_TEXT, offsetof(struct create_values, name), "NAME", "the VM's name (required)"},
    {"image", 0, ARG_TEXT, offsetof(struct create_values, image), "PATH|NAME",
        "local disk image, or a name from vmctl image search"},
    {"image-url", 0, ARG_TEXT, offsetof(struct create_values, image_url), "URL",
        "disk image to download"},
    {"sha256", 0, ARG_TEXT, offsetof(struct create_values, sha256), "HEX", "the image's SHA-256"},
    {"arch", 0, ARG_TEXT, offsetof(struct create_values, arch), "ARCH",
        "the guest's processor: x86_64, aarch64, riscv64 [default: the host's]"},
    {"vcpus", 0, ARG_NUMBER, offsetof(struct create_values, vcpus), "N",
        "virtual CPUs [default: 1]"},
    {"memory", 0, ARG_MIB, offsetof(struct create_values, memory_mib), "MB",
        "memory, also as 512M or 2G [default: 1024]"},
    {"disk", 0, ARG_GIB, offsetof(struct create_values, disk_gib), "GB",
        "disk size, also as 20G [default: as the image]"},
    OPTION_SHARE(struct create_values),
    {"bridge", 0, ARG_TEXT, offsetof(struct create_values, bridge), "NAME",
        "bridge for TAP networking [default: user networking]"},
    {"cloud-init", 0, ARG_TEXT, offsetof(struct create_values, user_data), "PATH",
        "cloud-init user-data file"},
    {"no-cloud-init", 0, ARG_FLAG, offsetof(struct create_values, has_no_seed), NULL,
        "no cloud-init: the guest gets no user, key or host name"},
    {"ssh-key", 0, ARG_TEXT, offsetof(struct create_values, ssh_key), "PATH",
        "public key for the guest's user, in addition to the VM's own"},
    {"user", 0, ARG_TEXT, offsetof(struct create_values, user), "USER",
        "the guest's user [default: vm]"},
    {"backend", 0, ARG_TEXT, offsetof(struct create_values, backend), "NAME", NULL},
    {"start", 0, ARG_FLAG, offsetof(struct create_values, starts), NULL,
        "start it and wait until it is ready"},
    OPTIONS_FOLLOW(struct create_values),
    OPTIONS_END,
};

static const struct create_values defaults = {
    .follow.timeout_ms = FOLLOW_TIMEOUT_MS,
    .vcpus = SPEC_DEFAULT_VCPUS,
    .memory_mib = SPEC_DEFAULT_MEMORY_MIB,
};

/* ---- the spec ---- */

static int set_path(char **field, const char *option, const char *path, struct error *err)
{
    struct stat st;
    cleanup_free char *cwd = getcwd(NULL, 0);
    cleanup_free char *absolute = fs_resolve(path, cwd ? cwd : "/", paths_home());
    if (user_path_readable(absolute, &st) < 0) {
        return error_set_errno(err, ERR_USAGE, errno, "--%s: cannot read '%s'", option, path);
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(err, ERR_USAGE, "--%s: '%s' is a %s, not a file", option, path,
            S_ISDIR(st.st_mode) ? "directory" : "pipe or a device");
    }
    free(*field);
    *field = TAKE_PTR(absolute);
    return 0;
}

static int set_url(struct spec_image *image, const char *url, struct error *err)
{
    static const char *const schemes[] = {"https://", "http://", "file://", "oci://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (text_starts_with(url, schemes[i]) && url[strlen(schemes[i])]) {
            image->kind = IMAGE_URL;
            image->location = mem_strdup(url);
            return 0;
        }
    }
    (void)error_set(
        err, ERR_USAGE, "--image-url: '%s' is not an https, http, file or oci URL", url);
    return error_help(err, "for a file on this host: --image PATH");
}

static int set_sha256(struct spec_image *image, const char *text, struct error *err)
{
    if (strlen(text) != DIGEST_SIZE - 1 ||
        strspn(text, "0123456789abcdefABCDEF") != DIGEST_SIZE - 1) {
        return error_set(err, ERR_USAGE, "--sha256 needs 64 hexadecimal digits");
    }
    image->sha256 = mem_strdup(text);
    for (char *at = image->sha256; *at; at++) {
        *at = *at >= 'A' && *at <= 'F' ? (char)(*at - 'A' + 'a') : *at;
    }
    return 0;
}

static int set_arch(struct vm_spec *spec, const char *name, struct error *err)
{
    int arch = enum_names_find(&arch_words, name);
    if (arch <= (int)ARCH_HOST) {
        (void)error_set(err, ERR_USAGE, "--arch: unknown processor '%s'", name);
        return error_help(err, "one of: x86_64, aarch64, riscv64");
    }
    spec->image.arch = (enum arch)arch;
    return 0;
}

/* A name such as debian:12+aarch64 has its own processor. */
static int set_named(
    struct vm_spec *spec, const char *word, const struct named_image *image, struct error *err)
{
    enum arch wanted = spec->image.arch;
    if (wanted != ARCH_HOST && !text_eq(arch_machine(image->arch), arch_machine(wanted))) {
        (void)error_set(err, ERR_USAGE, "image '%s' is for %s, not for --arch %s", word,
            arch_machine(image->arch), arch_machine(wanted));
        return error_help(err, "leave out --arch");
    }
    named_image_apply(image, spec);
    return 0;
}

/* A file counts, as in a VMFile. */
static int set_file_or_name(struct vm_spec *spec, const char *word, struct error *err)
{
    cleanup_with(image_names_clear) struct image_names names = {.count = 0};
    struct stat st;
    bool is_meant = image_name_is_meant(word) && user_path_stat(word, &st) < 0;
    int rc = is_meant ? image_names_load(&names, err) : 0;
    const struct named_image *image =
        rc == 0 ? image_names_find_for(&names, word, spec->image.arch) : NULL;
    image = rc == 0 && !image ? image_names_find(&names, word) : image; /* for another one */
    if (image) {
        return set_named(spec, word, image, err);
    }
    rc = rc < 0 ? rc : set_path(&spec->image.location, "image", word, err);
    return rc < 0 && is_meant ? error_help(err, "images by name: vmctl image search") : rc;
}

static int set_image(struct vm_spec *spec, const struct create_values *values, struct error *err)
{
    if (!values->image == !values->image_url) {
        (void)error_set(err, ERR_USAGE, "create needs one of --image and --image-url");
        return error_help(
            err, "such as: vmctl create --name %s --image debian:12 --start", spec->name);
    }
    int rc = values->image ? set_file_or_name(spec, values->image, err)
                           : set_url(&spec->image, values->image_url, err);
    return rc < 0 || !values->sha256 ? rc : set_sha256(&spec->image, values->sha256, err);
}

static int set_resources(
    struct vm_spec *spec, const struct create_values *values, struct error *err)
{
    enum { VCPUS_MAX = 1024, MEMORY_MAX = 16 << 20, DISK_MAX = 64 << 10 };
    if (values->vcpus < 1 || values->vcpus > VCPUS_MAX) {
        return error_set(err, ERR_USAGE, "--vcpus must be from 1 to %d", VCPUS_MAX);
    }
    if (values->memory_mib < 1 || values->memory_mib > MEMORY_MAX) {
        return error_set(err, ERR_USAGE, "--memory must be from 1 to %d (MB)", MEMORY_MAX);
    }
    if (values->disk_gib > DISK_MAX) {
        return error_set(err, ERR_USAGE, "--disk must be at most %d (GB)", DISK_MAX);
    }
    spec->vcpus = values->vcpus;
    spec->memory_mib = values->memory_mib;
    spec->disk_gib = values->disk_gib;
    return 0;
}

static int check_user_data(const char *path, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(GUEST_TEXT_MAX);
    int rc = fs_read_regular(path, &text, err);
    if (rc == 0 && guest_text_check_user_data(buf_str(&text), text.len, err) < 0) {
        err->code = ERR_USAGE;
        rc = error_wrap(err, "--cloud-init '%s'", path);
    }
    return rc;
}

static int set_guest(struct vm_spec *spec, const struct create_values *values, struct error *err)
{
    int rc = 0;
    if (values->has_no_seed && (values->ssh_key || values->user_data)) {
        return error_set(err, ERR_USAGE, "--%s has no effect with --no-cloud-init",
            values->ssh_key ? "ssh-key" : "cloud-init");
    }
    spec->cloud_init.is_set = !values->has_no_seed;
    if (values->ssh_key) {
        spec->ssh.is_set = true;
        rc = set_path(&spec->cloud_init.ssh_key.path, "ssh-key", values->ssh_key, err);
    }
    if (rc == 0 && values->user_data) {
        rc = set_path(&spec->cloud_init.user_data.path, "cloud-init", values->user_data, err);
        rc = rc < 0 ? rc : check_user_data(spec->cloud_init.user_data.path, err);
    }
    if (values->user) {
        spec->ssh.is_set = true;
        free(spec->ssh.user);
        spec->ssh.user = mem_strdup(values->user);
    }
    return rc;
}

/* An interface's name: at most 15 bytes (IFNAMSIZ), as in a VMFile. */
static int set_bridge(struct vm_spec *spec, const char *bridge, struct error *err)
{
    enum { BRIDGE_MAX = 15 };
    size_t n = strlen(bridge);
    if (n < 1 || n > BRIDGE_MAX || strpbrk(bridge, "/:, \t\n")) {
        return error_set(err, ERR_USAGE, "--bridge: '%s' cannot be the name of a bridge", bridge);
    }
    spec->network.mode = NETWORK_TAP;
    spec->network.bridge = mem_strdup(bridge);
    return 0;
}

static int set_backend(struct vm_spec *spec, const char *name, struct error *err)
{
    int backend = enum_names_find(&backend_kind_words, name);
    if (backend < 0) {
        return error_set(err, ERR_USAGE, "--backend: unknown backend '%s'", name);
    }
    spec->backend = (enum backend_kind)backend;
    return 0;
}

static int fill_spec(struct vm_spec *spec, const struct create_values *values, struct error *err)
{
    int rc = values->arch ? set_arch(spec, values->arch, err) : 0;
    rc = rc < 0 ? rc : set_image(spec, values, err);
    vm_spec_settle_arch(spec);
    if (rc == 0) {
        rc = set_resources(spec, values, err);
    }
    if (rc == 0) {
        rc = set_guest(spec, values, err);
    }
    if (rc == 0 && values->bridge) {
        rc = set_bridge(spec, values->bridge, err);
    }
    if (rc == 0 && values->backend) {
        rc = set_backend(spec, values->backend, err);
    }
    if (rc == 0 && values->arch && spec->backend == BACKEND_PROPOLIS) {
        rc = error_set(err, ERR_USAGE, "--arch needs backend \"qemu\"");
    }
    if (rc == 0 && values->shares.count > 0 &&
        (!vm_spec_expects_ssh(spec) || spec->backend == BACKEND_PROPOLIS)) {
        (void)error_set(err, ERR_USAGE,
            "--share needs a guest that vmctl reaches over SSH, and "
            "backend \"qemu\"");
        rc = error_help(err, "leave out --no-cloud-init");
    }
    rc = rc < 0 ? rc : shares_add(spec, &values->shares, err);
    return rc == 0 ? change_read_files(spec, err) : rc;
}

/* ---- the command ---- */

/* The same command twice succeeds twice; a VM of this name that is another one is a conflict. */
static int check_name_is_free(struct cli *cli, const struct vm_spec *spec, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(cli->store, spec->name, &record, err);
    if (rc < 0 || !record.desired) {
        return rc;
    }
    if (vm_spec_equal(record.desired->spec, spec)) {
        return 0;
    }
    (void)error_set(
        err, ERR_VM_CONFLICT, "vm '%s' exists already, with other settings", spec->name);
    return error_help(err, "use another name, or destroy it first: vmctl destroy %s", spec->name);
}

static int create(struct cli *cli, const struct vm_spec *spec, const struct create_values *values,
    struct error *err)
{
    const struct change pattern = {
        .spec = spec,
        .wants_prepared = true,
        .sets_power = values->starts,
        .power = POWER_RUNNING,
        .retries = true,
    };
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    cleanup_with(vm_request_clear) struct request request = {
        .goal = {.kind = values->starts ? GOAL_READY : GOAL_PREPARED, .allows_drift = true},
        .begun = "creating",
        .done = values->starts ? "created and started" : "created",
    };
    strings_add(&targets, spec->name);
    vm_request_init(&request, &targets, &pattern);
    return vm_request_run(cli, &request, &values->follow, err);
}

static int find_name(struct cli *cli, const struct create_values *values,
    const struct arg_strings *words, char **ret, struct error *err)
{
    const char *word = values->name ? values->name : words->count ? words->items[0] : NULL;
    if (!word || words->count > (values->name ? 0 : 1)) {
        (void)error_set(err, ERR_USAGE, "create needs one name: --name VM");
        return error_help(err, "such as: vmctl create --name web --image debian:12 --start");
    }
    int rc = scope_name(cli, NULL, word, ret, err);
    return rc < 0 ? rc : vm_request_check_name(*ret, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_free char *name = NULL;
    int rc = find_name(cli, values, words, &name, err);
    if (rc < 0) {
        return rc;
    }
    struct vm_spec *spec = vm_spec_new(name);
    rc = fill_spec(spec, values, err);
    if (rc == 0 && (rc = cli_open_store(cli, err)) == 0 &&
        (rc = check_name_is_free(cli, spec, err)) == 0) {
        rc = create(cli, spec, values, err);
    }
    vm_spec_free(spec);
    return rc;
}

const struct command command_create = {
    .name = "create",
    .summary = "Create a VM without a VMFile",
    .usage = "[OPTIONS] --name NAME",
    .details =
        "Downloads the image if needed and prepares the disk; --start also boots the VM. With\n"
        "cloud-init the guest gets a user and a key made for the VM: vmctl ssh VM.",
    .examples = "  vmctl create --name demo --image-url https://example.com/image.img\n"
                "  vmctl create --name demo --image ./ubuntu.qcow2 --vcpus 4 --memory 4096 \\\n"
                "      --disk 40 --ssh-key ~/.ssh/id_ed25519.pub --start",
    .options = options,
    .values_size = sizeof(struct create_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};
