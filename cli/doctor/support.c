/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl doctor --support: a report to pass on. */
#include "cli/doctor/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/doctor/command_output.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/url.h"

enum {
    COMMAND_LIMIT_MS = 10 * 1000,
    COMMAND_MAX = 16 * 1024 * 1024,
    LOG_MAX = 64 * 1024,
    VM_LOG_MAX = 4 * 1024,
    VM_LOGS_MAX = 50, /* VMs */
};

/* ---- what is left out ---- */

static bool may_be_secret(const char *key)
{
    return text_has_word("command text value from inputs", key);
}

/* Of the JSON of VMs, at any depth. */
static void leave_out(json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    json_object_foreach(value, key, member)
    {
        if (may_be_secret(key)) {
            (void)json_object_set_new(value, key, json_string("(left out)"));
        } else {
            leave_out(member);
        }
    }
    json_array_foreach(value, i, member)
    {
        leave_out(member);
    }
}

static void mask_secrets(struct buf *out)
{
    for (size_t i = 0; i < out->len; i++) {
        out->data[i] = out->data[i] ? out->data[i] : ' '; /* which would end the text */
    }
    url_mask(out->data);
    out->len = strlen(out->data);
}

/* ---- sections ---- */

static void add_title(struct buf *out, const char *title)
{
    buf_printf(out, "\n==== %s\n", title);
}

/* What this very vmctl prints with these words; as command_output(). */
static int run_own(const struct cli *cli, const char *words, struct buf *out)
{
    cleanup_free char *copy = mem_strdup(words);
    char *argv[16] = {(char *)(uintptr_t) "/proc/self/exe", (char *)(uintptr_t) "--data-dir",
        cli->paths.data_dir};
    char *rest = NULL;
    size_t n = 3;
    for (char *word = strtok_r(copy, " ", &rest); word && n + 1 < ARRAY_LEN(argv);
         word = strtok_r(NULL, " ", &rest)) {
        argv[n++] = word;
    }
    return command_output(argv, COMMAND_LIMIT_MS, out);
}

static void add_command(const struct cli *cli, const char *words, struct buf *out)
{
    cleanup_buf struct buf output = BUF_INIT(COMMAND_MAX);
    cleanup_free char *title = mem_printf("vmctl %s", words);
    add_title(out, title);
    int status = run_own(cli, words, &output);
    buf_add(out, output.data, output.len);
    if (status < 0) {
        buf_add_str(out, "(it crashed, or took too long)\n");
    } else if (status > 0) {
        buf_printf(out, "(exit status %d)\n", status);
    }
}

static void add_log(struct buf *out, const char *title, const char *path, size_t max)
{
    cleanup_free char *bytes = mem_calloc(1, max);
    ssize_t n = log_file_read_tail(path, bytes, max);
    if (n > 0) {
        add_title(out, title);
        buf_add(out, bytes, (size_t)n);
    }
}

static void add_vm_logs(const struct cli *cli, const json_t *vms, struct buf *out)
{
    size_t i;
    json_t *vm;
    json_array_foreach(vms, i, vm)
    {
        const char *name = json_text(vm, "name");
        if (i < VM_LOGS_MAX && name) {
            cleanup_free char *path = paths_vm(&cli->paths, name, VM_QEMU_LOG);
            cleanup_free char *title = mem_printf("qemu.log of %s", name);
            add_log(out, title, path, VM_LOG_MAX);
        }
    }
}

static void add_vms(const struct cli *cli, struct buf *out)
{
    cleanup_buf struct buf output = BUF_INIT(COMMAND_MAX);
    add_title(out, "vmctl list -o json");
    int status = run_own(cli, "list -o json", &output);
    cleanup_json json_t *vms = status == 0 ? json_loadb(output.data, output.len, 0, NULL) : NULL;
    if (!vms) {
        buf_printf(out, "(exit status %d, or it is too long)\n", status);
        return;
    }
    leave_out(vms);
    cleanup_free char *text = json_dumps(vms, JSON_INDENT(1));
    buf_printf(out, "%s\n", text);
    add_vm_logs(cli, vms, out);
}

static void add_host(struct buf *out)
{
    struct utsname host;
    cleanup_buf struct buf release = BUF_INIT(LOG_MAX);
    struct error ignored = {0};
    add_title(out, "host");
    if (uname(&host) == 0) { /* without its name, which may be nobody's business */
        buf_printf(out, "%s %s %s\n", host.sysname, host.release, host.machine);
    }
    if (fs_read_file("/etc/os-release", &release, &ignored) == 0) {
        buf_add_str(out, buf_str(&release));
    }
}

static void add_checks(const struct doctor *doctor, struct buf *out)
{
    add_title(out, "vmctl doctor");
    for (size_t i = 0; i < doctor->count; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];
        buf_printf(out, "%-12s %-5s %s\n", finding->check, doctor_word(finding->verdict),
            finding->message);
    }
}

/* ---- the file ---- */

static int publish(const char *path, struct buf *text, struct error *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
        (void)error_set(err, ERR_USAGE, "'%s' exists already", path);
        return error_help(err, "choose another name, or remove it");
    }
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot write '%s'", path);
    }
    int rc = fs_write_all(fd, text->data, text->len, err);
    if (rc < 0) {
        (void)unlink(path);
    }
    return rc;
}

int support_write(
    const struct cli *cli, const struct doctor *doctor, const char *path, struct error *err)
{
    static const char *const commands[] = {
        "version", "controller status", "list -o wide", "image list", "watch --list", "events"};
    char now[CLOCK_TEXT_SIZE];
    cleanup_buf struct buf out = BUF_INIT(0);
    clock_format_utc(clock_wall_ms(clock_system()), now);
    buf_printf(&out,
        "Support report of vmctl, %s. Left out: the text of steps and probes, values of\n"
        "variables and environments, passwords in URLs, consoles, what steps printed.\n"
        "Names, paths, addresses and messages are in it: read it before you send it.\n",
        now);
    add_host(&out);
    add_checks(doctor, &out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        add_command(cli, commands[i], &out);
    }
    cleanup_free char *log = paths_path(&cli->paths, "controller.log");
    add_log(&out, "controller.log", log, LOG_MAX);
    add_vms(cli, &out);
    mask_secrets(&out);
    return publish(path, &out, err);
}
