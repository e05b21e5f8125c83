/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/confirm.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/show/table.h"
#include "cli/show/vm_rows.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "store/store.h"

enum { N_COLUMNS = 3 };

/* Only that read(2) returns: its answer is no. */
static void on_interrupt(int signal_number)
{
    (void)signal_number;
}

int confirm(const char *question, struct error *err)
{
    char answer[16] = "";
    const struct sigaction interrupting = {.sa_handler = on_interrupt};
    struct sigaction before;
    (void)fputs(question, stderr);
    (void)fflush(stderr);
    (void)sigaction(SIGINT, &interrupting, &before);
    bool has_answer = fgets(answer, sizeof(answer), stdin) != NULL;
    (void)sigaction(SIGINT, &before, NULL);
    if (!has_answer) {
        (void)fputc('\n', stderr); /* the error is not part of the question's line */
    }
    answer[strcspn(answer, "\n")] = '\0';
    bool is_yes = strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
    return is_yes ? 0 : error_set(err, ERR_CANCELLED, "nothing was changed");
}

/* "20 GB, 1.3 GB written" */
static char *describe_disk(const struct cli *cli, const struct vm_record *record)
{
    struct stat st;
    cleanup_free char *path = paths_vm(&cli->paths, record->name, VM_OVERLAY);
    uint32_t grown = record->status ? record->status->prepared.disk_gib : 0;
    uint32_t wanted = record->desired->spec->disk_gib, size = wanted > grown ? wanted : grown;
    cleanup_free char *shown = size ? mem_printf("%u GB, ", size) : mem_strdup("");
    if (stat(path, &st) < 0) {
        return mem_printf("%snothing written", shown);
    }
    const double megabytes = (double)st.st_blocks * 512 / 1e6;
    return megabytes < 1000 ? mem_printf("%s%.0f MB written", shown, megabytes)
                            : mem_printf("%s%.1f GB written", shown, megabytes / 1000);
}

/* Fills the IDs of those that have a disk to lose, "" of the others; of the first ones a row each.
 */
static int read_victims(struct cli *cli, const struct strings *names, struct table *rows,
    char (*ret_uids)[TEXT_ID_SIZE], size_t *ret_count, struct error *err)
{
    enum { SHOWN = 20 };
    int rc = cli_open_store(cli, err);
    *ret_count = 0;
    for (size_t i = 0; rc == 0 && i < names->count; i++) {
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        rc = store_get(cli->store, names->items[i], &record, err);
        if (rc < 0 || !record.desired || record.desired->is_deleting) {
            continue;
        }
        memcpy(ret_uids[i], record.desired->uid, TEXT_ID_SIZE);
        if (++*ret_count <= SHOWN) {
            const struct vm_row row = vm_row_of_record(&record);
            cleanup_free char *name = mem_printf("  %s", record.name);
            cleanup_free char *disk = describe_disk(cli, &record);
            table_add(rows, name);
            table_add(rows, disk);
            table_add(rows, vm_row_state(&row));
        }
    }
    return rc;
}

int confirm_erasure(
    struct cli *cli, bool is_sure, bool is_kept, const struct strings *names, struct error *err)
{
    cleanup_with(table_clear) struct table rows, ignored;
    cleanup_free char(*asked)[TEXT_ID_SIZE] = mem_calloc(names->count, sizeof(*asked));
    cleanup_free char(*now)[TEXT_ID_SIZE] = mem_calloc(names->count, sizeof(*now));
    cleanup_buf struct buf text = BUF_INIT(0);
    size_t count = 0, count_now;
    table_init(&rows, N_COLUMNS);
    table_init(&ignored, N_COLUMNS);
    bool has_terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    int rc = is_sure || !has_terminal ? 0 : read_victims(cli, names, &rows, asked, &count, err);
    if (rc < 0 || count == 0) {
        return rc;
    }
    buf_printf(&text, "This %s the disk%s of %zu VM%s:\n", is_kept ? "replaces" : "erases",
        count > 1 ? "s" : "", count, count > 1 ? "s" : "");
    table_print(&rows, &text);
    if (count > rows.count / N_COLUMNS) {
        buf_printf(&text, "  … and %zu more\n", count - rows.count / N_COLUMNS);
    }
    const char *what = count > 1 ? "them" : "it";
    buf_printf(&text,
        is_kept ? "What is on %s is kept as a snapshot for 24 hours. Replace %s? [y/N] "
                : "What is on %s cannot be restored. Erase %s? [y/N] ",
        what, what);
    rc = confirm(buf_str(&text), err);
    rc = rc < 0 ? rc : read_victims(cli, names, &ignored, now, &count_now, err);
    for (size_t i = 0; rc == 0 && i < names->count; i++) {
        if (now[i][0] && !text_eq(asked[i], now[i])) {
            rc = error_set(
                err, ERR_VM_CONFLICT, "vm '%s' was created after you were asked", names->items[i]);
        }
    }
    return rc;
}
