/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl port: which ports of this host lead into a VM. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

struct port_values {
    struct which_values which;
    bool opens;
};

static const struct arg_option options[] = {
    {"open", 0, ARG_FLAG, offsetof(struct port_values, opens), NULL,
        "open the first forward of the VMFile in the browser"},
    OPTION_FILE(struct port_values, 'f'),
    OPTION_ONE_NAME(struct port_values),
    OPTIONS_END,
};

static void put_port(
    json_t *json, const char *protocol, unsigned guest, const char *host, unsigned port)
{
    json_put_text(json, "protocol", protocol);
    json_put_int(json, "guestPort", guest);
    if (port > 0) {
        json_put_text(json, "host", host);
        json_put_int(json, "hostPort", port);
    }
}

static void put_socket(
    json_t *json, const char *host, const char *guest, enum socket_direction direction)
{
    json_put_text(json, "socket", host);
    json_put_text(json, "guestSocket", guest);
    json_put_text(json, "direction", socket_direction_name(direction));
}

static void add_port(json_t *array, const char *protocol, unsigned guest, const char *host,
    unsigned port, bool is_made)
{
    json_t *json = json_object();
    put_port(json, protocol, guest, host, port);
    json_put_flag(json, "forwarded", is_made);
    (void)json_array_append_new(array, json);
}

/* `other` NULL: none. */
static bool is_in(const struct spec_forward *forward, const struct spec_network *other)
{
    for (size_t i = 0; other && i < other->n_forwards; i++) {
        if (forward_equal(&other->forwards[i], forward)) {
            return true;
        }
    }
    return false;
}

static void add_forward(json_t *array, const struct spec_forward *forward, bool is_made)
{
    add_port(array, forward_protocol_name(forward->protocol), forward->guest_port,
        forward_address(forward), forward->host_port, is_made);
}

/* What is forwarded over SSH. The sockets of the VMFile that are not recorded are not made. */
static void add_over_ssh(json_t *array, const struct vm_spec *spec, const struct vm_status *status)
{
    uint32_t n = status ? status->n_forwards : 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct vm_forward *forward = &status->forwards[i];
        json_t *json = json_object();
        if (forward->socket) {
            put_socket(json, forward->socket, forward->guest_socket, forward->direction);
        } else {
            put_port(json, "tcp", forward->guest_port, "127.0.0.1", forward->host_port);
            json_put_flag(json, "auto", true);
        }
        json_put_flag(json, "forwarded", forward->is_made);
        json_put_text(json, "reason", forward->refusal);
        (void)json_array_append_new(array, json);
    }
    for (size_t i = 0; i < spec->network.n_sockets; i++) {
        const struct spec_socket *wanted = &spec->network.sockets[i];
        bool is_recorded = false;
        for (uint32_t j = 0; j < n; j++) {
            const struct vm_forward *forward = &status->forwards[j];
            is_recorded |= text_eq(forward->socket, wanted->host) &&
                           text_eq(forward->guest_socket, wanted->guest) &&
                           forward->direction == wanted->direction;
        }
        if (!is_recorded) {
            json_t *json = json_object();
            put_socket(json, wanted->host, wanted->guest, wanted->direction);
            json_put_flag(json, "forwarded", false);
            (void)json_array_append_new(array, json);
        }
    }
}

/* What the running machine has, which may be less than the VMFile names, or still more. */
static json_t *list_ports(const struct vm_record *record)
{
    enum { SSH_PORT = 22 };
    json_t *array = json_array();
    const struct vm_spec *spec = record->desired->spec;
    const struct vm_status *status = record->status;
    bool is_up = status && status->instance.pid > 0 && status->instance.intent == INTENT_NONE;
    const struct spec_network *made =
        is_up && status->applied_spec && network_has_forwards(status->applied_spec->network.mode)
            ? &status->applied_spec->network
            : NULL;
    if (made && status->ssh_port) {
        add_port(array, "tcp", SSH_PORT, status->ssh_host ? status->ssh_host : "127.0.0.1",
            status->ssh_port, true);
    }
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        add_forward(array, &spec->network.forwards[i], is_in(&spec->network.forwards[i], made));
    }
    for (size_t i = 0; made && i < made->n_forwards; i++) {
        if (!is_in(&made->forwards[i], &spec->network)) {
            add_forward(array, &made->forwards[i], true);
        }
    }
    add_over_ssh(array, spec, status);
    return array;
}

/* Becomes the desktop's opener: returns only when that failed. */
static int open_first(json_t *ports, const char *name, struct error *err)
{
    enum { SSH_PORT = 22, HTTPS_PORT = 443 };
    size_t i;
    json_t *json;
    json_array_foreach(ports, i, json)
    {
        int64_t guest = json_int(json, "guestPort", 0);
        if (json_flag(json, "forwarded", false) && guest != SSH_PORT &&
            text_eq(json_text(json, "protocol"), "tcp")) {
            cleanup_free char *url = mem_printf("%s://%s:%d/",
                guest == HTTPS_PORT ? "https" : "http",
                text_eq(json_text(json, "host"), "0.0.0.0") ? "127.0.0.1" : json_text(json, "host"),
                (int)json_int(json, "hostPort", 0));
            puts(url);
            (void)fflush(stdout);
            (void)execlp("xdg-open", "xdg-open", url, (char *)NULL);
            (void)error_set_errno(err, ERR_IO, errno, "cannot run xdg-open");
            return error_help(err, "open it yourself, or install the package xdg-utils");
        }
    }
    (void)error_set(err, ERR_VM_INVALID_STATE, "no TCP port of vm '%s' is forwarded now", name);
    return error_help(err,
        "add `forward host=8080 guest=80` to its VMFile, or: vmctl port-forward %s :80 --open",
        name);
}

/* "80/tcp -> 127.0.0.1:8080", "/run/docker.sock -> /home/me/docker.sock"; of a socket of the guest
 * that leads to the host "<-". */
static void print_port(const json_t *json)
{
    const char *reason = json_text(json, "reason"), *socket = json_text(json, "socket");
    int64_t port = json_int(json, "hostPort", 0);
    if (socket) {
        bool is_reverse = text_eq(json_text(json, "direction"), "to-host");
        printf("%s %s %s", json_text(json, "guestSocket"), is_reverse ? "<-" : "->", socket);
    } else {
        printf("%d/%s", (int)json_int(json, "guestPort", 0), json_text(json, "protocol"));
    }
    if (!socket && port > 0) {
        printf(" -> %s:%d", json_text(json, "host"), (int)port);
    }
    printf("%s%s%s%s\n", json_flag(json, "forwarded", false) ? "" : " (not forwarded now",
        reason ? ": " : "", reason ? reason : "", json_flag(json, "forwarded", false) ? "" : ")");
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct port_values *port = values;
    cleanup_free char *name = NULL;
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    if (words->count > 1) {
        return error_set(err, ERR_USAGE, "port takes one VM");
    }
    int rc = targets_find_one(cli, &port->which, words->count ? words->items[0] : NULL, &name, err);
    if (rc != 0 || (rc = store_get(cli->store, name, &record, err)) < 0) {
        return rc;
    }
    if (!record.desired) {
        return error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s'", name);
    }
    cleanup_json json_t *ports = list_ports(&record);
    size_t i;
    json_t *json;
    if (port->opens) {
        return open_first(ports, name, err);
    }
    if (output_is_data(cli)) {
        output_print(cli, ports);
        return 0;
    }
    json_array_foreach(ports, i, json)
    {
        print_port(json);
    }
    return 0;
}

const struct command command_port = {
    .name = "port",
    .summary = "List the forwarded ports of a VM",
    .usage = "[OPTIONS] [VM]",
    .details =
        "Includes sockets and the ports of `forward \"auto\"`, which are forwarded over SSH. A\n"
        "forward that does not work, because the VM is off or the port was taken, is marked.\n"
        "Without a name: the VMFile's only VM.",
    .examples = "  vmctl port web\n"
                "  vmctl port web --open",
    .reach = REACH_ONE,
    .options = options,
    .values_size = sizeof(struct port_values),
    .run = run,
};
