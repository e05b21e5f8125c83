/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl doctor: whether this host and this data directory can run VMs, and what to do if not. */
#include <stddef.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/doctor/doctor.h"
#include "cli/options.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

struct doctor_values {
    bool repairs;
    const char *support;
};

static const struct arg_option options[] = {
    {"repair", 0, ARG_FLAG, offsetof(struct doctor_values, repairs), NULL,
        "move unreadable records out of the store"},
    {"support", 0, ARG_TEXT, offsetof(struct doctor_values, support), "FILE",
        "write a report without secrets, to send to others"},
    OPTIONS_END,
};

static size_t count(const struct doctor *doctor, enum doctor_verdict verdict)
{
    size_t n = 0;
    for (size_t i = 0; i < doctor->count; i++) {
        n += doctor->findings[i].verdict == verdict;
    }
    return n;
}

static void print_text(const struct doctor *doctor)
{
    static const char *const colors[] = {[DOCTOR_OK] = "\033[32m",
        [DOCTOR_INFO] = "",
        [DOCTOR_WARN] = "\033[33m",
        [DOCTOR_FAIL] = "\033[31m"};
    bool use_color = doctor->cli->use_color_stdout;
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_init(&table, 3);
    table.use_color = use_color;
    table_add(&table, "CHECK");
    table_add(&table, "RESULT");
    table_add(&table, "FOUND");
    for (size_t i = 0; i < doctor->count; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];
        table_add(&table, finding->check);
        table_add_colored(&table, colors[finding->verdict], doctor_word(finding->verdict));
        table_add(&table, finding->message);
    }
    table_print(&table, &out);
    for (size_t i = 0; i < doctor->count; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];
        if (finding->help && finding->help[0] && finding->verdict != DOCTOR_INFO) {
            buf_printf(&out, "%s%s%s: help: %s\n", use_color ? colors[finding->verdict] : "",
                finding->check, use_color ? "\033[0m" : "", finding->help);
        }
    }
    buf_printf(&out, "%zu ok, %zu warnings, %zu failures\n", count(doctor, DOCTOR_OK),
        count(doctor, DOCTOR_WARN), count(doctor, DOCTOR_FAIL));
    table_print_folded(buf_str(&out));
}

static void doctor_print_data(const struct cli *cli, const struct doctor *doctor)
{
    cleanup_json json_t *json = json_object();
    json_t *checks = json_array();
    for (size_t i = 0; i < doctor->count; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];
        json_t *row = json_object();
        json_put_text(row, "check", finding->check);
        json_put_text(row, "result", doctor_word(finding->verdict));
        json_put_text(row, "found", finding->message);
        json_put_text(row, "help", finding->help);
        (void)json_array_append_new(checks, row);
    }
    json_put_flag(json, "usable", count(doctor, DOCTOR_FAIL) == 0);
    json_put(json, "checks", checks);
    output_print(cli, json);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *names, struct error *err)
{
    const struct doctor_values *given = values;
    if (names->count > 0) {
        return error_set(err, ERR_USAGE, "doctor takes no arguments");
    }
    cleanup_with(doctor_clear) struct doctor doctor = {.cli = cli, .repairs = given->repairs};
    doctor_check_host(&doctor);
    doctor_check_data(&doctor);
    doctor_weigh_needs(&doctor);
    if (given->support && support_write(cli, &doctor, given->support, err) < 0) {
        return -(int)err->code;
    }
    if (output_is_data(cli)) {
        doctor_print_data(cli, &doctor);
    } else {
        print_text(&doctor);
    }
    if (given->support) {
        cli_note(cli, "%s: written; read it before you send it", given->support);
    }
    return count(&doctor, DOCTOR_FAIL) > 0 ? 1 : 0;
}

const struct command command_doctor = {
    .name = "doctor",
    .examines_data_dir = true,
    .summary = "Check this host and the data directory",
    .usage = "[--repair] [--support FILE]",
    .details =
        "Checks KVM, QEMU, virtiofsd and other programs, the kernel, bridges, ports, disk space,\n"
        "the store, the controller, and files without a record. Changes nothing, and works\n"
        "without a controller and with a damaged store. Exits with 0 if VMs can run, and with 1\n"
        "if something is broken (FAIL). INFO means that something is missing that no VM of this\n"
        "host or of the VMFile at hand needs: UEFI firmware, swtpm, limits.\n"
        "\n"
        "--repair moves unreadable records to quarantine/ and rebuilds each VM's record from its\n"
        "status; it does not touch disks.\n"
        "\n"
        "--support writes the checks, the VMs, their events and the logs of vmctld and QEMU to a\n"
        "file, without the text of steps, values, passwords in URLs, and what guests printed.",
    .examples = "  vmctl doctor\n"
                "  vmctl doctor -o json\n"
                "  vmctl doctor --support report.txt",
    .options = options,
    .values_size = sizeof(struct doctor_values),
    .run = run,
};
