/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl explain: what an error means. vmctl(1), DIAGNOSTICS, has the same sentences: the lint
 * manual.sh compares them. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/show/output.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static const char *const meanings[ERR_CODE_COUNT_] = {
    [ERR_IO] = "A file or a socket could not be read or written.",
    [ERR_USAGE] = "The command line is wrong; nothing was done.",
    [ERR_INTERRUPTED] = "A signal ended the command; what it requested continues.",
    [ERR_CANCELLED] = "What was followed was given up for something else.",
    [ERR_TIMEOUT] = "The deadline passed first; what was requested continues.",
    [ERR_VMFILE_NOT_FOUND] = "There is no VMFile at that place.",
    [ERR_VMFILE_PARSE] = "The VMFile is not KDL.",
    [ERR_VMFILE_INVALID] = "The VMFile is KDL, and something in it is wrong: nothing of it was "
                           "applied.",
    [ERR_VM_NOT_FOUND] = "There is no such machine.",
    [ERR_VM_INVALID_STATE] = "The machine cannot do that in its state.",
    [ERR_VM_CONFLICT] = "The name or a port belongs to another VMFile or machine.",
    [ERR_VM_DELETING] = "The machine is being removed.",
    [ERR_VM_FAILED] = "The machine failed.",
    [ERR_STORE] = "The data directory cannot be used.",
    [ERR_STORE_STALE] = "Another command was faster; nothing was changed.",
    [ERR_STORE_VERSION] = "The data directory was written by a newer vmctl.",
    [ERR_CONTROLLER] = "The controller, vmctld, did not start or does not serve.",
    [ERR_NODE] = "Another host, or the vmctl on it, cannot be reached by ssh.",
    [ERR_IMAGE_NOT_FOUND] = "The image does not exist.",
    [ERR_IMAGE_DOWNLOAD] = "The image could not be downloaded; it is tried again.",
    [ERR_IMAGE_CHECKSUM] = "The image is not the one that sha256 names.",
    [ERR_IMAGE_FORMAT] = "The file is not a disk image that can be used.",
    [ERR_IMAGE_DECOMPRESS] = "The image is damaged or cut off.",
    [ERR_IMAGE_CHANGED] = "The local image under the disk was changed since the disk was made.",
    [ERR_IMAGE_CONVERSION] = "The image could not be converted to qcow2.",
    [ERR_OVERLAY] = "The machine's disk could not be made.",
    [ERR_DISK_SHRINK] = "A disk only grows: the wanted one is smaller than the one there is.",
    [ERR_NO_SPACE] = "The file system is full.",
    [ERR_SNAPSHOT_NOT_FOUND] = "The machine has no snapshot of that name.",
    [ERR_ARCHIVE] =
        "The file is no export of a machine, or is damaged, cut off or of a newer vmctl: "
        "nothing of it was imported.",
    [ERR_VOLUME_NOT_FOUND] = "There is no volume of that name, or the machine does not have it.",
    [ERR_VOLUME_IN_USE] = "Another machine uses the volume: it is one machine's at a time.",
    [ERR_SHARE] = "A shared folder could not be mounted in the guest.",
    [ERR_MOUNT] = "A volume could not be mounted in the guest, or unmounted.",
    [ERR_SAVED_MEMORY] =
        "The memory of a machine could not be saved to disk, or cannot be loaded from there.",
    [ERR_TEMPLATE] = "A template could not be made, or is not as it was when it was made.",
    [ERR_TEMPLATE_NOT_FOUND] = "There is no template of that digest.",
    [ERR_IDENTITY] = "A guest that was woken from the memory of a template did not get an "
                     "identity of its own.",
    [ERR_SEED] = "The seed for cloud-init could not be made.",
    [ERR_KEYGEN] = "A key pair could not be made.",
    [ERR_KEY_UNREADABLE] = "A key could not be read.",
    [ERR_QEMU_SPAWN] = "QEMU did not start.",
    [ERR_QMP_CONNECT] = "QEMU ended, or did not answer, before its monitor could be used.",
    [ERR_QMP_COMMAND] = "QEMU refused a command of its monitor, or did not answer it.",
    [ERR_KVM_UNAVAILABLE] = "KVM is asked for, and does not work here.",
    [ERR_PORT_TAKEN] = "A port that the machine forwards is in use on this host.",
    [ERR_BACKEND_UNAVAILABLE] = "The backend, or what was asked of it, does not exist on this "
                                "host.",
    [ERR_PROPOLIS_UNREACHABLE] = "The machine's propolis-server does not answer.",
    [ERR_IP_TIMEOUT] = "The guest's address was not found.",
    [ERR_SSH] = "The guest cannot be reached by SSH.",
    [ERR_SSH_AUTH] = "The guest refuses the user or the keys.",
    [ERR_SSH_HOSTKEY] = "Something else than the guest answers, or the guest made itself a new "
                        "host key.",
    [ERR_SSH_TIMEOUT] = "The guest did not answer by SSH in time.",
    [ERR_SSH_PORT] = "The guest has booted, and nothing listens on its port 22.",
    [ERR_CLOUD_INIT] = "The guest's cloud-init ended with errors, or has not ended for ten "
                       "minutes.",
    [ERR_PROVISION] = "A provision step failed; those after it were not run.",
    [ERR_PROVISION_TIMEOUT] = "A provision step did not end within its timeout, and was ended in "
                              "the guest.",
    [ERR_PROVISION_LOST] = "A provision step was lost: the guest was restarted while it ran, or "
                           "its processes were killed.",
    [ERR_SECRET] = "A secret of a provision step could not be had, and the step was not begun.",
    [ERR_PROBE] = "The ready probes of the VMFile have not passed for ten minutes.",
};

/* The code of its name, or of the end of it: "ssh::auth_failed", "auth_failed". */
static enum error_code find_code(const char *word)
{
    cleanup_free char *end = mem_printf("::%s", word);
    enum error_code code = error_code_find(word);
    for (int i = ERR_NONE + 1; code == ERR_NONE && i < ERR_CODE_COUNT_; i++) {
        if (meanings[i] && text_ends_with(error_code_name((enum error_code)i), end)) {
            code = (enum error_code)i;
        }
    }
    return meanings[code] ? code : ERR_NONE;
}

static void explain(const struct cli *cli, enum error_code code, json_t *array)
{
    const struct error err = {.code = code};
    const char *help = error_help_text(&err);
    if (array) {
        json_t *json = json_object();
        json_put_text(json, "code", error_code_name(code));
        json_put_text(json, "meaning", meanings[code]);
        json_put_text(json, "help", help);
        json_put_int(json, "exitStatus", error_exit_status(code));
        (void)json_array_append_new(array, json);
        return;
    }
    if (cli->output == OUTPUT_NAME) {
        puts(error_code_name(code));
        return;
    }
    printf("%s\n  %s\n", error_code_name(code), meanings[code]);
    if (help[0]) {
        printf("  help: %s\n", help);
    }
    printf("  exit status: %d\n", error_exit_status(code));
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    cleanup_json json_t *array = output_is_data(cli) ? json_array() : NULL;
    for (size_t i = 0; i < words->count; i++) {
        enum error_code code = find_code(words->items[i]);
        if (code == ERR_NONE) {
            (void)error_set(err, ERR_USAGE, "there is no error '%s'", words->items[i]);
            return error_help(err, "see all: vmctl explain");
        }
        explain(cli, code, array);
    }
    for (int i = ERR_NONE + 1; words->count == 0 && i < ERR_CODE_COUNT_; i++) {
        if (meanings[i]) {
            explain(cli, (enum error_code)i, array);
        }
    }
    if (array) {
        output_print(cli, array);
    }
    return 0;
}

const struct command command_explain = {
    .name = "explain",
    .summary = "Explain an error by its code",
    .usage = "[OPTIONS] [CODE...]",
    .details = "CODE is what an error shows in brackets, or its end. Without one: all errors.",
    .examples = "  vmctl explain vmctl::ssh::auth_failed\n"
                "  vmctl explain auth_failed",
    .needs_no_store = true,
    .run = run,
};
