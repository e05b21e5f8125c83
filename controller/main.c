/* SPDX-License-Identifier: MPL-2.0 */
/* vmctld's entry: the one place that plugs the reconcilers into the controller. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/controller.h"
#include "controller/daemon.h"
#include "controller/fleet/process/fleet_process.h"
#include "controller/source/source_watch.h"
#include "reconcilers/backend/qemu/host_probe.h"
#include "reconcilers/image/image_requests.h"
#include "reconcilers/vm/reconcile.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/control_group.h"
#include "specs/base/data_trust.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

/* vmctl looks at the exit status of the vmctld it started: see its table of exit statuses. */
enum { EXIT_UNUSABLE = 5 };

static const char usage[] =
    "Usage: vmctld [--data-dir DIR] [--foreground]\n"
    "       vmctld --probe\n"
    "       vmctld [--data-dir DIR] --lift-limits\n"
    "       vmctld [--data-dir DIR] --fleet | [--data-dir DIR] --fleet-ask VERB FILE\n"
    "\n"
    "Keeps the VMs of a data directory in the state that vmctl recorded. vmctl\n"
    "starts it by itself; SIGTERM ends it and leaves the VMs running.\n"
    "\n"
    "  --data-dir DIR  the data directory [default: $XDG_DATA_HOME/vmctl, ~/.local/share/vmctl]\n"
    "  --foreground    stay in the working directory, for a terminal or a service manager\n"
    "  --probe         print as JSON what this host offers, as vmctl doctor asks\n"
    "  --lift-limits   let its service start the next vmctld, which sets limits again\n"
    "  --fleet         be the messenger of the fleet that was joined: vmctld starts it\n"
    "  --fleet-ask VERB  ask the etcd of the settings in FILE, as vmctl fleet does\n"
    "  --version       print the version\n"
    "  --help          print this\n"
    "\n"
    "VMCTL_LOG sets what is logged: error, warn, info, debug, trace, or MODULE=LEVEL,…\n";

/* The shape of vmctl's errors. */
static void print_error(const struct error *err)
{
    cleanup_buf struct buf message = BUF_INIT(0);
    text_add_printable(&message, err->message, strlen(err->message));
    fprintf(stderr, "error[%s]: %s\n", error_code_name(err->code), buf_str(&message));
    if (error_help_text(err)[0]) {
        fprintf(stderr, "  help: %s\n", error_help_text(err));
    }
}

static int main_refuse(const char *what, const char *word)
{
    struct error err = {.code = ERR_NONE};
    (void)error_set(&err, ERR_USAGE, "vmctld: %s '%s'", what, word);
    (void)error_help(&err, "see: vmctld --help");
    print_error(&err);
    return error_exit_status(ERR_USAGE);
}

/* Returns an exit status. */
static int print_probe(void)
{
    cleanup_json json_t *probe = NULL;
    struct error err = {0};
    if (host_probe_run(&probe, &err) < 0) {
        print_error(&err);
        return error_exit_status(err.code);
    }
    cleanup_free char *text = json_canonical(probe);
    puts(text);
    return EXIT_SUCCESS;
}

/* Of the control group of the unit that runs this. Returns an exit status. */
static int lift_limits(const char *data_dir)
{
    struct error err = {.code = ERR_NONE}, ignored = {.code = ERR_NONE};
    cleanup_with(paths_clear) struct paths paths = {.data_dir = NULL};
    cleanup_free char *group = control_group_find("/proc", 0, &err);
    if (!group) {
        return EXIT_SUCCESS; /* there are none */
    }
    paths_find(&paths, data_dir);
    bool is_ours = data_trust_check(&paths, &ignored) == 0;
    cleanup_free char *kept = paths_path(&paths, "killed");
    control_group_sweep(group);
    if (control_group_lift(group, is_ours ? kept : NULL, &err) < 0) {
        print_error(&err);
        return error_exit_status(err.code);
    }
    return EXIT_SUCCESS;
}

/* Returns -1 to continue, else an exit status. */
static int read_options(int argc, char **argv, struct daemon_options *options)
{
    static const struct option known[] = {
        {"data-dir", required_argument, NULL, 'd'},
        {"foreground", no_argument, NULL, 'f'},
        {"probe", no_argument, NULL, 'p'},
        {"lift-limits", no_argument, NULL, 'l'},
        {"fleet", no_argument, NULL, 'F'},
        {"fleet-ask", required_argument, NULL, 'a'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    bool lifts = false;
    opterr = 0; /* in our own shape */
    for (int option; (option = getopt_long(argc, argv, ":h", known, NULL)) != -1;) {
        switch (option) {
        case 'd':
            options->data_dir = optarg;
            break;
        case 'f':
            options->is_foreground = true;
            break;
        case 'p':
            return print_probe();
        case 'l':
            lifts = true; /* --data-dir may follow */
            break;
        case 'F':
            options->is_messenger = true;
            break;
        case 'a':
            log_init(LOG_ERROR);
            return optind + 1 == argc ? fleet_process_ask(optarg, argv[optind], options->data_dir)
                                      : main_refuse("a file is missing after", optarg);
        case 'V':
            puts("vmctld " VMCTL_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        case ':':
            return main_refuse("a value is missing after", argv[optind - 1]);
        default:
            return main_refuse("unknown option", argv[optind - 1]);
        }
    }
    return optind < argc ? main_refuse("unexpected argument", argv[optind])
           : lifts       ? lift_limits(options->data_dir)
                         : -1;
}

static void plug_in(struct controller *controller)
{
    struct reconciler_host *host = controller_host(controller);
    struct reconciler *vms = vm_reconciler_new(host);
    controller_add(controller, vms);
    controller_add(controller, source_watch_new(host));
    controller_add(
        controller, image_requests_new(host, (struct image_pins){vm_reconciler_each_pin, vms}));
}

int main(int argc, char **argv)
{
    struct daemon_options options = {0};
    fs_hold_standard_fds();
    int status = read_options(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    log_init(LOG_INFO);
    struct error err = {0};
    if (options.is_messenger) {
        if (fleet_process_run(options.data_dir, &err) < 0) {
            print_error(&err);
            return EXIT_UNUSABLE;
        }
        return EXIT_SUCCESS;
    }
    if (daemon_run(&options, plug_in, &err) < 0) {
        print_error(&err);
        return EXIT_UNUSABLE;
    }
    return EXIT_SUCCESS;
}
