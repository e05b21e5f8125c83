/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl vnc: a VM's screen, in a viewer of this desktop or by instructions for one elsewhere. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "store/store.h"

struct vnc_values {
    struct which_values which;
    bool prints;
};

static const struct arg_option options[] = {
    {"print", 0, ARG_FLAG, offsetof(struct vnc_values, prints), NULL,
        "print how to connect; start no viewer"},
    OPTION_FILE(struct vnc_values, 'f'),
    OPTION_ONE_NAME(struct vnc_values),
    OPTIONS_END,
};

/* These take the path of a socket as their argument (xtigervncviewer(1), ssvncviewer(1)). */
static char *find_viewer(void)
{
    static const char *const viewers[] = {"xtigervncviewer", "vncviewer", "ssvncviewer"};
    const char *display = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");
    const char *wanted = getenv("VMCTL_VNC_VIEWER");
    bool has_display = (display && display[0]) || (wayland && wayland[0]);
    char *viewer = NULL;
    if (wanted && wanted[0]) {
        return wanted[0] == '/' ? mem_strdup(wanted) : fs_find_program(wanted);
    }
    for (size_t i = 0; has_display && !viewer && i < ARRAY_LEN(viewers); i++) {
        viewer = fs_find_program(viewers[i]);
    }
    return viewer;
}

/* From within the VM's directory, because a path may be longer than a socket's address can be. */
static int run_viewer(const char *viewer, const char *dir, struct error *err)
{
    char *const argv[] = {(char *)(uintptr_t)viewer, (char *)(uintptr_t) "./vnc.sock", NULL};
    if (chdir(dir) == 0) {
        (void)execv(viewer, argv);
    }
    (void)error_set_errno(err, ERR_IO, errno, "cannot start the viewer '%s'", viewer);
    return error_help(err, "connect with another one: vmctl vnc --print");
}

static void print_ways(const char *path, const char *address)
{
    char host[256] = "this-host";
    const char *user = getenv("USER");
    if (gethostname(host, sizeof(host) - 1) < 0) {
        (void)snprintf(host, sizeof(host), "this-host");
    }
    printf("%s\n\n", path);
    printf("here:           vncviewer '%s'\n", path);
    printf("from elsewhere: ssh -L 5901:'%s' %s%s%s, then there: vncviewer 127.0.0.1::5901\n", path,
        user ? user : "", user ? "@" : "", host);
    printf("by a port here: socat TCP-LISTEN:5901,bind=127.0.0.1,reuseaddr,fork UNIX-CONNECT:'%s'\n"
           "                (every user of this host can then open it)\n",
        path);
    if (address && address[0] != '/') {
        printf("with password:  vncviewer %s (the VMFile's `vnc`)\n", address);
    }
}

static int open_screen(
    struct cli *cli, const char *name, const struct vnc_values *values, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    cleanup_free char *path = paths_vm(&cli->paths, name, VM_VNC_SOCKET);
    cleanup_free char *dir = paths_vm(&cli->paths, name, VM_DIR);
    cleanup_close int probe = -1;
    int rc = store_get(cli->store, name, &record, err);
    if (rc < 0) {
        return rc;
    }
    if (fs_connect_unix(path, &probe, err) < 0) {
        error_clear(err);
        (void)error_set(
            err, ERR_VM_INVALID_STATE, "vm '%s' has no screen: it is not running", name);
        return error_help(err, "start it: vmctl up, or vmctl start %s", name);
    }
    const char *address = record.status ? record.status->vnc : NULL;
    if (output_is_data(cli)) {
        cleanup_json json_t *json = json_object();
        json_put_text(json, "socket", path);
        json_put_text(json, "address", address && address[0] != '/' ? address : NULL);
        output_print(cli, json);
        return 0;
    }
    cleanup_free char *viewer = values->prints ? NULL : find_viewer();
    if (viewer) {
        cleanup_close_(&probe);
        return run_viewer(viewer, dir, err);
    }
    print_ways(path, address);
    return 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct vnc_values *vnc = values;
    cleanup_free char *name = NULL;
    if (words->count > 1) {
        return error_set(err, ERR_USAGE, "vnc is for one VM, not %zu", words->count);
    }
    int rc = targets_find_one(cli, &vnc->which, words->count ? words->items[0] : NULL, &name, err);
    return rc != 0 ? rc : open_screen(cli, name, vnc, err);
}

const struct command command_vnc = {
    .name = "vnc",
    .summary = "Open a VM's screen",
    .usage = "[OPTIONS] [VM]",
    .details =
        "With a display, starts a VNC viewer (xtigervncviewer, vncviewer, ssvncviewer or\n"
        "$VMCTL_VNC_VIEWER) on the screen's socket; without one, and with --print, prints how to\n"
        "connect. Only you can open the socket. For a TCP port with a password: `vnc` in the\n"
        "VMFile. Without a name: the VMFile's only VM.",
    .examples = "  vmctl vnc web\n"
                "  vmctl vnc web --print",
    .reach = REACH_ONE,
    .options = options,
    .values_size = sizeof(struct vnc_values),
    .run = run,
};
