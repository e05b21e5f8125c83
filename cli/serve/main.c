/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl-serve: reads its options, opens the socket and the token, and runs the server until a
 * signal ends it. */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/serve/answer.h"
#include "cli/serve/metrics.h"
#include "cli/serve/serve_options.h"
#include "cli/serve/server.h"
#include "cli/show/help_text.h"
#include "specs/base/cleanup.h"
#include "specs/base/data_trust.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "store/store.h"

static void print_help(void)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    buf_printf(&out, "Usage: vmctl-serve %s\n\n", serve_usage);
    help_text_add_prose(&out, serve_details);
    buf_add_str(&out, "\n\nOptions:\n");
    args_describe(&out, serve_options);
    buf_add_str(&out, "\nOptions of every command:\n");
    args_describe(&out, global_options);
    help_text_print(buf_str(&out));
}

static int open_listener(const struct serve *serve, const struct serve_values *values,
    struct listener *ret, struct error *err)
{
    if (!values->listen) {
        return listener_take_passed(ret) ? 0 : listener_open_unix(&serve->cli.paths, ret, err);
    }
    return listener_open_tcp(values->listen, ret, err);
}

/* What goes over a network is encrypted, the token first of all. */
static int check_tls(
    const struct serve_values *values, const struct listener *listener, struct error *err)
{
    bool has_tls = values->tls_cert && values->tls_key;
    if (!has_tls && (values->tls_cert || values->tls_key)) {
        return error_set(err, ERR_USAGE, "--tls-cert and --tls-key go together");
    }
    if (!has_tls && !listener->is_unix && !listener->is_loopback) {
        (void)error_set(
            err, ERR_USAGE, "%s is not a loopback address: it needs TLS", listener->name);
        return error_help(err, "give --tls-cert and --tls-key, or listen on 127.0.0.1");
    }
    return 0;
}

static int read_access(struct serve *serve, const struct serve_values *values,
    const struct listener *listener, struct error *err)
{
    cleanup_free char *path = values->token_file ? mem_strdup(values->token_file)
                                                 : paths_path(&serve->cli.paths, "serve.token");
    for (size_t i = 0; i < values->hosts.count; i++) {
        strings_add(&serve->access.hosts, values->hosts.items[i]);
    }
    return listener->is_unix && !values->token_file
               ? 0
               : access_read_token(path, serve->access.token, err);
}

static int serve_data(struct serve *serve, const struct serve_values *values, struct error *err)
{
    struct listener listener = {.fd = -1, .lock_fd = -1};
    int rc = open_listener(serve, values, &listener, err);
    rc = rc < 0 ? rc : check_tls(values, &listener, err);
    rc = rc < 0 ? rc : read_access(serve, values, &listener, err);
    rc = rc < 0 ? rc : cli_open_store(&serve->cli, err);
    if (rc == 0) {
        const struct server_tls tls = {values->tls_cert, values->tls_key};
        rc = server_run(serve, &listener, &tls, err);
    }
    listener_close(&listener);
    return rc;
}

static int run(struct serve *serve, int argc, char **argv, struct error *err)
{
    cleanup_with(arg_strings_clear) struct arg_strings words = {.count = 0};
    struct global_values global = {.output = NULL};
    struct serve_values values = {.listen = NULL};
    const struct arg_set sets[] = {{serve_options, &values}, {global_options, &global}};
    int rc = args_parse(argc, argv, sets, ARRAY_LEN(sets), false, &words, err);
    if (rc == 0 && (global.wants_help || global.wants_version)) {
        global.wants_help ? print_help() : (void)printf("vmctl-serve %s\n", VMCTL_VERSION);
    } else if (rc == 0 && words.count > 0) {
        rc = error_set(err, ERR_USAGE, "vmctl-serve takes no arguments");
    } else if (rc == 0) {
        serve->cli.is_quiet = global.is_quiet;
        serve->allows_changes = values.allows_changes;
        rc = paths_init(&serve->cli.paths, global.data_dir, err);
        rc = rc < 0 ? rc : data_trust_check(&serve->cli.paths, err);
        rc = rc < 0 ? rc : serve_data(serve, &values, err);
    }
    args_clear(serve_options, &values);
    args_clear(global_options, &global);
    return rc;
}

int main(int argc, char **argv)
{
    struct serve serve = {.cli = {.output = OUTPUT_JSON}};
    struct error err = {.code = ERR_NONE};
    fs_hold_standard_fds();
    (void)umask(077);
    (void)signal(SIGPIPE, SIG_IGN); /* a client that is gone is an error of write() */
    log_init(LOG_WARN);
    store_guard();
    serve.metrics = metrics_new();
    int rc = run(&serve, argc, argv, &err);
    if (rc < 0) {
        cli_print_error(&serve.cli, &err);
    }
    metrics_free(serve.metrics);
    store_close(serve.cli.store);
    strings_clear(&serve.access.hosts);
    paths_clear(&serve.cli.paths);
    return rc < 0 ? error_exit_status(err.code) : 0;
}
