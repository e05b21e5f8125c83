/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/ssh_options.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

const char *const ssh_standard_keys[SSH_STANDARD_KEYS] = {"id_ed25519", "id_ecdsa", "id_rsa"};

void ssh_options_add(struct ssh_options *options, const char *keyword, char *value_take)
{
    mem_grow(options->items, options->count);
    options->items[options->count++] = (struct ssh_option){keyword, value_take};
}

void ssh_options_add_path(struct ssh_options *options, const char *keyword, const char *path)
{
    struct buf out = BUF_INIT(0);
    buf_add_char(&out, '"');
    while (*path) {
        size_t plain = strcspn(path, "%\"\\");
        buf_add(&out, path, plain);
        path += plain;
        if (*path) {
            buf_add_char(&out, *path == '%' ? '%' : '\\');
            buf_add_char(&out, *path++);
        }
    }
    buf_add_char(&out, '"');
    ssh_options_add(options, keyword, buf_steal(&out));
}

void ssh_options_clear(struct ssh_options *options)
{
    for (size_t i = 0; i < options->count; i++) {
        free(options->items[i].value);
    }
    free(options->items);
    *options = (struct ssh_options){.count = 0};
}

bool ssh_options_has_address(const struct vm_status *status)
{
    return status && status->ssh_host && status->ssh_port && status->instance.instance_id[0];
}

/* With user-data of the user's own alone, or without a seed, the guest makes its host keys itself;
 * a file left over from an earlier spec does not apply. */
static void add_host_key(
    struct ssh_options *options, const struct paths *paths, const struct vm_spec *spec)
{
    cleanup_free char *known_hosts = paths_vm(paths, spec->name, VM_KNOWN_HOSTS);
    bool is_pinned = vm_spec_has_our_seed(spec) && fs_exists(known_hosts);
    if (is_pinned) {
        ssh_options_add_path(options, "UserKnownHostsFile", known_hosts);
    } else {
        ssh_options_add(options, "UserKnownHostsFile", mem_strdup("/dev/null"));
    }
    ssh_options_add(options, "GlobalKnownHostsFile", mem_strdup("/dev/null"));
    ssh_options_add(options, "StrictHostKeyChecking", mem_strdup(is_pinned ? "yes" : "no"));
    if (is_pinned) {
        char *alias = mem_printf("vmctl-%s", spec->name);
        vm_name_flatten(alias);
        ssh_options_add(options, "HostKeyAlias", alias);
    }
}

void ssh_options_add_guest(struct ssh_options *options, const struct paths *paths,
    const struct vm_spec *spec, const struct vm_status *status, const char *user)
{
    const char *own = spec->ssh.user ? spec->ssh.user : SPEC_DEFAULT_USER;
    ssh_options_add(options, "HostName", mem_strdup(status->ssh_host));
    ssh_options_add(options, "Port", mem_printf("%u", status->ssh_port));
    ssh_options_add(options, "User", mem_strdup(user ? user : own));
    add_host_key(options, paths, spec);
    ssh_options_add(options, "LogLevel", mem_strdup("ERROR"));
}

void ssh_options_add_key_paths(
    struct ssh_options *options, const struct paths *paths, const struct vm_spec *spec)
{
    cleanup_free char *generated = paths_vm(paths, spec->name, VM_KEY);
    cleanup_free char *beside = vm_spec_key_beside(spec);
    const char *const named[] = {generated, spec->ssh.private_key, beside,
        spec->cloud_init.is_set ? spec->cloud_init.ssh_key.path : NULL};
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (named[i]) {
            ssh_options_add_path(options, "IdentityFile", named[i]);
        }
    }
    for (size_t i = 0; i < SSH_STANDARD_KEYS; i++) {
        ssh_options_add(options, "IdentityFile", mem_printf("~/.ssh/%s", ssh_standard_keys[i]));
    }
    /* A guest that vmctl set up knows these keys; another one may know one that only an agent has.
     */
    ssh_options_add(options, "IdentitiesOnly",
        mem_strdup(vm_spec_has_our_seed(spec) || spec->ssh.private_key ? "yes" : "no"));
}

const struct ssh_option *ssh_options_unfit(const struct ssh_options *options)
{
    for (size_t i = 0; i < options->count; i++) {
        if (strpbrk(options->items[i].value, "\r\n")) {
            return &options->items[i];
        }
    }
    return NULL;
}

void ssh_options_print(struct buf *out, const char *name, const struct ssh_options *options)
{
    cleanup_free char *flat = vm_name_flat(name); /* scp takes NAME:FILE with a '/' for a path */
    buf_add_str(out, "Host ");
    buf_add_str(out, flat);
    if (!text_eq(flat, name)) {
        buf_add_char(out, ' ');
        buf_add_str(out, name);
    }
    buf_add_char(out, '\n');
    for (size_t i = 0; i < options->count; i++) {
        const char *const parts[] = {
            "  ", options->items[i].keyword, " ", options->items[i].value, "\n"};
        for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
            buf_add_str(out, parts[k]);
        }
    }
}
