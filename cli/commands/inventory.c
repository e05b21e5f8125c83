/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl inventory: the VMs as an inventory of Ansible's, by the protocol of its inventory scripts.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/vm/ssh_options.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "store/store.h"

struct inventory_values {
    const char *host;
    bool lists;
    struct which_values which;
};

static const struct arg_option options[] = {
    {"list", 0, ARG_FLAG, offsetof(struct inventory_values, lists), NULL,
        "all VMs with an SSH address, and their groups [default]"},
    {"host", 0, ARG_TEXT, offsetof(struct inventory_values, host), "VM", "the variables of one VM"},
    {"selector", 'l', ARG_TEXT, offsetof(struct inventory_values, which.selector), "LABELS",
        "only VMs with these labels: tier=web,env!=prod"},
    OPTIONS_END,
};

/* Ansible splits the text as a shell does. */
static void add_argument(struct buf *out, const struct ssh_option *option)
{
    cleanup_free char *word = mem_printf("%s=%s", option->keyword, option->value);
    buf_add_str(out, out->len > 0 ? " -o '" : "-o '");
    for (const char *p = word; *p; p++) {
        if (*p == '\'') {
            buf_add_str(out, "'\\''");
        } else {
            buf_add_char(out, *p);
        }
    }
    buf_add_char(out, '\'');
}

static json_t *labels_of(const struct vm_spec *spec)
{
    json_t *labels = json_object();
    for (size_t i = 0; i < spec->n_labels; i++) {
        json_put_text(labels, spec->labels[i].key, spec->labels[i].value);
    }
    return labels;
}

/* What has a variable of its own is one, the rest goes along as arguments: what a playbook or a
 * group says of user and port counts more, as Ansible's users expect. Of a VM with an address. */
static json_t *variables_of(struct cli *cli, const struct vm_record *record)
{
    const struct vm_spec *spec = record->desired->spec;
    cleanup_with(ssh_options_clear) struct ssh_options ssh = {.count = 0};
    cleanup_buf struct buf arguments = BUF_INIT(0);
    json_t *json = json_object();
    ssh_options_add_guest(&ssh, &cli->paths, spec, record->status, NULL);
    ssh_options_add_key_paths(&ssh, &cli->paths, spec);
    for (size_t i = 0; i < ssh.count; i++) {
        const char *keyword = ssh.items[i].keyword;
        const char *variable = text_eq(keyword, "HostName") ? "ansible_host"
                               : text_eq(keyword, "User")   ? "ansible_user"
                                                            : NULL;
        if (variable) {
            json_put_text(json, variable, ssh.items[i].value);
        } else if (!text_eq(keyword, "Port")) {
            add_argument(&arguments, &ssh.items[i]);
        }
    }
    json_put_int(json, "ansible_port", record->status->ssh_port);
    json_put_text(json, "ansible_ssh_common_args", buf_str(&arguments));
    json_put(json, "vmctl_labels", labels_of(spec));
    return json;
}

/* "tier_web", of letters, digits and '_' alone. free() it. */
static char *group_of(const struct spec_label *label)
{
    char *name = mem_printf("%s%s%s", label->key, label->value[0] ? "_" : "", label->value);
    for (char *p = name; *p; p++) {
        *p = (char)(isalnum((unsigned char)*p) ? *p : '_');
    }
    return name;
}

static void add_to_group(json_t *all, const char *group, const char *vm)
{
    json_t *entry = json_object_get(all, group);
    if (!entry) {
        entry = json_object();
        json_put(entry, "hosts", json_array());
        json_put(all, group, entry);
    }
    (void)json_array_append_new(json_object_get(entry, "hosts"), json_string(vm));
}

/* One that Ansible cannot reach, as it is off or has no SSH, is none of its hosts; nor is one that
 * goes, or that is to become a template and has the labels of the VM it is made for. */
static bool is_host(const struct vm_record *record)
{
    return record->desired && !record->desired->is_deleting &&
           !vm_spec_name_is_of_template(record->name) && ssh_options_has_address(record->status);
}

static int inventory_add_vm(
    struct cli *cli, const char *name, json_t *all, json_t *hosts, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(cli->store, name, &record, err);
    if (rc < 0 || !is_host(&record)) {
        return rc;
    }
    const struct vm_spec *spec = record.desired->spec;
    json_put(hosts, name, variables_of(cli, &record));
    for (size_t i = 0; i < spec->n_labels; i++) {
        cleanup_free char *group = group_of(&spec->labels[i]);
        add_to_group(all, group, name);
    }
    if (spec->n_labels == 0) {
        add_to_group(all, "ungrouped", name);
    }
    return 0;
}

static int list_hosts(
    struct cli *cli, const struct inventory_values *values, json_t *all, struct error *err)
{
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    json_t *hosts = json_object(), *meta = json_object();
    json_put(meta, "hostvars", hosts);
    json_put(all, "_meta", meta);
    int rc = targets_in_scope(cli, &targets, err);
    rc = rc == 0 ? targets_narrow(cli, &values->which, &targets, err) : rc;
    if (rc == -ERR_VM_NOT_FOUND) { /* an inventory may be empty */
        error_clear(err);
        return 0;
    }
    for (size_t i = 0; rc == 0 && i < targets.count; i++) {
        rc = inventory_add_vm(cli, targets.items[i], all, hosts, err);
    }
    return rc;
}

static int run(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct inventory_values *values = context;
    cleanup_json json_t *all = json_object();
    int rc = 0;
    if (words->count > 0 || (values->host && (values->lists || values->which.selector))) {
        return error_set(err, ERR_USAGE, "inventory takes --list, with --selector, or --host VM");
    }
    if (values->host) {
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        const struct arg_strings word = {
            .items = (const char **)(uintptr_t)&values->host, .count = 1};
        cleanup_with(strings_clear) struct strings found = {.count = 0};
        rc = targets_find_named(cli, &values->which, &word, &found, err);
        rc = rc == 0 ? store_get(cli->store, values->host, &record, err) : rc;
        if (rc == 0 && is_host(&record)) {
            json_decref(all);
            all = variables_of(cli, &record);
        }
    } else {
        rc = list_hosts(cli, values, all, err);
    }
    if (rc == 0) {
        (void)json_dumpf(all, stdout, JSON_INDENT(4) | JSON_SORT_KEYS);
        putchar('\n');
    }
    return rc;
}

const struct command command_inventory = {
    .name = "inventory",
    .summary = "Print the VMs as an Ansible inventory",
    .usage = "[OPTIONS]",
    .details =
        "Prints what Ansible expects of an inventory script: the VMs of this host that have an\n"
        "SSH address, how to reach each with its key and known host key, and a group per label:\n"
        "`label \"tier\" \"web\"` is `tier_web`. Such a script is two lines:\n"
        "\n"
        "  #!/bin/sh\n"
        "  exec vmctl inventory \"$@\"",
    .examples = "  vmctl inventory\n"
                "  ansible -i examples/ansible/inventory tier_web -m raw -a uptime",
    .options = options,
    .values_size = sizeof(struct inventory_values),
    .run = run,
};
