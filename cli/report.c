/* SPDX-License-Identifier: MPL-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"

/* The colour codes in front of `text` take no columns. */
static size_t colors_length(const char *text)
{
    return text_starts_with(text, "\033[") ? strcspn(text, "m") + 1 : 0;
}

unsigned cli_columns_of_errors(void)
{
    struct winsize size;
    bool is_known = isatty(STDERR_FILENO) && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
    return is_known ? size.ws_col : 0;
}

void cli_add_folded(struct buf *out, const char *text, size_t column, size_t indent)
{
    unsigned columns = cli_columns_of_errors();
    size_t width = columns > 2 * indent ? columns : SIZE_MAX;
    for (size_t n = 0; *text; text += n) {
        size_t n_columns = 0, blanks = strspn(text, " ");
        for (n = blanks; text[n] && !strchr(" \n", text[n]); n++) {
            size_t n_color = colors_length(text + n);
            n += n_color > 0 ? n_color - 1 : 0;
            n_columns += n_color == 0 && ((unsigned char)text[n] & 0xc0) != 0x80;
        }
        if (column + blanks + n_columns > width && column > indent) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
            text += blanks;
            n -= blanks;
            blanks = 0;
        }
        n += text[n] == '\n';
        buf_add(out, text, n);
        column = n > 0 && text[n - 1] == '\n' ? 0 : column + blanks + n_columns;
    }
}

void cli_print_blocker(
    const struct cli *cli, const char *code, const char *message, const char *help)
{
    const char *red = cli->use_color ? "\033[1;31m" : "", *bold = cli->use_color ? "\033[1m" : "",
               *off = cli->use_color ? "\033[0m" : "";
    cleanup_buf struct buf shown = BUF_INIT(0), out = BUF_INIT(0);
    text_add_printable(&shown, message, strlen(message));
    buf_printf(&out, "%serror[%s]%s%s: ", red, code, off, bold);
    cli_add_folded(&out, buf_str(&shown), strlen("error[]: ") + strlen(code), strlen("  "));
    buf_printf(&out, "%s\n", off);
    if (help && help[0]) {
        buf_reset(&shown);
        text_add_printable(&shown, help, strlen(help));
        buf_add_str(&out, "  help: ");
        cli_add_folded(&out, buf_str(&shown), strlen("  help: "), strlen("  help: "));
        buf_add_char(&out, '\n');
    }
    fputs(buf_str(&out), stderr);
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
        cleanup_buf struct buf shown = BUF_INIT(0), out = BUF_INIT(0);
        text_add_printable(&shown, text, strlen(text));
        cli_add_folded(&out, buf_str(&shown), 0, strlen("  "));
        buf_add_char(&out, '\n');
        fputs(buf_str(&out), stderr); /* one write: others may be at the same terminal or log */
    }
}
