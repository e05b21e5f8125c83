/* SPDX-License-Identifier: MPL-2.0 */
/* `cloud-init { … }` and `ssh { … }`: how the guest is set up and reached. */
#include "specs/vmfile/vmfile_reader.h"

#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

static void read_hostname(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct vm_spec *spec = target;
    const char *name = vmfile_line(reader, field);
    if (name && !vmfile_is_hostname(name)) {
        vmfile_report(reader, field->value->pos,
            "letters, digits and '-' in parts of at most 63 characters",
            "`hostname` is not a valid host name: \"%s\"", name);
    } else if (name) {
        spec->cloud_init.hostname = mem_strdup(name);
    }
}

static void read_ssh_key(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    ((struct vm_spec *)target)->cloud_init.ssh_key.path = vmfile_path(reader, field);
}

static void read_user_data(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    ((struct vm_spec *)target)->cloud_init.user_data.path = vmfile_path(reader, field);
}

static void read_seed(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    int bus;
    if (vmfile_word(reader, field, &seed_bus_words, &bus)) {
        ((struct vm_spec *)target)->cloud_init.bus = (enum seed_bus)bus;
    }
}

static const struct vmfile_rule cloud_init_rules[] = {
    {"hostname", .usage = "hostname \"myvm\"", .read_value = read_hostname},
    {"ssh-key", .usage = "ssh-key \"~/.ssh/id_ed25519.pub\"", .read_value = read_ssh_key},
    {"user-data", .usage = "user-data \"cloud-config.yaml\"", .read_value = read_user_data},
    {"seed", .usage = "seed \"scsi\"", .read_value = read_seed},
};

static const struct vmfile_shape cloud_init_shape = {
    "cloud-init { hostname \"myvm\" }", 0, 0, cloud_init_rules, ARRAY_LEN(cloud_init_rules)};

void vmfile_read_cloud_init(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct vm_spec *spec = ((struct vmfile_vm *)target)->spec;
    struct kdl_pos seen[ARRAY_LEN(cloud_init_rules)] = {{0}};
    spec->cloud_init.is_set = true;
    vmfile_read_node(reader, node, &cloud_init_shape, spec, seen);
}

static void read_user(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct vm_spec *spec = target;
    const char *name = vmfile_line(reader, field);
    if (name && !vmfile_is_user_name(name)) {
        vmfile_report(reader, field->value->pos,
            "lower-case letters, digits, '_' and '-', at most 32 characters",
            "`user` is not a valid user name: \"%s\"", name);
    } else if (name) {
        free(spec->ssh.user);
        spec->ssh.user = mem_strdup(name);
    }
}

static void read_private_key(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    ((struct vm_spec *)target)->ssh.private_key = vmfile_path(reader, field);
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
    {"user", .usage = "user \"ubuntu\"", .read_value = read_user},
    {"private-key", .usage = "private-key \"~/.ssh/id_ed25519\"", .read_value = read_private_key},
    {"timeout", .usage = "timeout \"10m\"", .read_value = read_timeout},
};

static const struct vmfile_shape ssh_shape = {
    "ssh { user \"ubuntu\" }", 0, 0, ssh_rules, ARRAY_LEN(ssh_rules)};

void vmfile_read_ssh(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct vm_spec *spec = ((struct vmfile_vm *)target)->spec;
    struct kdl_pos seen[ARRAY_LEN(ssh_rules)] = {{0}};
    spec->ssh.is_set = true;
    vmfile_read_node(reader, node, &ssh_shape, spec, seen);
}
