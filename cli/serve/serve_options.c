/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/serve_options.h"

#include "cli/options.h"

const struct arg_option serve_options[] = {
    {"listen", 0, ARG_TEXT, offsetof(struct serve_values, listen), "ADDRESS:PORT",
        "listen on this address, with a token, instead of the unix socket; port 0: any"},
    {"token-file", 0, ARG_TEXT, offsetof(struct serve_values, token_file), "PATH",
        "file with the token, made if missing [default: serve.token in the data directory]"},
    {"tls-cert", 0, ARG_TEXT, offsetof(struct serve_values, tls_cert), "PATH",
        "PEM certificate, with its chain; other addresses than loopback need one"},
    {"tls-key", 0, ARG_TEXT, offsetof(struct serve_values, tls_key), "PATH",
        "private key of the certificate"},
    {"host", 0, ARG_REPEATED, offsetof(struct serve_values, hosts), "NAME",
        "host name that requests may use, besides localhost; may be repeated"},
    {"allow-changes", 0, ARG_FLAG, offsetof(struct serve_values, allows_changes), NULL,
        "let requests start, stop, restart, suspend and resume VMs"},
    OPTIONS_END,
};

const char serve_usage[] = "[OPTIONS]";

const char serve_details[] =
    "Serves the state of the VMs over HTTP, on the socket serve.sock in the data directory, which\n"
    "only its owner can open, until a signal ends it:\n"
    "  /                   a page for browsers\n"
    "  /healthz, /readyz   whether it responds; whether its responses are up to date\n"
    "  /metrics            for Prometheus\n"
    "  /v1/vms, /v1/vms/VM, /v1/events, /v1/images   what vmctl prints with -o json\n"
    "  /v1/openapi.json    description of all requests\n"
    "With --listen each request needs the token: Authorization: Bearer TOKEN. vmctl-serve is a\n"
    "separate process: VMs, vmctld and vmctl do not depend on it.";
