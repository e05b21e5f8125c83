/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/serve_options.h"

#include "cli/options.h"

const struct arg_option serve_options[] = {
    {"listen", 0, ARG_TEXT, offsetof(struct serve_values, listen), "ADDRESS:PORT",
        "listen there, with a token, instead of on the unix socket; port 0: any"},
    {"token-file", 0, ARG_TEXT, offsetof(struct serve_values, token_file), "PATH",
        "the token, made if there is none [default: serve.token in the data directory]"},
    {"tls-cert", 0, ARG_TEXT, offsetof(struct serve_values, tls_cert), "PATH",
        "PEM certificate, with its chain; what is no loopback address needs one"},
    {"tls-key", 0, ARG_TEXT, offsetof(struct serve_values, tls_key), "PATH", "its private key"},
    {"host", 0, ARG_REPEATED, offsetof(struct serve_values, hosts), "NAME",
        "a name it may be asked by, besides localhost; may be repeated"},
    {"allow-changes", 0, ARG_FLAG, offsetof(struct serve_values, allows_changes), NULL,
        "let requests start, stop, restart, suspend and resume VMs"},
    OPTIONS_END,
};

const char serve_usage[] = "[OPTIONS]";

const char serve_details[] =
    "Answers HTTP requests from the store, on the socket serve.sock in the data directory, which\n"
    "only its owner can open, until it is ended:\n"
    "  /                   a page for browsers\n"
    "  /healthz, /readyz   whether it answers; whether a controller serves, too\n"
    "  /metrics            for Prometheus\n"
    "  /v1/vms, /v1/vms/VM, /v1/events, /v1/images   what vmctl prints with -o json\n"
    "  /v1/openapi.json    the description of all\n"
    "With --listen each request names the token: Authorization: Bearer TOKEN. It is a process of\n"
    "its own: VMs, vmctld and vmctl do not notice whether it runs.";
