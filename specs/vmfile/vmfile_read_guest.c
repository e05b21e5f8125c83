/* SPDX-License-Identifier: MPL-2.0 */
/* `cloud-init { … }` and `ssh { … }`: how the guest is set up and reached. */
#include "specs/vmfile/vmfile_reader.h"

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vmfile/guest_text.h"

#define SPEC(member) .offset = offsetof(struct vm_spec, member)

static int check_public_key(const char *bytes, size_t n, struct error *err)
{
    static const char mark[] = "PRIVATE KEY-----";
    if (!memmem(bytes, n, mark, sizeof(mark) - 1)) {
        return 0;
    }
    (void)error_set(err, ERR_VMFILE_INVALID, "it is a private key; the guest needs the public one");
    return error_help(err, "name the file beside it that ends in .pub");
}

/* A further one becomes a part beside those before it, which all have to be parts for that. */
static void add_user_data(struct vmfile_reader *reader, const struct vmfile_field *field,
    bool is_raw, struct vm_spec *spec)
{
    struct spec_cloud_init *cloud_init = &spec->cloud_init;
    _Static_assert(USER_DATA_MAX == 16, "as the text says");
    if (cloud_init->user_data.path && (is_raw || !cloud_init->is_joined)) {
        vmfile_report(reader, field->value->pos,
            "of several, each is a part beside vmctl's: write raw=#false behind each",
            "`user-data` occurs a second time, and %s is passed on as it is",
            is_raw ? "this one" : "the first one");
        return;
    }
    if (cloud_init->n_further_user_data + 1 == USER_DATA_MAX) {
        vmfile_report(reader, field->value->pos, "make one file of several",
            "VM \"%s\" has more than 16 `user-data`", spec->name);
        return;
    }
    char *path = vmfile_path(reader, field, guest_text_check_user_data);
    if (path && cloud_init->user_data.path) {
        mem_grow(cloud_init->further_user_data, cloud_init->n_further_user_data);
        cloud_init->further_user_data[cloud_init->n_further_user_data++] =
            (struct spec_file){.path = path};
    } else if (path) {
        cloud_init->user_data.path = path;
        cloud_init->is_joined = !is_raw;
    }
}

static void read_user_data(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    add_user_data(reader, field, true, target);
}

#define USER_DATA_USAGE "user-data \"cloud-config.yaml\""

static const struct vmfile_rule user_data_rules[] = {
    {"raw", .usage = USER_DATA_USAGE " raw=#false", .kind = VMFILE_FLAG, .offset = 0},
};

static const struct vmfile_shape user_data_shape = {
    USER_DATA_USAGE " raw=#false", 1, 1, user_data_rules, ARRAY_LEN(user_data_rules), false};

static void read_user_data_form(
    struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct kdl_pos seen[ARRAY_LEN(user_data_rules)] = {{0}};
    bool is_raw = true;
    struct vmfile_field field;
    vmfile_read_node(reader, node, &user_data_shape, &is_raw, seen);
    if (vmfile_argument(node, 0, &field)) {
        add_user_data(reader, &field, is_raw, target);
    }
}

static const struct vmfile_rule cloud_init_rules[] = {
    {"hostname", .usage = "hostname \"myvm\"", .kind = VMFILE_NAME, SPEC(cloud_init.hostname),
        .is_valid = vmfile_is_hostname, .problem = "is not a valid host name:",
        .hint = "letters, digits and '-' in parts of at most 63 characters"},
    {"ssh-key", .usage = "ssh-key \"~/.ssh/id_ed25519.pub\"", .kind = VMFILE_PATH,
        SPEC(cloud_init.ssh_key.path), .check = check_public_key},
    {"user-data", .usage = USER_DATA_USAGE, .read_value = read_user_data,
        .read_form = read_user_data_form},
    {"vendor-data", .usage = "vendor-data \"cloud-config.yaml\"", .kind = VMFILE_PATH,
        SPEC(cloud_init.vendor_data.path), .check = guest_text_check_user_data},
    {"network-config", .usage = "network-config \"network.yaml\"", .kind = VMFILE_PATH,
        SPEC(cloud_init.network_config.path), .check = guest_text_check_mapping},
    {"seed", .usage = "seed \"scsi\"", .kind = VMFILE_WORD, SPEC(cloud_init.bus),
        .words = &seed_bus_words},
    {"on-error", .usage = "on-error \"fail\"", .kind = VMFILE_WORD, SPEC(cloud_init.on_error),
        .words = &setup_policy_words},
};

static const struct vmfile_shape cloud_init_shape = {
    "cloud-init { hostname \"myvm\" }", 0, 0, cloud_init_rules, ARRAY_LEN(cloud_init_rules), false};

void vmfile_read_cloud_init(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct vm_spec *spec = ((struct vmfile_vm *)target)->spec;
    struct kdl_pos seen[ARRAY_LEN(cloud_init_rules)] = {{0}};
    spec->cloud_init.is_set = true;
    vmfile_read_node(reader, node, &cloud_init_shape, spec, seen);
}

static void read_timeout(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    enum { TIMEOUT_MAX_S = 24 * 3600 };
    struct vm_spec *spec = target;
    uint32_t seconds = 0;
    if (!vmfile_seconds(reader, field, TIMEOUT_MAX_S, &seconds)) {
        return;
    }
    if (seconds == 0) {
        vmfile_report(reader, field->value->pos, "write for example: timeout \"10m\"",
            "`timeout` of `ssh` must be at least a second");
        return;
    }
    spec->ssh.timeout_s = seconds == SPEC_DEFAULT_SSH_TIMEOUT_S ? 0 : seconds;
}

static const struct vmfile_rule ssh_rules[] = {
    {"user", .usage = "user \"ubuntu\"", .kind = VMFILE_NAME, SPEC(ssh.user),
        .is_valid = vmfile_is_user_name, .problem = "is not a valid user name:",
        .hint = "lower-case letters, digits, '_' and '-', at most 32 characters"},
    {"private-key", .usage = "private-key \"~/.ssh/id_ed25519\"", .kind = VMFILE_PATH,
        SPEC(ssh.private_key)},
    {"timeout", .usage = "timeout \"10m\"", .read_value = read_timeout},
};

static const struct vmfile_shape ssh_shape = {
    "ssh { user \"ubuntu\" }", 0, 0, ssh_rules, ARRAY_LEN(ssh_rules), false};

void vmfile_read_ssh(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct vm_spec *spec = ((struct vmfile_vm *)target)->spec;
    struct kdl_pos seen[ARRAY_LEN(ssh_rules)] = {{0}};
    spec->ssh.is_set = true;
    vmfile_read_node(reader, node, &ssh_shape, spec, seen);
}
