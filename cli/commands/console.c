/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl console: the user's terminal on the guest's serial console. */
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/console_link.h"
#include "cli/guest/console_socket.h"
#include "cli/guest/terminal.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/backend_traits.h"
#include "specs/vm/propolis.h"
#include "store/desired/pending.h"
#include "store/store.h"

enum { BACKLOG_MAX = 64 * 1024, IDLE_MS = 2000 };

struct console_values {
    struct which_values which;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct console_values, 'f'),
    OPTION_ONE_NAME(struct console_values),
    OPTIONS_END,
};

/* ---- what the guest wrote before ---- */

/* Only on a terminal: a script would take it for a response. It is read after connecting, so that
 * nothing is missed; output that arrives in between is shown twice. */
static void show_backlog(const char *log_path)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *bytes = mem_calloc(1, BACKLOG_MAX);
    ssize_t n = isatty(STDIN_FILENO) ? log_file_read_tail(log_path, bytes, BACKLOG_MAX) : 0;
    char *line_end = n == BACKLOG_MAX ? memchr(bytes, '\n', BACKLOG_MAX) : NULL;
    const char *text = line_end ? line_end + 1 : bytes; /* from the start of a line on */
    if (n > 0) {
        (void)fs_write_all(STDOUT_FILENO, text, (size_t)(bytes + n - text), &ignored);
    }
}

/* ---- connecting ---- */

/* The console of an instance: a socket in the VM's directory, or propolis-server's. */
struct console {
    struct console_socket socket;
    struct console_link *link; /* NULL: `socket` */
};

static void console_clear(struct console *console)
{
    struct error ignored = {.code = ERR_NONE};
    console_socket_close(&console->socket);
    if (console->link) {
        (void)console_link_close(console->link, &ignored);
    }
}

static int connect_console(
    struct cli *cli, const char *name, struct console *ret, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(cli->store, name, &record, err);
    if (rc < 0) {
        return rc;
    }
    bool is_running = record_has_instance(&record);
    const struct vm_spec *applied = is_running ? record.status->applied_spec : NULL;
    if (!applied || !backend_traits(applied->backend)->console_url) {
        return console_socket_open(&cli->paths, name, &ret->socket, err);
    }
    cleanup_free char *address = propolis_address(record.status->instance.server);
    return console_link_open(name, address, isatty(STDIN_FILENO), &ret->link, err);
}

/* ---- the bridge ---- */

static int report_end(const struct cli *cli, const char *name, const struct terminal_result *result)
{
    switch (result->end) {
    case TERMINAL_DETACHED:
        cli_note(cli, "\ndetached from '%s'", name);
        return 0;
    case TERMINAL_PEER_CLOSED:
        cli_note(cli, "\nthe console was closed: '%s' has stopped", name);
        return 0;
    case TERMINAL_DRAINED:
    case TERMINAL_OUTPUT_CLOSED:
        return 0;
    case TERMINAL_SIGNALLED:
        break;
    }
    return 128 + result->signal;
}

static int attach(struct cli *cli, const char *name, struct error *err)
{
    cleanup_free char *log_path = paths_vm(&cli->paths, name, VM_CONSOLE_LOG);
    cleanup_with(console_clear) struct console console = {.socket = {.fd = -1, .lock = -1}};
    struct terminal_result result;
    int rc = connect_console(cli, name, &console, err);
    if (rc < 0) {
        return rc;
    }
    cli_note(cli, "connected to '%s'%s", name, isatty(STDIN_FILENO) ? " (Ctrl+] detaches)" : "");
    if (!console.link) { /* propolis-server sends its own */
        show_backlog(log_path);
    }
    const struct terminal_bridge bridge = {
        .input_fd = STDIN_FILENO,
        .output_fd = STDOUT_FILENO,
        .peer_fd = console.link ? console_link_fd(console.link) : console.socket.fd,
        .idle_ms = IDLE_MS,
    };
    rc = terminal_run(&bridge, &result, err);
    if (rc == 0 && console.link) {
        rc = console_link_close(TAKE_PTR(console.link), err);
    }
    return rc < 0 ? rc : report_end(cli, name, &result);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct console_values *console = values;
    cleanup_free char *name = NULL;
    if (words->count > 1) {
        return error_set(err, ERR_USAGE, "console is for one VM, not %zu", words->count);
    }
    const char *word = words->count > 0 ? words->items[0] : NULL;
    int rc = targets_find_one(cli, &console->which, word, &name, err);
    return rc != 0 ? rc : attach(cli, name, err);
}

const struct command command_console = {
    .name = "console",
    .summary = "Attach to a VM's serial console",
    .usage = "[OPTIONS] [VM]",
    .details =
        "Shows the last output of the guest, then what it writes; your keys go to the guest.\n"
        "Ctrl+] detaches and leaves the VM running. If standard input is not a terminal, it is\n"
        "sent to its end, and the guest's output is shown until it has been silent for two\n"
        "seconds. A VM has one console at a time, and a serial line knows no window size (in the\n"
        "guest: stty rows R cols C). Without a name: the VMFile's only VM.",
    .examples = "  vmctl console web\n"
                "  printf 'id\\n' | vmctl console web",
    .reach = REACH_ONE,
    .options = options,
    .values_size = sizeof(struct console_values),
    .run = run,
};
