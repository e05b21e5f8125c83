/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The one error of the program: what failed on which object, why, and the next command to type.
 *
 * A function that can fail returns 0 or a negative `-ERR_…` and takes a `struct error *err` last.
 * Success never touches `err`; failure sets it exactly once; a caller adds context with
 * error_wrap() at the edge of its layer. The code alone decides the exit status, the word printed
 * (`vmctl::image::not_found`) and the default help line: see the table in error.c.
 */
#pragma once

enum error_code {
    ERR_NONE,
    ERR_IO,
    ERR_USAGE,
    ERR_INTERRUPTED,
    ERR_CANCELLED,
    ERR_TIMEOUT,
    ERR_DIFFERS, /* `diff` found differences: exit status 1, nothing failed */
    /* VMFile */
    ERR_VMFILE_NOT_FOUND,
    ERR_VMFILE_PARSE,
    ERR_VMFILE_INVALID,
    /* VMs */
    ERR_VM_NOT_FOUND,
    ERR_VM_INVALID_STATE,
    ERR_VM_CONFLICT,
    ERR_VM_DELETING,
    ERR_VM_FAILED,
    /* store and controller */
    ERR_STORE,
    ERR_STORE_STALE, /* compare-and-set lost: read again and retry */
    ERR_STORE_VERSION,
    ERR_CONTROLLER,
    ERR_NODE, /* another host: ssh or its vmctl cannot be used */
    /* the store that a fleet's nodes share */
    ERR_FLEET_UNREACHABLE, /* no member of the store that nodes share answers, or none has a leader
                            */
    ERR_FLEET_TLS,
    ERR_FLEET_DENIED,
    ERR_FLEET_VERSION,   /* it is not etcd 3.4 or newer */
    ERR_FLEET_COMPACTED, /* the revision is no longer kept */
    ERR_FLEET_LIMIT,
    ERR_FLEET_FULL, /* it takes no more writes */
    ERR_FLEET_LEASE,
    ERR_FLEET_CONFIG,  /* what this host knows of its fleet cannot be used, or it has none */
    ERR_FLEET_FROZEN,  /* etcd is another one, or is older than what was seen of it */
    ERR_FLEET_NO_NODE, /* none that fits */
    ERR_FLEET_NODE_LOST,
    ERR_FLEET_NAME_TAKEN,
    /* images and disks */
    ERR_IMAGE_NOT_FOUND,
    ERR_IMAGE_DOWNLOAD,
    ERR_IMAGE_CHECKSUM,
    ERR_IMAGE_FORMAT,
    ERR_IMAGE_DECOMPRESS,
    ERR_IMAGE_CHANGED,
    ERR_IMAGE_CONVERSION,
    ERR_OVERLAY,
    ERR_DISK_SHRINK,
    ERR_NO_SPACE,
    ERR_SNAPSHOT_NOT_FOUND,
    ERR_ARCHIVE, /* no export of a VM, or not as it was written */
    ERR_VOLUME_NOT_FOUND,
    ERR_VOLUME_IN_USE, /* by another VM */
    ERR_SHARE,         /* a shared folder cannot be mounted in the guest */
    ERR_MOUNT,
    ERR_FORWARD, /* a socket cannot be forwarded over SSH */
    ERR_TEMPLATE,
    ERR_SAVED_MEMORY,
    ERR_TEMPLATE_NOT_FOUND,
    ERR_IDENTITY, /* a guest that was woken from memory did not become one of its own */
    /* guest seed and keys */
    ERR_SEED,
    ERR_KEYGEN,
    ERR_KEY_UNREADABLE,
    /* QEMU */
    ERR_QEMU_SPAWN,
    ERR_QMP_CONNECT,
    ERR_QMP_COMMAND,
    ERR_KVM_UNAVAILABLE,
    ERR_PORT_TAKEN,
    ERR_BACKEND_UNAVAILABLE,
    ERR_PROPOLIS_UNREACHABLE,
    ERR_IP_TIMEOUT,
    /* SSH and provisioning */
    ERR_SSH,
    ERR_SSH_AUTH,
    ERR_SSH_HOSTKEY,
    ERR_SSH_TIMEOUT,
    ERR_SSH_PORT, /* the guest is up, and nothing listens on its SSH port */
    ERR_AGENT,    /* the agent in the guest does not answer, or refuses */
    ERR_CLOUD_INIT,
    ERR_PROVISION,
    ERR_PROVISION_TIMEOUT,
    ERR_PROVISION_LOST, /* begun, and its result cannot be known */
    ERR_SECRET,         /* a secret of a provision step cannot be had */
    ERR_PROBE,          /* `ready` or `live`: the guest answers, but not as expected */
    ERR_CODE_COUNT_
};

/* A plain value: no allocation, nothing to free, copied by assignment. Zero means "no error". */
struct error {
    enum error_code code;
    int sys_errno;      /* errno of the failed system call, or 0 */
    char message[1024]; /* cut off with "…" when longer */
    char help[384];     /* empty: error_help_text() returns the code's default */
};

/* Sets `err` and returns -code. `err` must be empty. In this and all the others, the secrets of
 * URLs in the text are masked: url_mask(). */
int error_set(struct error *err, enum error_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set(), with ": <strerror>" appended; ENOSPC and EDQUOT turn the code to ERR_NO_SPACE.
 * EFBIG names the limit and sets a help line of its own. */
int error_set_errno(struct error *err, enum error_code code, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* As error_set_errno(), of a process or thread that cannot be started: EAGAIN is then the limit of
 * processes, and is explained. */
int error_set_start(struct error *err, enum error_code code, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "context: " in front of the message; returns -err->code, so it can be returned at once. */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Replaces the help line; returns -err->code. */
int error_help(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Forgets the error, so that `err` can be set again. */
void error_clear(struct error *err);

/* `vmctl::qemu::spawn_failed` for a code. Static text. */
const char *error_code_name(enum error_code code);
/* The code of that name; ERR_NONE: another version's, or NULL. */
enum error_code error_code_find(const char *name);

/* The exit status of specs/VMFILE.md's table: 0…6, 130. */
int error_exit_status(enum error_code code);

/* What to do next: err->help, else the code's default, else "". */
const char *error_help_text(const struct error *err);
