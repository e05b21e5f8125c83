/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl port-forward: ports of this host that lead into a VM for as long as the command runs. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/ssh_login.h"
#include "cli/nodes/spread.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/wait/wakeup.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"

struct forward_values {
    struct which_values which;
    const char *address;
    bool opens;
};

static const struct arg_option options[] = {
    {"address", 0, ARG_TEXT, offsetof(struct forward_values, address), "ADDRESS",
        "the host's IPv4 address to listen on"},
    {"open", 0, ARG_FLAG, offsetof(struct forward_values, opens), NULL,
        "open the first one in the browser"},
    OPTION_FILE(struct forward_values, 'f'),
    OPTION_ONE_NAME(struct forward_values),
    OPTIONS_END,
};

static const struct forward_values defaults = {.address = "127.0.0.1"};

struct pair {
    uint64_t host, guest;
};

/* Whether ssh will be able to listen there; a host's port 0 becomes one that is free. */
static int probe_port(
    const char *vm_name, const char *address, struct pair *pair, struct error *err)
{
    const int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)pair->host)};
    socklen_t size = sizeof(at);
    if (inet_pton(AF_INET, address, &at.sin_addr) != 1) {
        return error_set(err, ERR_USAGE, "--address: '%s' is not an IPv4 address", address);
    }
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) < 0) {
        (void)error_set_errno(err, errno == EADDRINUSE ? ERR_PORT_TAKEN : ERR_IO, errno,
            "cannot listen on %s:%u", address, (unsigned)pair->host);
        return error_help(err,
            "choose another port, or let vmctl choose: vmctl port-forward %s :%u", vm_name,
            (unsigned)pair->guest);
    }
    pair->host = ntohs(at.sin_port);
    return 0;
}

/* "8080:80", "80" for the same on both sides, ":80" for a free port of the host. */
static int parse_pair(const char *word, struct pair *ret, struct error *err)
{
    const char *colon = strchr(word, ':');
    cleanup_free char *host = mem_strndup(word, colon ? (size_t)(colon - word) : strlen(word));
    const char *guest = colon ? colon + 1 : word;
    ret->host = 0;
    if ((host[0] && !text_to_u64(host, 1, UINT16_MAX, &ret->host)) ||
        !text_to_u64(guest, 1, UINT16_MAX, &ret->guest)) {
        (void)error_set(err, ERR_USAGE, "'%s' is not a pair of ports", word);
        return error_help(
            err, "such as 8080:80, 80 for the same on both sides, or :80 for any here");
    }
    return 0;
}

/* ssh's own words, and the command by which it reports that it listens: ssh(1) runs that once all
 * forwards are made. */
static int make_options(const struct forward_values *values, const char *vm_name,
    struct pair *pairs, size_t n_pairs, struct strings *ret, struct error *err)
{
    static const char *const always[] = {
        "-N", "-n", "ExitOnForwardFailure=yes", "ServerAliveInterval=15", "PermitLocalCommand=yes"};
    cleanup_buf struct buf report = BUF_INIT(0), url = BUF_INIT(0);
    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        strings_append(ret, always[i]);
    }
    buf_add_str(&report, "LocalCommand=printf '%%s\\n'");
    for (size_t i = 0; i < n_pairs; i++) {
        int rc = probe_port(vm_name, values->address, &pairs[i], err);
        if (rc < 0) {
            return rc;
        }
        unsigned host = (unsigned)pairs[i].host, guest = (unsigned)pairs[i].guest;
        cleanup_free char *forward =
            mem_printf("-L%s:%u:localhost:%u", values->address, host, guest);
        strings_append(ret, forward);
        buf_printf(&report, " '%s:%u -> %u'", values->address, host, guest);
        if (i == 0) {
            bool is_any = text_eq(values->address, "0.0.0.0");
            buf_printf(&url, "%s://%s:%u/", guest == 443 ? "https" : "http",
                is_any ? "127.0.0.1" : values->address, host);
        }
    }
    if (values->opens) {
        buf_printf(&report, "; xdg-open %s >/dev/null 2>&1 &", buf_str(&url));
    }
    strings_append(ret, buf_str(&report));
    return 0;
}

/* Its ports would be those of the other node: a second forward brings them here. */
static int refuse_elsewhere(struct cli *cli, const struct forward_values *values, const char *word,
    const struct pair *pair, struct error *err)
{
    cleanup_with(nodes_clear) struct nodes nodes = {.count = 0};
    cleanup_free char *name = NULL;
    const struct node *node = NULL;
    int rc = nodes_load(cli, &nodes, err);
    rc = rc == 0 ? spread_find_one(cli, &values->which, word, &nodes, &node, &name, err) : rc;
    cli->is_for_here = true;
    if (rc != 0 || !node) {
        return rc;
    }
    (void)error_set(err, ERR_USAGE, "vm '%s' is on node '%s'", name, node->name);
    enum { THERE = 10000 }; /* added: a port that is mostly free */
    unsigned guest = (unsigned)pair->guest, here = (unsigned)(pair->host ? pair->host : guest);
    unsigned there = guest + (guest < THERE ? THERE : 0);
    return error_help(err, "ssh -t -L %u:127.0.0.1:%u %s vmctl port-forward %s %u:%u", here, there,
        node->address, name, there, guest);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct forward_values *forward = values;
    cleanup_free char *name = NULL;
    cleanup_with(strings_clear) struct strings made = {.count = 0};
    /* Without the VM's name the first word is a pair, or the only port. */
    bool has_name = forward->which.names.count == 0 && words->count > 0 &&
                    !strchr(words->items[0], ':') && words->count > 1;
    if (words->count == has_name) {
        (void)error_set(err, ERR_USAGE, "port-forward needs a port");
        return error_help(err, "such as: vmctl port-forward web 8080:80");
    }
    size_t n_pairs = words->count - has_name;
    cleanup_free struct pair *pairs = mem_calloc(n_pairs, sizeof(*pairs));
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n_pairs; i++) {
        rc = parse_pair(words->items[has_name + i], &pairs[i], err);
    }
    const char *word = has_name ? words->items[0] : NULL;
    rc = rc == 0 ? refuse_elsewhere(cli, forward, word, &pairs[0], err) : rc;
    if (rc != 0 || (rc = targets_find_one(cli, &forward->which, word, &name, err)) != 0 ||
        (rc = make_options(forward, name, pairs, n_pairs, &made, err)) < 0) {
        return rc;
    }
    cleanup_with(arg_strings_clear) struct arg_strings ssh_options = {.count = 0};
    for (size_t i = 0; i < made.count; i++) {
        arg_strings_add(&ssh_options, made.items[i]);
    }
    const struct ssh_call call = {.vm_name = name, .options = &ssh_options};
    struct wakeup wakeup;
    wakeup_open(&wakeup, &cli->paths);
    rc = ssh_login_run(cli, &call, &wakeup, err);
    wakeup_close(&wakeup);
    if (rc == wakeup_exit_status(SIGINT)) {
        wakeup_end_line(SIGINT);
    }
    return rc;
}

const struct command command_port_forward = {
    .name = "port-forward",
    .summary = "Forward ports of this host to a VM",
    .usage = "[OPTIONS] [VM] HOST:GUEST...",
    .details =
        "Forwards HOST, a port on 127.0.0.1, to GUEST, a port on the guest's localhost, over SSH,\n"
        "until Ctrl-C. A single number is used on both sides; with nothing before the colon,\n"
        "vmctl chooses a free host port. Prints a line on stdout for each port that is open. For\n"
        "permanent forwards, and for UDP, use `forward` in the VMFile. Without a name: the\n"
        "VMFile's only VM.",
    .examples = "  vmctl port-forward web 8080:80\n"
                "  vmctl port-forward web 5432 :80 --open",
    .options = options,
    .values_size = sizeof(struct forward_values),
    .defaults = &defaults,
    .run = run,
};
