/* SPDX-License-Identifier: MPL-2.0 */
/* vmctld's entry: the one place that plugs the reconcilers into the controller. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/daemon.h"
#include "reconcilers/reconcile.h"
#include "specs/base/error.h"
#include "specs/base/log.h"

/* vmctl looks at the exit status of the vmctld it started: see its table of exit statuses. */
enum { EXIT_UNUSABLE = 5 };

static const char usage[] =
    "Usage: vmctld [--data-dir DIR] [--foreground]\n"
    "\n"
    "Makes the VMs of a data directory what vmctl was told they should be. vmctl starts it by\n"
    "itself; SIGTERM ends it and leaves the VMs running.\n"
    "\n"
    "  --data-dir DIR  the data directory [default: $XDG_DATA_HOME/vmctl, ~/.local/share/vmctl]\n"
    "  --foreground    stay in the working directory, for a terminal or a service manager\n"
    "  --version       print the version\n"
    "  --help          print this\n"
    "\n"
    "VMCTL_LOG sets what is logged: error, warn, info, debug, trace, or MODULE=LEVEL,…\n";

/* Returns -1 to go on, else an exit status. */
static int read_options(int argc, char **argv, struct daemon_options *options)
{
    static const struct option known[] = {
        {"data-dir", required_argument, NULL, 'd'},
        {"foreground", no_argument, NULL, 'f'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        switch (option) {
        case 'd':
            options->data_dir = optarg;
            break;
        case 'f':
            options->is_foreground = true;
            break;
        case 'V':
            puts("vmctld " VMCTL_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        default: /* getopt has said what is wrong */
            fputs("help: see: vmctld --help\n", stderr);
            return error_exit_status(ERR_USAGE);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "vmctld: unexpected argument '%s'\nhelp: see: vmctld --help\n",
            argv[optind]);
        return error_exit_status(ERR_USAGE);
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct daemon_options options = {0};
    int status = read_options(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    log_init(LOG_INFO);
    struct error err = {0};
    if (daemon_run(&options, vm_reconciler_new, &err) < 0) {
        fprintf(stderr, "Error: %s\n  %s\n", error_code_name(err.code), err.message);
        if (error_help_text(&err)[0]) {
            fprintf(stderr, "  help: %s\n", error_help_text(&err));
        }
        return EXIT_UNUSABLE;
    }
    return EXIT_SUCCESS;
}
