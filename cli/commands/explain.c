/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl explain: what an error means. vmctl(1), DIAGNOSTICS, has the same sentences: the lint
 * manual.sh compares them. */
#include <stdio.h>
#include <strings.h>

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
    [ERR_INTERRUPTED] = "A signal ended the command; its request continues.",
    [ERR_CANCELLED] = "The operation was cancelled, or another request replaced it.",
    [ERR_TIMEOUT] = "The timeout expired first; the request continues.",
    [ERR_VMFILE_NOT_FOUND] = "The VMFile does not exist.",
    [ERR_VMFILE_PARSE] = "The VMFile is not valid KDL.",
    [ERR_VMFILE_INVALID] = "The VMFile has invalid settings; nothing was applied.",
    [ERR_VM_NOT_FOUND] = "There is no VM of that name.",
    [ERR_VM_INVALID_STATE] = "The VM's state does not allow that.",
    [ERR_VM_CONFLICT] = "The name or a port belongs to another VMFile or VM.",
    [ERR_VM_DELETING] = "The VM is being removed.",
    [ERR_VM_FAILED] = "The VM failed.",
    [ERR_STORE] = "The data directory cannot be used.",
    [ERR_STORE_STALE] = "Another command changed the same data first; nothing was changed.",
    [ERR_STORE_VERSION] = "The data directory was written by a newer vmctl.",
    [ERR_CONTROLLER] = "The controller, vmctld, did not start or does not serve.",
    [ERR_NODE] = "Another host, or the vmctl on it, cannot be reached by ssh.",
    [ERR_FLEET_UNREACHABLE] =
        "No member of the fleet's store, etcd, answered, or the members have no leader.",
    [ERR_FLEET_TLS] = "A certificate of the fleet is expired, unknown, or cannot be read.",
    [ERR_FLEET_DENIED] = "The fleet's store denies that to the user of this certificate.",
    [ERR_FLEET_VERSION] = "The server is not etcd 3.4 or newer.",
    [ERR_FLEET_COMPACTED] = "The fleet's store no longer has that revision; vmctld reads it again.",
    [ERR_FLEET_LIMIT] = "A request to the fleet's store, or its answer, is too large.",
    [ERR_FLEET_FULL] = "The fleet's store is full and accepts no writes; VMs keep running.",
    [ERR_FLEET_LEASE] =
        "The node's lease in the fleet's store has expired; vmctld takes a new one.",
    [ERR_FLEET_CONFIG] = "This host has not joined a fleet, or its fleet settings are invalid.",
    [ERR_FLEET_FROZEN] =
        "The fleet's store is not the one this host joined, or was restored to an older state.",
    [ERR_FLEET_NO_NODE] = "No node of the fleet can run the VM.",
    [ERR_FLEET_NODE_LOST] = "The node has not reported for a while: its VMs may or may not run.",
    [ERR_FLEET_NAME_TAKEN] = "Another VM of the fleet, or of that node, has the name.",
    [ERR_IMAGE_NOT_FOUND] = "The image does not exist.",
    [ERR_IMAGE_DOWNLOAD] = "The image could not be downloaded; vmctld tries again.",
    [ERR_IMAGE_CHECKSUM] = "The image does not match its sha256.",
    [ERR_IMAGE_FORMAT] = "The file is not a disk image that can be used.",
    [ERR_IMAGE_DECOMPRESS] = "The image is damaged or truncated.",
    [ERR_IMAGE_CHANGED] = "The local image under the disk was changed since the disk was made.",
    [ERR_IMAGE_CONVERSION] = "The image could not be converted to qcow2.",
    [ERR_OVERLAY] = "The VM's disk could not be created.",
    [ERR_DISK_SHRINK] = "A disk can only grow: the requested size is smaller than the disk.",
    [ERR_NO_SPACE] = "The file system is full.",
    [ERR_SNAPSHOT_NOT_FOUND] = "The VM has no snapshot of that name.",
    [ERR_ARCHIVE] = "The file is not an export of a VM, or is damaged, truncated or from a newer "
                    "vmctl; nothing was imported.",
    [ERR_VOLUME_NOT_FOUND] = "There is no volume of that name, or the VM does not have it.",
    [ERR_VOLUME_IN_USE] = "Another VM uses the volume; only one VM can use it at a time.",
    [ERR_SHARE] = "A shared folder could not be mounted in the guest.",
    [ERR_FORWARD] = "A socket of the VMFile could not be forwarded over SSH.",
    [ERR_MOUNT] = "A volume could not be mounted in the guest, or unmounted.",
    [ERR_SAVED_MEMORY] =
        "A VM's memory could not be saved to disk, or cannot be loaded from there.",
    [ERR_TEMPLATE] = "A template could not be made, or has changed since.",
    [ERR_TEMPLATE_NOT_FOUND] = "There is no template with that digest.",
    [ERR_IDENTITY] = "A guest that started from a template's memory did not get its own identity.",
    [ERR_SEED] = "The seed for cloud-init could not be created.",
    [ERR_KEYGEN] = "A key pair could not be created.",
    [ERR_KEY_UNREADABLE] = "A key could not be read.",
    [ERR_QEMU_SPAWN] = "QEMU did not start.",
    [ERR_QMP_CONNECT] = "QEMU ended, or did not answer, before its monitor could be used.",
    [ERR_QMP_COMMAND] = "QEMU refused a command of its monitor, or did not answer it.",
    [ERR_KVM_UNAVAILABLE] = "The VM requires KVM, which does not work on this host.",
    [ERR_PORT_TAKEN] = "A port that the VM forwards is in use on this host.",
    [ERR_BACKEND_UNAVAILABLE] =
        "This host does not have the backend, or a feature of it that was requested.",
    [ERR_PROPOLIS_UNREACHABLE] = "The VM's propolis-server does not answer.",
    [ERR_IP_TIMEOUT] = "The guest's address was not found.",
    [ERR_SSH] = "The guest cannot be reached by SSH.",
    [ERR_SSH_AUTH] = "The guest refuses the user or the keys.",
    [ERR_SSH_HOSTKEY] =
        "Something other than the guest answers, or the guest has created a new host key.",
    [ERR_SSH_TIMEOUT] = "The guest did not answer by SSH in time.",
    [ERR_SSH_PORT] = "The guest has booted, and nothing listens on its port 22.",
    [ERR_AGENT] = "The agent in the guest, qemu-guest-agent, does not run, does not answer, or "
                  "refused the command.",
    [ERR_CLOUD_INIT] = "The guest's cloud-init ended with errors, or has not ended for ten "
                       "minutes.",
    [ERR_PROVISION] = "A provision step failed; the steps after it were not run.",
    [ERR_PROVISION_TIMEOUT] = "A provision step exceeded its timeout and was ended in the guest.",
    [ERR_PROVISION_LOST] = "A provision step was lost: the guest was restarted while it ran, or "
                           "its processes were killed.",
    [ERR_SECRET] = "A secret of a provision step could not be read; the step was not started.",
    [ERR_PROBE] = "The ready probes of the VMFile have not passed for ten minutes.",
};

/* What `list` shows; vmctl(1), MACHINE STATES, has the same. */
static const struct {
    const char *word, *meaning;
} states[] = {
    {"Pending", "The controller has not processed the VM yet."},
    {"ImagePulling", "The image is being downloaded."},
    {"ImagePullBackOff", "The download failed; vmctld tries again."},
    {"Preparing", "The local image is being checked; disk, keys and seed are being created."},
    {"Waiting", "The VM waits for the VMs it depends on."},
    {"Starting", "QEMU is being started."},
    {"Stopped", "The VM is off."},
    {"Booting", "The guest does not answer yet."},
    {"SettingUp", "cloud-init has not ended in the guest yet."},
    {"Provisioning", "The provision steps are running."},
    {"Retrying", "A provision step was interrupted; it resumes or runs again."},
    {"NotReady", "The VM runs, but its ready probes do not pass."},
    {"Ready", "The guest answers, is provisioned, and its probes pass."},
    {"ProvisionFailed", "A provision step failed."},
    {"CloudInitFailed", "cloud-init ended with errors in the guest; see on-error."},
    {"MountFailed", "A volume cannot be mounted in the guest, or unmounted."},
    {"SecretMissing",
        "A provision step waits for a secret of the command's host: run vmctl up there."},
    {"ShareFailed", "A shared folder cannot be mounted in the guest."},
    {"ShareLost", "The server of a shared folder ended, and the policy does not restart the VM."},
    {"TpmLost", "The emulator of its TPM ended, and the policy does not restart the VM."},
    {"ForwardFailed", "A forward over SSH could not be set up; see port."},
    {"NetworkLost", "The switch of its project network ended and is being restarted."},
    {"AuthFailed", "The guest refuses the keys."},
    {"HostKeyMismatch", "The guest's host key is not the one vmctl gave it."},
    {"SSHTimeout", "The guest did not answer in time."},
    {"SSHPortClosed", "The guest has booted, and nothing listens on its port 22."},
    {"Unknown", "QEMU does not answer."},
    {"Stopping", "It is being shut down."},
    {"Suspending", "Its virtual CPUs are being stopped."},
    {"Suspended", "Its virtual CPUs are stopped, as requested."},
    {"Saving", "Its memory is being written to disk."},
    {"Resuming", "Its virtual CPUs are being resumed, or its memory is being loaded."},
    {"Paused", "Another program stopped its virtual CPUs."},
    {"Migrated", "Its memory was sent away over qmp.sock, so it may run elsewhere; vmctld leaves "
                 "it alone until stop or restart."},
    {"Terminating", "It is being removed."},
    {"Invalid", "Its settings cannot be applied."},
    {"NotAccepted", "Its node does not take such a VM from the fleet: a path of the host, say."},
    {"ImageNotFound", "There is no such image."},
    {"ChecksumMismatch", "The image does not match its sha256."},
    {"DecompressFailed", "The image is damaged."},
    {"ImageInvalid", "The file is not a disk image that vmctl can use."},
    {"BackingImageChanged", "The local image under the disk was changed."},
    {"NoSpace", "The file system is full."},
    {"OverlayFailed", "The disk could not be created."},
    {"SeedFailed", "The seed could not be created."},
    {"DiskShrinkForbidden", "The disk is larger than requested, and can only grow."},
    {"KeygenFailed", "A key pair could not be created."},
    {"KeyUnreadable", "A key cannot be read."},
    {"SpawnFailed", "QEMU could not be started."},
    {"SavedMemoryFailed",
        "Its memory could not be saved to disk, or does not fit its disk or this host."},
    {"PortConflict", "A port that it forwards is in use on this host."},
    {"VolumeInUse", "Another VM is using a volume of this VM."},
    {"KvmUnavailable", "The VM requires KVM, which does not work on this host."},
    {"BackendUnavailable", "This host does not have the backend, or a part of QEMU."},
    {"QmpTimeout", "QEMU did not answer after it was started."},
    {"ProcessExited", "QEMU exited; the restart policy starts it again."},
    {"OOMKilled", "The kernel killed QEMU: the VM needed more than its memory-limit, or the host's "
                  "memory was used up."},
    {"LivenessFailed", "Its live probes failed; it is being restarted."},
    {"HostRebooted", "The host went down while it ran."},
    {"CrashLoopBackOff", "It failed several times in a row; vmctld waits before the next try."},
    {"Panicked", "The kernel of the guest has panicked."},
    {"IOError", "Its disk cannot be read or written."},
    {"InternalError", "QEMU reported an internal error."},
    {"Internal", "An internal error of vmctl; see status."},
    {"Damaged", "Its record cannot be read; see doctor."},
    {"Orphaned", "The VM has a status, but no record of its desired state."},
    {"Deleted", "The VM was removed (get -w)."},
};

/* Whether the word is its name, or the end of it: "ssh::auth_failed", "auth_failed". */
static bool is_meant(enum error_code code, const char *word)
{
    cleanup_free char *end = mem_printf("::%s", word);
    const char *name = error_code_name(code);
    return meanings[code] && (text_eq(name, word) || text_ends_with(name, end));
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

static void explain_state(const struct cli *cli, size_t i, json_t *array)
{
    if (array) {
        json_t *json = json_object();
        json_put_text(json, "state", states[i].word);
        json_put_text(json, "meaning", states[i].meaning);
        (void)json_array_append_new(array, json);
    } else if (cli->output == OUTPUT_NAME) {
        puts(states[i].word);
    } else {
        printf("%s\n  %s\n", states[i].word, states[i].meaning);
    }
}

/* Returns how many there are. A name that is whole means no other that ends so. */
static size_t explain_codes(const struct cli *cli, const char *word, json_t *array)
{
    enum error_code whole = error_code_find(word);
    size_t n = 0;
    for (int i = ERR_NONE + 1; i < ERR_CODE_COUNT_; i++) {
        enum error_code code = (enum error_code)i;
        if (whole != ERR_NONE ? code == whole && meanings[code] : is_meant(code, word)) {
            explain(cli, code, array);
            n++;
        }
    }
    return n;
}

static int explain_word(const struct cli *cli, const char *word, json_t *array, struct error *err)
{
    size_t n = explain_codes(cli, word, array);
    bool is_all = text_eq(word, "states");
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (is_all || strcasecmp(states[i].word, word) == 0) {
            explain_state(cli, i, array);
            n++;
        }
    }
    if (n == 0) {
        (void)error_set(err, ERR_USAGE, "there is no error or state '%s'", word);
        return error_help(err, "list them: vmctl explain; vmctl explain states");
    }
    return 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    cleanup_json json_t *array = output_is_data(cli) ? json_array() : NULL;
    for (size_t i = 0; i < words->count; i++) {
        if (explain_word(cli, words->items[i], array, err) < 0) {
            return -(int)err->code;
        }
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
    .summary = "Explain an error by its code, or a state of a VM",
    .usage = "[OPTIONS] [CODE|STATE...]",
    .details =
        "CODE is what an error shows in brackets, or its end, which several may have. STATE is a\n"
        "word that `list` shows; states: all of them. Without a word: all errors.",
    .examples = "  vmctl explain vmctl::ssh::auth_failed\n"
                "  vmctl explain auth_failed\n"
                "  vmctl explain AuthFailed",
    .needs_no_store = true,
    .run = run,
};
