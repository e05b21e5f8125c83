/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl screenshot: what a VM's screen shows, as a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/screen.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/show/result.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

enum { LIMIT_MS = 10 * 1000 };

struct screenshot_values {
    struct which_values which;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct screenshot_values, 'f'),
    OPTION_ONE_NAME(struct screenshot_values),
    OPTIONS_END,
};

static int read_screen_of(struct cli *cli, const char *name, struct screen *ret, struct error *err)
{
    cleanup_free char *path = paths_vm(&cli->paths, name, VM_VNC_SOCKET);
    cleanup_close int fd = -1;
    if (fs_connect_unix(path, &fd, err) < 0) {
        error_clear(err);
        (void)error_set(
            err, ERR_VM_INVALID_STATE, "vm '%s' has no screen: it is not running", name);
        return error_help(err, "start it: vmctl up, or vmctl start %s", name);
    }
    return screen_read(fd, LIMIT_MS, ret, err);
}

static int write_file(const char *file, const struct buf *png, struct error *err)
{
    bool is_stdout = text_eq(file, "-");
    cleanup_close int fd =
        is_stdout ? dup(STDOUT_FILENO) : open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot write '%s'", file);
    }
    if (is_stdout && isatty(fd)) {
        return error_set(err, ERR_USAGE, "a picture is not written to a terminal");
    }
    return fs_write_all(fd, png->data, png->len, err);
}

static void report_picture(const struct cli *cli, const char *file, const struct screen *screen)
{
    if (text_eq(file, "-")) {
        return;
    }
    if (output_is_data(cli)) {
        cleanup_json json_t *json = json_object();
        json_put_text(json, "file", file);
        json_put_int(json, "width", screen->width);
        json_put_int(json, "height", screen->height);
        output_print(cli, json);
        return;
    }
    cli_note(cli, "%s: written, %u x %u pixels", file, screen->width, screen->height);
}

static void report_failure(const struct cli *cli, const struct error *err)
{
    cleanup_json json_t *json = json_object();
    json_put(json, "error", result_of_error(err));
    output_print(cli, json);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(screen_clear) struct screen screen = {.pixels = NULL};
    cleanup_buf struct buf png = BUF_INIT(0);
    cleanup_free char *name = NULL;
    if (words->count > 2) {
        return error_set(err, ERR_USAGE, "screenshot takes a VM and a file");
    }
    const struct screenshot_values *given = values;
    int rc =
        targets_find_one(cli, &given->which, words->count > 0 ? words->items[0] : NULL, &name, err);
    rc = rc != 0 ? rc : read_screen_of(cli, name, &screen, err);
    if (rc < 0 && output_is_data(cli)) {
        report_failure(cli, err);
    }
    if (rc != 0) {
        return rc;
    }
    cleanup_free char *file =
        words->count > 1 ? mem_strdup(words->items[1]) : mem_printf("%s.png", name);
    screen_add_png(&png, &screen);
    rc = write_file(file, &png, err);
    if (rc == 0) {
        report_picture(cli, file, &screen);
    }
    return rc;
}

const struct command command_screenshot = {
    .name = "screenshot",
    .summary = "Write a screenshot of a VM to a file",
    .usage = "[OPTIONS] [VM [FILE]]",
    .details =
        "FILE is a PNG picture [default: VM.png, here]; -: standard output. What a guest prints\n"
        "on its serial console is in vmctl log. Without a name: the VMFile's only VM.",
    .examples = "  vmctl screenshot web\n"
                "  vmctl screenshot web - | display",
    .options = options,
    .values_size = sizeof(struct screenshot_values),
    .run = run,
};
