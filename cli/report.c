/* SPDX-License-Identifier: MPL-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"

void cli_print_blocker(
    const struct cli *cli, const char *code, const char *message, const char *help)
{
    const char *red = cli->use_color ? "\033[1;31m" : "", *bold = cli->use_color ? "\033[1m" : "",
               *off = cli->use_color ? "\033[0m" : "";
    cleanup_buf struct buf shown = BUF_INIT(0);
    text_add_printable(&shown, message, strlen(message));
    fprintf(stderr, "%serror[%s]%s%s: %s%s\n", red, code, off, bold, buf_str(&shown), off);
    if (help && help[0]) {
        buf_reset(&shown);
        text_add_printable(&shown, help, strlen(help));
        fprintf(stderr, "  help: %s\n", buf_str(&shown));
    }
}

void cli_print_error(const struct cli *cli, const struct error *err)
{
    cli_print_blocker(cli, error_code_name(err->code), err->message, error_help_text(err));
}

void cli_note(const struct cli *cli, const char *fmt, ...)
{
    if (cli->is_quiet) {
        return;
    }
    va_list ap;
    cleanup_free char *text = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n >= 0) {
        fprintf(stderr, "%s\n", text); /* one write: others may be at the same terminal or log */
    }
}
