/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The spec of one VM: `up` writes it, the controller brings the VM in line with it.
 * Pure data with all defaults filled in and all paths absolute. specs/VMFILE.md describes the
 * fields; spec_diff.h defines what a change of each needs (nothing, a restart, a new disk).
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/digest.h"
#include "specs/base/enum_names.h"
#include "specs/base/json.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"

struct buf;
struct error;
struct fields;

enum backend_kind { BACKEND_QEMU, BACKEND_PROPOLIS, BACKEND_NOOP, BACKEND_COUNT_ };
/* A guest's processor. ARCH_HOST: as the host's, whichever that is. */
enum arch { ARCH_HOST, ARCH_X86_64, ARCH_AARCH64, ARCH_RISCV64, ARCH_COUNT_ };
enum image_kind { IMAGE_FILE, IMAGE_URL, IMAGE_NAME, IMAGE_KIND_COUNT_ };
enum network_mode {
    NETWORK_USER,
    NETWORK_PROJECT,
    NETWORK_TAP,
    NETWORK_VNIC,
    NETWORK_NONE,
    NETWORK_MODE_COUNT_
};
enum forward_protocol { FORWARD_TCP, FORWARD_UDP, FORWARD_PROTOCOL_COUNT_ };
enum socket_direction { SOCKET_TO_GUEST, SOCKET_TO_HOST, SOCKET_DIRECTION_COUNT_ };
enum accel_mode { ACCEL_AUTO, ACCEL_KVM, ACCEL_TCG, ACCEL_COUNT_ };
/* "uefi-secure": it starts only what is signed. */
enum firmware { FIRMWARE_BIOS, FIRMWARE_UEFI, FIRMWARE_UEFI_SECURE, FIRMWARE_COUNT_ };
enum seed_bus { SEED_SCSI, SEED_VIRTIO, SEED_IDE, SEED_BUS_COUNT_ };
enum setup_policy { SETUP_FAIL, SETUP_WARN, SETUP_POLICY_COUNT_ };
/* Whether a VM that ran when the host went down is started when the host is up again. */
enum autostart { AUTOSTART_ON, AUTOSTART_OFF, AUTOSTART_COUNT_ };
/* What the first disk is made of: the image, or a clone of a template of it that ran the first
 * steps (specs/vm/template.h). */
/* What a new disk is a clone of: of a template's disk; or also of its memory, if that can be, or
 * must be. */
enum warm { WARM_NEVER, WARM_DISK, WARM_AUTO, WARM_REQUIRE, WARM_COUNT_ };
enum restart_policy { RESTART_ON_FAILURE, RESTART_ALWAYS, RESTART_NEVER, RESTART_COUNT_ };
enum step_kind { STEP_INLINE, STEP_SCRIPT, STEP_FILE, STEP_KIND_COUNT_ };
enum step_run { RUN_ALWAYS, RUN_ONCE, RUN_ON_CHANGE, RUN_COUNT_ };
enum secret_source { SECRET_FROM_ENV, SECRET_FROM_FILE, SECRET_FROM_COMMAND, SECRET_SOURCE_COUNT_ };
enum probe_kind { PROBE_TCP, PROBE_HTTP, PROBE_EXEC, PROBE_KIND_COUNT_ };

/* A file of the host that the spec names. The digest is of its bytes when the spec was applied:
 * "" until then, and for files too large to read at that moment (see STEP_FILE in VMFILE.md). */
struct spec_file {
    char *path; /* absolute; NULL: not given */
    char digest[DIGEST_SIZE];
};

struct spec_image {
    enum image_kind kind;
    char *location;  /* absolute path, URL, or name (specs/vmfile/image_names.h) */
    enum arch arch;  /* what it is made for, and its VM is */
    char *sha256;    /* digest that the bytes must have; NULL: not given */
    bool is_of_disk; /* found to have the bytes of the disk's base (impact.h); never recorded */
};

struct spec_forward {
    enum forward_protocol protocol;
    uint16_t host_port;
    uint16_t guest_port;
    char address[INET_ADDRSTRLEN]; /* of the host, that it listens on; "": 127.0.0.1 */
};

/* A unix socket of the host and one of the guest: connections to the one lead to the other, over
 * SSH. */
struct spec_socket {
    char *host, *guest; /* absolute paths */
    enum socket_direction direction;
};

/* A TCP and UDP port of the host that a guest on network "user" or "project" may reach. */
struct spec_service {
    uint16_t port;
};

/* A disk that is not the VM's own: a qcow2 in the data directory, which outlives every VM and is
 * one VM's at a time. */
struct spec_volume {
    char *name;
    uint32_t size_gib; /* grows only; 0: as it is, VOLUME_DEFAULT_GIB of one that is made */
    char *mount;       /* where its file system is mounted in the guest; NULL: nowhere */
};

/* A further disk of the VM: one that is empty at every start, or a file that is only read. */
struct spec_disk {
    char *name;        /* as that of a volume */
    uint32_t size_gib; /* of one that is empty at every start; 0: it is a file */
    char *file;        /* absolute; a raw image, which VMs may share; NULL: none */
};

/* A directory of the host that the guest sees; the user of the controller is its owner there. */
struct spec_share {
    char *host;  /* absolute */
    char *guest; /* where it is mounted */
    char *tag;   /* the device's name in the guest */
    bool is_readonly;
};

/* The screen on a TCP port of 127.0.0.1, beside its socket in the VM's directory. */
struct spec_vnc {
    uint16_t port;       /* 0: none */
    char *password_file; /* absolute; read at each start */
};

/* `label`: what selectors find the VM by (specs/vm/selector.h). */
struct spec_label {
    char *key, *value; /* the value may be "" */
};

/* Of the environment of a step; its name is one of a shell's variables. */
struct spec_variable {
    char *name, *value;
};

/* A variable of the environment of a step whose value is nowhere but in memory: where it is got
 * from. */
struct spec_secret {
    char *name;
    enum secret_source source;
    char *from; /* a variable of the command's environment, an absolute path, a shell's command */
};

struct spec_step {
    enum step_kind kind;
    char *command;         /* STEP_INLINE */
    struct spec_file file; /* STEP_SCRIPT, STEP_FILE: what to upload */
    char *destination;     /* STEP_FILE: absolute path in the guest */
    enum step_run run;
    uint32_t timeout_s;        /* 0: no limit */
    bool is_per_vm;            /* no template runs it, nor those behind it */
    struct spec_variable *env; /* not of STEP_FILE */
    size_t n_env;
    struct spec_secret *secrets; /* likewise; such a step is_per_vm */
    size_t n_secrets;
};

struct spec_probe {
    enum probe_kind kind;
    uint16_t port; /* PROBE_TCP, PROBE_HTTP: of the guest */
    char *text;    /* PROBE_HTTP: path; PROBE_EXEC: command */
};

/* Probes that are tried together at every period; the check passes when each of them does. The
 * terms are kubelet's (periodSeconds, timeoutSeconds, failureThreshold). */
struct spec_check {
    struct spec_probe *probes;
    size_t n_probes;         /* 0: nothing is checked */
    uint32_t period_s;       /* between two tries */
    uint32_t timeout_s;      /* of one probe */
    uint32_t failures;       /* in a row that make the check fail */
    uint32_t start_period_s; /* `live`: failures so soon after the start do not count */
};

enum check_kind { CHECK_READY, CHECK_LIVE, CHECK_KIND_COUNT_ };

struct spec_network {
    enum network_mode mode;
    char *bridge; /* NETWORK_TAP */
    char *vnic;   /* NETWORK_VNIC */
    /* The guest's. NETWORK_VNIC; NULL: the one its zone is configured with. NETWORK_PROJECT; NULL:
     * one that is free. */
    char *address;
    char *mac; /* lower-case; NULL: one that follows from the VM's uid */
    struct spec_forward *forwards;
    size_t n_forwards;
    struct spec_socket *sockets;
    size_t n_sockets;
    bool is_auto; /* `forward "auto"`: the ports that the guest listens on */
    struct spec_service *services;
    size_t n_services;
    /* NETWORK_PROJECT: */
    char *project; /* the guest is NAME.PROJECT.internal */
    char *network; /* "shop-3f2ad08b", and ".lan" for `name="lan"`: one for each VMFile's folder */
    char *range; /* "10.20.30.0/24": where its VMs' addresses are; NULL: it follows from its name */
    bool is_isolated; /* no way out of it */
    char **egress;    /* the only ways out: "10.0.0.0/8", "10.1.2.3", "example.org"; none: all */
    size_t n_egress;
};

struct spec_cloud_init {
    bool is_set; /* the VMFile has the block */
    char *hostname;
    struct spec_file ssh_key; /* public key file */
    struct spec_file user_data;
    bool is_joined; /* the guest gets vmctl's user-data, too; only with a path in `user_data` */
    struct spec_file *further_user_data; /* more of them, with `is_joined` only */
    size_t n_further_user_data;
    struct spec_file vendor_data;    /* as user-data, which counts before it */
    struct spec_file network_config; /* of cloud-init, version 1 or 2 */
    enum seed_bus bus;
    enum setup_policy on_error; /* what errors of the guest's cloud-init mean for the VM */
};

struct spec_ssh {
    bool is_set;
    char *user;
    char *private_key;  /* absolute path, or NULL */
    uint32_t timeout_s; /* what the guest may take to answer; 0: SPEC_DEFAULT_SSH_TIMEOUT_S */
};

/* What all its disks may move in a second, together; 0: no limit. */
struct spec_io_limit {
    uint32_t read_kib, write_kib;
    uint32_t iops; /* reads and writes */
};

struct vm_spec {
    char *name;
    enum backend_kind backend;
    struct spec_image image;
    uint32_t vcpus;
    uint32_t memory_mib;
    uint32_t max_vcpus;        /* headroom to add CPUs while it runs; 0: none */
    uint32_t max_memory_mib;   /* the same for memory */
    uint32_t cpu_limit_milli;  /* thousandths of a CPU that its processes may use; 0: no limit */
    uint32_t memory_limit_mib; /* what its processes may use; 0: no limit */
    uint32_t disk_gib;         /* 0: as large as the image */
    struct spec_io_limit io_limit;
    struct spec_volume *volumes;
    size_t n_volumes;
    struct spec_disk *disks; /* without the first */
    size_t n_disks;
    struct spec_share *shares;
    size_t n_shares;
    struct spec_network network; /* the first: the default route, SSH and forwards are its */
    struct spec_network *further_networks; /* have no forwards */
    size_t n_further_networks;
    struct spec_vnc vnc;
    struct spec_cloud_init cloud_init;
    struct spec_ssh ssh;
    struct spec_step *steps;
    size_t n_steps;
    /* `ready`: the VM is Ready only while these pass; `live`: it is restarted when these fail. */
    struct spec_check checks[CHECK_KIND_COUNT_];
    char **depends_on;
    size_t n_depends_on;
    struct spec_label *labels; /* of different keys */
    size_t n_labels;
    bool is_protected; /* while set, nothing removes its disk */

    char *propolis_server; /* BACKEND_PROPOLIS: "HOST:PORT"; NULL: its zone's own address */

    enum accel_mode accel;
    char *machine; /* QEMU's machine type; NULL: the one the VM was first started with */
    enum firmware firmware;
    bool has_tpm; /* it has its own TPM 2.0 */
    enum restart_policy restart;
    enum autostart autostart;
    enum warm warm;
    uint32_t stop_timeout_s;
};

/* The members and their JSON keys (fields.h). Strict: what cannot be represented is an error. */
extern const struct fields vm_spec_fields, spec_volume_fields;
extern const struct fields spec_network_fields;
/* Of a network: */
extern const struct fields spec_forward_fields, spec_socket_fields, spec_service_fields;

enum {
    SPEC_DEFAULT_VCPUS = 1,
    SPEC_DEFAULT_MEMORY_MIB = 1024,
    SPEC_DEFAULT_STOP_TIMEOUT_S = 30,
    SPEC_DEFAULT_SSH_TIMEOUT_S = 120, /* the book: waits up to 120 seconds for SSH */
    SPEC_DEFAULT_PERIOD_S = 10,
    SPEC_DEFAULT_PROBE_TIMEOUT_S = 5,
    SPEC_DEFAULT_FAILURES = 3,
    SPEC_DEFAULT_START_PERIOD_S = 120,
    SPEC_VNC_PORT_FIRST = 5900,
    SPEC_NAME_MAX = VM_NAME_MAX,
    VOLUME_DEFAULT_GIB = 10,
    VOLUME_NAME_MAX = 20,  /* virtio's longest serial number, VIRTIO_BLK_ID_BYTES */
    DISKS_MAX = 8,         /* of one VM, without the first and the volumes */
    VOLUMES_MAX = 8,       /* of one VM: its root ports, with those for later, are 12 of 16 */
    SHARES_MAX = 8,        /* of one VM: the functions of a PCI device */
    SOCKETS_MAX = 16,      /* of one VM */
    SOCKET_PATH_MAX = 107, /* sun_path, unix(7) */
    LABELS_MAX = 64,       /* of one VM */
    NETWORKS_MAX = 8,      /* of one VM: the first, and the functions of a PCI device but one */
    SHARE_TAG_MAX = 31,    /* 9p's longest, MAX_TAG_LEN */
    USER_DATA_MAX = 16,    /* of one VM */
    SECRETS_MAX = 16,      /* of one step, … */
    /* … and they become one variable of an environment. */
    SECRETS_MAX_BYTES = 64 << 10,
};
#define SPEC_DEFAULT_USER "vm"
#define SPEC_DEFAULT_BRIDGE "br0"

/* A spec with every default in place and no image; `name` is copied. vm_spec_free() it. */
struct vm_spec *vm_spec_new(const char *name);
void vm_spec_free(struct vm_spec *spec);                  /* NULL is fine */
struct vm_spec *vm_spec_copy(const struct vm_spec *spec); /* NULL gives NULL */
/* Takes out what only one VM can have, and another VM of these settings must not: its MAC
 * addresses, its addresses on the project's networks, its sockets, and that it is protected. */
void vm_spec_leave_identity(struct vm_spec *spec);
bool vm_spec_equal(const struct vm_spec *a, const struct vm_spec *b); /* NULL equals only NULL */

/* Of the names of VMs and networks: none of them means anything on a command line. */
#define SPEC_NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

/* Letters, digits, '.', '_' and '-', starting with a letter or digit, at most SPEC_NAME_MAX: safe
 * as a directory name, a host name label and on a command line. The store's names may have a
 * project besides: vm_name_is_valid(). */
bool vm_spec_name_is_valid(const char *name);

/* As that of a VM, which may have slashes: "example.org/tier"; and as that of a VM, or "". */
bool label_key_is_valid(const char *key);
bool label_value_is_valid(const char *value);

/* A letter or '_', then letters, digits and '_'; moderate in length. */
bool step_variable_is_valid(const char *name);

/* "env:TOKEN", "command:pass show x": what a secret is kept under until the step begins. free() it.
 */
char *spec_secret_key(const struct spec_secret *secret);

/* Takes the last line end off what a file or a program gave as the secret's value. What makes it
 * useless, "it is empty"; NULL: nothing. Borrowed. */
const char *spec_secret_problem(const struct spec_secret *secret, struct buf *value);

/* As that of a VM, with or without a project, and without it of VOLUME_NAME_MAX bytes at most:
 * vm_name_flat() of it names a directory, vm_name_plain() is the serial number. */
bool volume_name_is_valid(const char *name);
/* An absolute path of a directory in the guest that is not its root, without "." and ".." and
 * control characters. */
bool mount_point_is_valid(const char *path);
/* As that of a VM, of SHARE_TAG_MAX bytes at most. */
bool share_tag_is_valid(const char *tag);
/* The tag of a share that is given none, by its mount point: "srv-www". free() it. */
char *share_default_tag(const char *guest);
/* Its value; NULL: the VM has no label of that key. Borrowed. */
const char *vm_spec_label(const struct vm_spec *spec, const char *key);
/* Whether the guest gets vmctl's user, keys and host key: there is a seed, and no user-data of the
 * user's own takes the place of ours. */
bool vm_spec_has_our_seed(const struct vm_spec *spec);
/* The least `memory-limit` with which a machine of this memory can run. */
uint32_t spec_least_memory_limit_mib(uint32_t memory_mib);
/* NULL: the spec has no volume of that name. Borrowed. */
const struct spec_volume *vm_spec_volume(const struct vm_spec *spec, const char *name);
/* Likewise of the further disks. */
const struct spec_disk *vm_spec_disk(const struct vm_spec *spec, const char *name);
/* "volume/data": the lease that makes a volume one VM's. free() it. */
char *volume_lease_key(const char *name);
/* "~3f2ad08b11c5": the name of a VM that is to become a template, which no user can give. */
bool vm_spec_name_is_of_template(const char *name);

/* The private key beside the public one of `ssh-key`: its path without ".pub". NULL: none. free()
 * it. */
char *vm_spec_key_beside(const struct vm_spec *spec);

/* As uname(2) has it: "aarch64". Static. */
const char *arch_machine(enum arch arch);
bool arch_is_foreign(enum arch arch);
/* Of an image in a registry, which may have one for each processor under one name: the foreign
 * processor that it is for, as arch_machine(); NULL: the host's, or the location has one image.
 * Static. */
const char *spec_image_foreign_machine(const struct spec_image *image);
/* The key of the image table's record of what a URL or a name gave. free() it. */
char *spec_image_record_key(const struct spec_image *image);
bool vm_spec_is_arm(const struct vm_spec *spec);
bool vm_spec_is_riscv(const struct vm_spec *spec);
/* Both have QEMU's machine "virt", and no BIOS. */
bool vm_spec_is_virt(const struct vm_spec *spec);
/* The host's own processor has one name, and one without a BIOS has UEFI. */
void vm_spec_settle_arch(struct vm_spec *spec);

/* The i-th network, from 0; NULL: there are no more. Borrowed. */
const struct spec_network *vm_spec_network(const struct vm_spec *spec, size_t i);
/* The first of that mode; NULL: none. Borrowed. */
const struct spec_network *vm_spec_network_of_mode(
    const struct vm_spec *spec, enum network_mode mode);
/* Whether the two are one network: a machine keeps those that it was started with. NULL is none. */
bool spec_network_is_same(const struct spec_network *a, const struct spec_network *b);
/* Whose name server the guest asks: that of a project network, which knows the names of VMs, before
 * that of the first network. Borrowed. */
const struct spec_network *vm_spec_name_server(const struct vm_spec *spec);

/* Whether ports of this host lead into its guest: `forward`, and SSH's. */
static inline bool network_has_forwards(enum network_mode mode)
{
    return mode == NETWORK_USER || mode == NETWORK_PROJECT;
}

/* Whether the VM is expected to answer on SSH (a network, and a key that can get in). */
bool vm_spec_expects_ssh(const struct vm_spec *spec);

/* How long waiters wait for the guest to answer on SSH. */
uint32_t vm_spec_ssh_timeout_s(const struct vm_spec *spec);

/* It stands on QEMU's command line: six pairs of hexadecimal digits. */
bool mac_address_is_valid(const char *text);
/* Of one machine: neither a group's nor all zero, nor of those that slirp takes (52:55:…). */
bool mac_address_is_unicast(const char *text);
bool forward_equal(const struct spec_forward *a, const struct spec_forward *b);
const char *forward_address(const struct spec_forward *forward); /* "127.0.0.1" */
/* Where this host reaches it: of all its addresses, 127.0.0.1. */
const char *forward_local_address(const struct spec_forward *forward);
bool forward_is_open(const struct spec_forward *forward); /* other hosts reach it, too */
/* "tcp/8080": the lease that makes a host port one VM's, whatever the address. free() it. */
char *forward_lease_key(const struct spec_forward *forward);
/* Takes out the sockets of this host that lead to the guest, which only one VM can have; with `all`
 * those that lead to this host, too. */
void vm_spec_leave_sockets(struct vm_spec *spec, bool all);
/* An absolute path that a socket's address can hold, without control characters. */
bool socket_path_is_valid(const char *path);

/*
 * The spec as JSON (store records, `get -o json`) and back; the caller owns both. Every field is
 * written, defaults too (what has none is left out), so that a record keeps its meaning
 * whichever version of this program reads it. What has no order in a VMFile (forwards, probes,
 * depends_on) is written sorted. Reading ignores unknown keys and gives missing ones their default;
 * a word, number or name that cannot be represented is an error (NULL), because acting on a default
 * in its place could destroy something.
 */
json_t *vm_spec_to_json(const struct vm_spec *spec);
struct vm_spec *vm_spec_read(struct bytes json, struct error *err);

/* Digest of json_canonical(vm_spec_to_json()), `ret_hex` holds DIGEST_SIZE bytes: comments,
 * formatting and the order of nodes do not change it, the digests of the files named do. */
void vm_spec_digest(const struct vm_spec *spec, char *ret_hex);

/* Names of the enums' values as a VMFile, the store and the command line write them ("on-failure").
 */
extern const struct enum_names backend_kind_words;
extern const struct enum_names image_kind_words;
extern const struct enum_names network_mode_words;
extern const struct enum_names forward_protocol_words, socket_direction_words;
extern const struct enum_names arch_words, accel_mode_words;
extern const struct enum_names firmware_words;
extern const struct enum_names seed_bus_words;
extern const struct enum_names setup_policy_words;
extern const struct enum_names autostart_words;
extern const struct enum_names warm_words;
extern const struct enum_names restart_policy_words;
extern const struct enum_names step_kind_words;
extern const struct enum_names step_run_words;
extern const struct enum_names secret_source_words;
extern const struct enum_names probe_kind_words;
extern const struct enum_names check_kind_words;
const char *backend_kind_name(enum backend_kind kind);
const char *network_mode_name(enum network_mode mode);
const char *check_kind_name(enum check_kind kind); /* "ready", "live" */
const char *image_kind_name(enum image_kind kind);
const char *forward_protocol_name(enum forward_protocol protocol);
const char *socket_direction_name(enum socket_direction direction);
