/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/user_data.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"
#include "specs/vmfile/guest_text.h"

/* A double-quoted scalar. Bytes from 0x80 up pass: the file is UTF-8. */
static void add_quoted(struct buf *out, const char *text, size_t n)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            buf_printf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(out, "\\x%02x", c);
        } else {
            buf_add_char(out, (char)c);
        }
    }
    buf_add_char(out, '"');
}

static void add_pair(struct buf *out, const char *key, const char *value)
{
    buf_add_str(out, key);
    add_quoted(out, value, strcspn(value, "\r\n"));
    buf_add_char(out, '\n');
}

/* Appends each line that says something, as `prefix` line '\n'. */
static void add_lines(struct buf *out, const char *text, const char *prefix, bool is_quoted)
{
    while (*text) {
        size_t n = strcspn(text, "\r\n");
        if (n > 0 && text[0] != '#') {
            buf_add_str(out, prefix);
            if (is_quoted) {
                add_quoted(out, text, n);
            } else {
                buf_add(out, text, n);
            }
            buf_add_char(out, '\n');
        }
        text += n;
        text += strspn(text, "\r\n");
    }
}

void host_name_write(const char *vm_name, struct buf *out)
{
    for (const char *label = vm_name; *label; label += strspn(label, ".")) {
        size_t first = strspn(label, "-_"), end = strcspn(label, ".");
        const char *next = label + end;
        while (end > first && (label[end - 1] == '-' || label[end - 1] == '_')) {
            end--;
        }
        if (end > first && out->len > 0) {
            buf_add_char(out, '.');
        }
        for (size_t i = first; i < end; i++) {
            buf_add_char(out, label[i] == '_' ? '-' : label[i]);
        }
        label = next;
    }
}

/* What forget_identity.sh does in a template, and cloud-init does not do for another instance. */
static const char clone_commands[] =
    "bootcmd:\n"
    "  - [cloud-init-per, instance, vmctl-clone, sh, -c, \""
    "[ -L /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id; "
    "rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret; "
    ": >/etc/machine-id; "
    "systemd-machine-id-setup || dbus-uuidgen --ensure=/etc/machine-id\"]\n";

void user_data_write(const struct user_data *data, struct buf *out)
{
    buf_add_str(out, "#cloud-config\n");
    add_pair(out, "hostname: ", data->hostname);
    buf_add_str(out, "users:\n");
    add_pair(out, "  - name: ", data->user);
    /* useradd refuses a name that the guest has as a group, unless that is the primary group; and
     * cloud-init (22.4 to 26.1) makes a missing group only where `groups` names one */
    add_pair(out, "    primary_group: ", data->user);
    buf_add_str(out, "    groups:\n");
    add_pair(out, "      - ", data->user);
    buf_add_str(out, "    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n"
                     "    shell: /bin/bash\n"
                     "    lock_passwd: true\n"
                     "    ssh_authorized_keys:\n");
    add_lines(out, data->authorized_keys, "      - ", true);
    buf_add_str(out, "disable_root: true\n"
                     "ssh_pwauth: false\n"
                     "ssh_deletekeys: true\n"
                     "ssh_keys:\n"
                     "  ed25519_private: |\n");
    add_lines(out, data->host_key_private, "    ", false);
    add_pair(out, "  ed25519_public: ", data->host_key_public);
    if (data->is_clone) {
        buf_add_str(out, clone_commands);
    }
}

/* RFC 2045, 6.8: lines of at most 76 characters. */
static void add_base64(struct buf *out, const char *bytes, size_t n)
{
    enum { IN_LINE = 57 };
    for (size_t i = 0; i < n; i += IN_LINE) {
        base64_encode(out, bytes + i, n - i < IN_LINE ? n - i : IN_LINE);
        if (n - i < IN_LINE) {
            buf_add_str(out, n % 3 == 1 ? "==" : n % 3 == 2 ? "=" : "");
        }
        buf_add_char(out, '\n');
    }
}

/* MIME of theirs stands there as it is; in base64 nothing follows a '='. */
static bool is_in_theirs(const char *boundary, const struct bytes *theirs, size_t n_theirs)
{
    bool is_found = false;
    for (size_t i = 0; i < n_theirs && !is_found; i++) {
        is_found = memmem(theirs[i].data, theirs[i].n, boundary, strlen(boundary)) != NULL;
    }
    return is_found;
}

static char *unused_boundary(const struct bytes *theirs, size_t n_theirs)
{
    char *boundary = mem_strdup("=vmctl=");
    for (size_t i = 0; is_in_theirs(boundary, theirs, n_theirs); i++) {
        free(boundary);
        boundary = mem_printf("=vmctl-%zu=", i);
    }
    return boundary;
}

#define MERGE_TYPE "Merge-Type: list(append)+dict(no_replace,recurse_list)\n"

/* cloud-init finds by the first bytes what a text/plain is, but MIME it reads only as a part. */
static void add_of_theirs(struct bytes part, const char *boundary, bool is_first, struct buf *out)
{
    bool is_gzip = part.n >= 2 && memcmp(part.data, "\x1f\x8b", 2) == 0;
    buf_printf(out, "%s--%s\n", is_first ? "" : "\n", boundary);
    if (!is_gzip && guest_text_is_mime(part.data, part.n)) {
        buf_add(out, part.data, part.n);
    } else {
        buf_printf(out, "Content-Type: %s\nContent-Transfer-Encoding: base64\n%s\n",
            is_gzip ? "application/gzip" : "text/plain; charset=\"utf-8\"",
            is_first ? "" : MERGE_TYPE);
        add_base64(out, part.data, part.n);
    }
}

void user_data_join(const struct bytes *theirs, size_t n_theirs, const char *ours, struct buf *out)
{
    cleanup_free char *boundary = unused_boundary(theirs, n_theirs);
    buf_printf(
        out, "Content-Type: multipart/mixed; boundary=\"%s\"\nMIME-Version: 1.0\n\n", boundary);
    for (size_t i = 0; i < n_theirs; i++) {
        add_of_theirs(theirs[i], boundary, i == 0, out);
    }
    buf_printf(out,
        "\n--%s\nContent-Type: text/cloud-config; charset=\"utf-8\"\n"
        "Content-Transfer-Encoding: base64\n" MERGE_TYPE "\n",
        boundary);
    add_base64(out, ours, strlen(ours));
    buf_printf(out, "\n--%s--\n", boundary);
}

void meta_data_write(const char *instance_id, const char *hostname, struct buf *out)
{
    add_pair(out, "instance-id: ", instance_id);
    add_pair(out, "local-hostname: ", hostname);
}

/* A route, a name server or an advertised router of another network would compete with those of the
 * network that they come from; a boot does not wait for it either. */
static void add_card(const struct vm_spec *spec, size_t i, struct buf *out)
{
    const struct spec_network *network = vm_spec_network(spec, i);
    bool has_names = network == vm_spec_name_server(spec);
    buf_printf(out, "  eth%zu:\n    match: {macaddress: ", i);
    add_quoted(out, network->mac, strlen(network->mac));
    buf_printf(out, "}\n    set-name: eth%zu\n    dhcp4: true\n", i);
    if (i > 0) {
        buf_add_str(out, "    accept-ra: false\n    optional: true\n");
    }
    buf_printf(out, "    dhcp4-overrides: {%suse-dns: %s, use-domains: %s}\n",
        i > 0 ? "use-routes: false, " : "", has_names ? "true" : "false",
        has_names ? "true" : "false");
}

void network_config_write(const struct vm_spec *spec, struct buf *out)
{
    const struct spec_network *network;
    for (size_t i = 0; (network = vm_spec_network(spec, i)); i++) {
        if (spec->n_further_networks == 0 || !network->mac || network->mode == NETWORK_VNIC) {
            return;
        }
    }
    buf_add_str(out, "version: 2\nethernets:\n");
    for (size_t i = 0; i <= spec->n_further_networks; i++) {
        add_card(spec, i, out);
    }
}
