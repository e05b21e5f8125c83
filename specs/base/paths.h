/* SPDX-License-Identifier: MPL-2.0 */
/*
 * All paths of the data directory. The names are those of the original tool's book, so that scripts
 * and users find the files they know:
 *
 *   DATA/                       $XDG_DATA_HOME/vmctl, else ~/.local/share/vmctl; mode 0700
 *     store/                    LMDB: data.mdb lock.mdb
 *     desired.kick status.bell  doorbells (store/bell.h)
 *     controller.lock controller.log
 *     serve.lock serve.sock serve.token    of vmctl-serve (cli/serve/)
 *     owners.lock               see owner_lock.h
 *     secrets.sock secrets.key  controller/secrets.h; reconcilers/vm/secrets.c
 *     images/  images/.part/    cached images <sha256>.qcow2 (0444); downloads under way
 *     volumes/NAME/volume.qcow2 disks that outlive every VM
 *     vms/NAME/                 see enum vm_file; NAME as vm_name_flat() has it, here and below
 *     imports/ID/               see specs/vm/vm_import.h
 *     noop/                     of the backend that tests use
 *     nodes/NAME.json           the last answer of another host, for `list -A`
 *     sent/PROJECT/DIGEST/NAME  files of another host's VMFile, see cli/request/part_files.h
 *     applied/NAME/             scripts as they were applied (specs/vm/applied_files.h)
 *     templates/DIGEST/         see specs/vm/template.h
 *     networks/NETWORK/         see reconcilers/network/switch/port.h
 *     killed/                   see specs/base/control_group.h
 *     trash/                    may be deleted at any time
 *     quarantine/               files without a record; only `vmctl quarantine` removes them
 */
#pragma once

#define PATHS_SECRETS_SOCKET "secrets.sock"
#define PATHS_SWITCH_CONTROL "hub/control" /* in a network's directory */

struct error;

struct paths {
    char *data_dir; /* owned, absolute */
};

enum vm_file {
    VM_DIR, /* the directory itself */
    VM_ALIVE_LOCK,
    VM_OVERLAY,
    VM_SEED,
    VM_NEXT_OVERLAY, /* what takes the place of the two when the VM is recreated */
    VM_NEXT_SEED,
    VM_KEY,
    VM_KEY_PUBLIC,
    VM_HOST_KEY,
    VM_HOST_KEY_PUBLIC,
    VM_HOST_KEY_TRUSTED, /* the guest made it itself, and `vmctl ssh-trust` accepted it */
    VM_KNOWN_HOSTS,
    VM_SSH_CONFIG,      /* reconcilers/vm/ssh_file.c */
    VM_FORWARD_LOCK,    /* of the ssh(1) that forwards: reconcilers/tunnel/companion.h … */
    VM_FORWARD_CONTROL, /* … where it is asked … */
    VM_FORWARD_LOG,     /* … and what it prints */
    VM_CONSOLE_LOG,
    VM_PROVISION_LOG,
    VM_QEMU_LOG,
    VM_CONTROL_SOCKET, /* ours: QMP serves one client at a time */
    VM_QMP_SOCKET,     /* the user's */
    VM_CONSOLE_SOCKET,
    VM_AGENT_SOCKET,    /* to qemu-guest-agent: specs/vm/agent_protocol.h */
    VM_IDENTITY_SOCKET, /* the second serial port: reconcilers/guest/identity.h */
    VM_MEMORY_FILE,     /* of a template's builder, while it runs … */
    VM_MACHINE_STATE,   /* … and the rest of its machine, once it is frozen */
    VM_SAVED_MEMORY,    /* of a guest that is suspended to disk, and the rest of its machine */
    VM_VNC_SOCKET,
    VM_FIRMWARE_VARS, /* what UEFI firmware keeps, such as boot entries … */
    VM_TPM_DIR,       /* … and what a TPM does: the directory of its emulator, … */
    VM_TPM_STATE,     /* … and the file there that is all of it: reconcilers/backend/qemu/tpm.h */
    VM_GUARD,         /* see reconcilers/backend/qemu/guard.h */
    VM_PIDFILE,
    VM_FILE_COUNT_
};

/* The folders that vmctl creates in the data directory, as above; ended by NULL. data_trust.h
 * checks all of them: through a link elsewhere vmctl would delete files there. */
extern const char *const paths_folders[];

/* `data_dir` from --data-dir; NULL: from the environment. Makes nothing. What was found before is
 * freed. */
void paths_find(struct paths *paths, const char *data_dir);
/* Of a zeroed struct; makes the directory, too. */
int paths_init(struct paths *paths, const char *data_dir, struct error *err);
void paths_clear(struct paths *paths);

/* Fresh strings: free() them. */
char *paths_path(const struct paths *paths, const char *relative);
char *paths_vm(const struct paths *paths, const char *vm_name, enum vm_file file);
/* A file of the VM's directory that is not one of those: "snapshots". free() it. */
char *paths_in_vm(const struct paths *paths, const char *vm_name, const char *relative);
char *paths_image(const struct paths *paths, const char *sha256);

/* $HOME, else the password database's. Borrowed, never NULL. */
const char *paths_home(void);
