/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

struct progress progress_begin(const struct cli *cli, const char *vm, const char *what)
{
    return (struct progress){
        .is_shown = !cli->is_quiet && isatty(STDERR_FILENO), .vm = vm, .what = what, .percent = -1};
}

void progress_show(struct progress *progress, double done, double total)
{
    int percent = total > 0 ? (int)(done * 100 / total) : 100;
    if (percent == progress->percent) {
        return;
    }
    progress->percent = percent;
    if (progress->report) {
        progress->report(progress->context, percent);
    }
    if (progress->is_shown) {
        fprintf(stderr, "\r%s: %s %d%%\033[K", progress->vm, progress->what, percent);
        (void)fflush(stderr);
    }
}

void progress_add(struct progress *progress, double done)
{
    progress->done += done;
    progress_show(progress, progress->done, progress->total);
}

void progress_end(struct progress *progress)
{
    if (progress->is_shown && progress->percent >= 0) {
        fputs("\r\033[K", stderr);
    }
    progress->is_shown = false;
}
