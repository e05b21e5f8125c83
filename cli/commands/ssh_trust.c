/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl ssh-trust: accepts the host key that a guest made itself, in place of the one it had. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/doctor/command_output.h"
#include "cli/options.h"
#include "cli/request/confirm.h"
#include "cli/request/targets.h"
#include "cli/request/vm_request.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/public_key.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/ssh_options.h"
#include "specs/vm/vm_spec.h"
#include "store/store.h"

struct trust_values {
    struct which_values which;
    bool is_sure;
};

static const struct arg_option options[] = {
    {"yes", 'y', ARG_FLAG, offsetof(struct trust_values, is_sure), NULL, "do not ask"},
    OPTION_FILE(struct trust_values, 'f'),
    OPTION_ONE_NAME(struct trust_values),
    OPTIONS_END,
};

/* Appends "TYPE BASE64" of the best key that the guest's SSH server shows. */
static int scan(const struct vm_record *record, struct buf *key, struct error *err)
{
    enum { LIMIT_MS = 15000, OUTPUT_MAX = 65536 };
    static const char *const types[] = {" ssh-ed25519 ", " ecdsa-sha2-nistp256 ",
        " ecdsa-sha2-nistp384 ", " ecdsa-sha2-nistp521 ", " ssh-rsa "};
    cleanup_buf struct buf output = BUF_INIT(OUTPUT_MAX);
    cleanup_free char *port = mem_printf("%u", record->status->ssh_port);
    char *argv[] = {"ssh-keyscan", "-T", "10", "-t", "ed25519,ecdsa,rsa", "-p", port,
        record->status->ssh_host, NULL};
    (void)command_output(argv, LIMIT_MS, &output); /* fails where one type is missing */
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const char *found = strstr(buf_str(&output), types[i]);
        if (found) {
            buf_add(key, found + 1, strcspn(found + 1, "\r\n"));
            return 0;
        }
    }
    (void)error_set(err, ERR_SSH, "the SSH server of vm '%s' offers no host key", record->name);
    return error_help(err, "see whether it answers: ssh-keyscan -p %s %s (package openssh-client)",
        port, record->status->ssh_host);
}

static int describe(const char *text, const char *where, struct buf *out, struct error *err)
{
    struct public_key key;
    if (!public_key_parse(text, &key)) {
        return error_set(err, ERR_KEY_UNREADABLE, "%s is not an SSH host key", where);
    }
    key_fingerprint(out, key.blob.data, key.blob.len);
    buf_printf(out, " (%s)", key.type);
    public_key_clear(&key);
    return 0;
}

/* The guest is known by a key: the one of vmctl, or one that was trusted before. */
static int read_known(
    const struct cli *cli, const struct vm_record *record, struct buf *known, struct error *err)
{
    const struct vm_status *status = record->status;
    cleanup_free char *trusted = paths_vm(&cli->paths, record->name, VM_HOST_KEY_TRUSTED);
    cleanup_free char *ours = paths_vm(&cli->paths, record->name, VM_HOST_KEY_PUBLIC);
    if (!record->desired) {
        return error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s'", record->name);
    }
    if (!vm_spec_has_our_seed(record->desired->spec) || !fs_exists(ours)) {
        return error_set(err, ERR_VM_INVALID_STATE,
            "vmctl gave vm '%s' no host key, and accepts any", record->name);
    }
    if (!ssh_options_has_address(status)) {
        (void)error_set(
            err, ERR_VM_INVALID_STATE, "vm '%s' has no address: it is not running", record->name);
        return error_help(err, "start it: vmctl start %s", record->name);
    }
    return fs_read_file(fs_exists(trusted) ? trusted : ours, known, err);
}

static int ask(const struct trust_values *trust, struct error *err)
{
    if (trust->is_sure) {
        return 0;
    }
    if (!isatty(STDIN_FILENO)) {
        (void)error_set(err, ERR_USAGE, "cannot ask: standard input is not a terminal");
        return error_help(err, "compare the fingerprints, then add: --yes");
    }
    return confirm("Trust the offered key? [y/N] ", err);
}

/* vmctld first: killed in between, the same command does the rest. */
static int write_trust(
    const struct cli *cli, const char *vm_name, const char *key, struct error *err)
{
    cleanup_free char *trusted = paths_vm(&cli->paths, vm_name, VM_HOST_KEY_TRUSTED);
    cleanup_free char *known_hosts = paths_vm(&cli->paths, vm_name, VM_KNOWN_HOSTS);
    cleanup_free char *line = mem_printf("%s\n", key);
    cleanup_free char *flat = vm_name_flat(vm_name);
    cleanup_free char *host_line = mem_printf("vmctl-%s %s\n", flat, key);
    int rc = fs_write_file(trusted, line, strlen(line), 0600, err);
    return rc < 0 ? rc : fs_write_file(known_hosts, host_line, strlen(host_line), 0600, err);
}

/* The next login is tried at once, and a wait that begins now does not meet the old refusal. */
static int retry(struct cli *cli, const char *vm_name, struct error *err)
{
    static const struct change pattern = {.retries = true};
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    cleanup_with(vm_request_clear) struct request request = {.count = 0};
    strings_add(&names, vm_name);
    vm_request_init(&request, &names, &pattern);
    return change_apply(cli->store, request.changes, request.count, request.outcomes, err);
}

static int trust_key(struct cli *cli, const struct trust_values *trust,
    const struct vm_record *record, struct error *err)
{
    cleanup_buf struct buf known = BUF_INIT(65536), shown = BUF_INIT(65536), before = BUF_INIT(0),
                           now = BUF_INIT(0);
    int rc = read_known(cli, record, &known, err);
    if (rc < 0 || (rc = scan(record, &shown, err)) < 0 ||
        (rc = describe(buf_str(&known), "the recorded key", &before, err)) < 0 ||
        (rc = describe(buf_str(&shown), "the key that the guest offers", &now, err)) < 0) {
        return rc;
    }
    bool is_known = text_eq(buf_str(&before), buf_str(&now));
    if (!is_known) {
        (void)fprintf(stderr,
            "vm '%s' offers another host key than the recorded one:\n"
            "  recorded  %s\n"
            "  offered   %s\n",
            record->name, buf_str(&before), buf_str(&now));
        rc = ask(trust, err);
    }
    if (rc == 0 && (rc = write_trust(cli, record->name, buf_str(&shown), err)) == 0 &&
        (rc = retry(cli, record->name, err)) == 0) {
        cli_note(cli, "%s: %s %s", record->name,
            is_known ? "already trusted:" : "trusted from now on:", buf_str(&now));
    }
    return rc;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct trust_values *trust = values;
    cleanup_free char *name = NULL;
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    if (words->count > 1) {
        return error_set(err, ERR_USAGE, "ssh-trust takes one VM");
    }
    int rc =
        targets_find_one(cli, &trust->which, words->count ? words->items[0] : NULL, &name, err);
    if (rc != 0 || (rc = store_get(cli->store, name, &record, err)) < 0) {
        return rc;
    }
    return trust_key(cli, trust, &record, err);
}

const struct command command_ssh_trust = {
    .name = "ssh-trust",
    .summary = "Accept the new host key of a guest",
    .usage = "[OPTIONS] [VM]",
    .details =
        "For a guest that created new host keys (HostKeyMismatch): shows the fingerprints of the\n"
        "recorded key and of the one it offers now, and asks. The disk is not changed. Without a\n"
        "name: the VMFile's only VM.",
    .examples = "  vmctl ssh-trust web\n"
                "  vmctl ssh-trust web --yes",
    .options = options,
    .values_size = sizeof(struct trust_values),
    .run = run,
};
