/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Private interface of the VMFile reader (vmfile*.c); other modules include vmfile.h.
 *
 * All nodes have the same form, so one engine reads them all (vmfile_node.c). A node has arguments
 * and fields. A field of one value is written in the node's block (`bridge "br0"`) or as a property
 * (`bridge="br0"`); a field with parts is a node in the block. A field that is not in the node's
 * table is an error. Readers report an error and continue: there is no error path.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/kdl/kdl.h"
#include "specs/kdl/kdl_arena.h"
#include "specs/vm/vm_spec.h"
#include "specs/vmfile/vmfile.h"

struct buf;
struct error;

enum {
    VMFILE_MAX_BYTES = 1 << 20,
    VMFILE_MAX_NODES = 50000,
    VMFILE_MAX_DEPTH = 16,
    VMFILE_MAX_VMS = 1024,
    VMFILE_MAX_DEPENDS_ON = 64,
    VMFILE_MAX_DIAGNOSTICS = 100,
    VMFILE_MAX_FIELDS = 40,  /* of one node */
    VMFILE_MAX_INCLUDES = 8, /* within each other */
};

/* The fields of a `vm` node, in the order of its table in vmfile_read_vm.c. */
enum vm_field {
    VM_IMAGE,
    VM_IMAGE_URL,
    VM_VCPUS,
    VM_MEMORY,
    VM_MAX_VCPUS,
    VM_MAX_MEMORY,
    VM_CPU_LIMIT,
    VM_MEMORY_LIMIT,
    VM_DISK,
    VM_IO_LIMIT,
    VM_VOLUME,
    VM_SHARE,
    VM_NETWORK,
    VM_VNC,
    VM_CLOUD_INIT,
    VM_SSH,
    VM_PROVISION,
    VM_RESTART,
    VM_FORWARD,
    VM_READY,
    VM_LIVE,
    VM_DEPENDS_ON,
    VM_LABEL,
    VM_PROTECT,
    VM_ARCH,
    VM_ACCEL,
    VM_MACHINE,
    VM_FIRMWARE,
    VM_TPM,
    VM_AUTOSTART,
    VM_WARM,
    VM_STOP_TIMEOUT,
    VM_BACKEND,
    VM_PROPOLIS_SERVER,
    VM_PLACE,
    VM_FIELD_COUNT_
};

/* Of a `network` node; line 0: absent. */
struct vmfile_network {
    struct kdl_pos pos, name, address, mac;
};

/* A VM being read, and the positions of its parts, for checks that need more than one node. */
struct vmfile_vm {
    struct vm_spec *spec; /* first (vmfile_shape.is_indirect); borrowed from vmfile.vms */
    struct kdl_pos pos;   /* of the name */
    struct kdl_pos seen[VM_FIELD_COUNT_]; /* the first of each field; line 0: absent */
    bool is_ambiguous;               /* network or backend is wrong: no conclusions from them */
    struct vmfile_network *networks; /* of each that the spec has, at least one */
    size_t n_networks;               /* `network` nodes */
    struct kdl_pos *forwards;        /* of each element of spec->network.forwards … */
    struct kdl_pos *sockets;         /* … and .sockets */
    struct kdl_pos over_ssh;         /* the first forward made over SSH; line 0: none */
    struct kdl_pos disk;             /* the first further disk; line 0: none */
    struct kdl_pos *volumes;         /* … of spec->volumes: its mount, or it */
    struct kdl_pos *shares;          /* … of spec->shares */
    struct kdl_pos *probes[CHECK_KIND_COUNT_]; /* … of spec->checks[].probes */
    struct kdl_pos *depends_on;
};

struct vmfile_reader {
    const struct vmfile_env *env;
    struct vmfile *file;   /* what is being made */
    struct vmfile_vm *vms; /* file->n_vms of them */
    void *by_name;         /* of the first VM of each name; tsearch(3), while the file is checked */
    bool is_image_meant;   /* a node of the VM that is being read looks like one that names it */
    const char *place;     /* the node of that VM, borrowed; NULL: this host */
    struct kdl_pos *unresolved; /* values whose variables are not known: see vmfile_expand.c */
    size_t n_unresolved;
    bool *given_used; /* of env->given */
};

/* --- vmfile_diagnostic.c --- */

/* Adds a diagnostic; `hint` is copied, NULL for none. The message becomes one printable line of
 * bounded length, whatever the file put into it. Beyond VMFILE_MAX_DIAGNOSTICS nothing is added,
 * nor about an unresolved value, nor twice what a text that is used for several VMs has wrong. */
void vmfile_report(struct vmfile_reader *reader, struct kdl_pos pos, const char *hint,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

void vmfile_report_syntax(struct vmfile_reader *reader, const struct kdl_error *error);

/* As vmfile_report(); the hint is "did you mean `…`?" if a candidate is like `word`. */
void vmfile_report_unknown(struct vmfile_reader *reader, struct kdl_pos pos, const char *word,
    const char *const *candidates, size_t count, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/* Sorts the diagnostics by position. */
void vmfile_sort_diagnostics(struct vmfile *file);

/* --- vmfile_include.c --- */

/* The nodes of a VMFile, with those of the files that it includes in their places, and with what
 * its overrides say. */
struct vmfile_documents {
    struct kdl_document whole; /* borrows from the others */
    struct kdl_document **items;
    size_t count;
    struct kdl_arena memory;
};

/* Reads the VMFile, what it includes, and its overrides; reports what cannot be read.
 * vmfile_documents_clear() it.
 */
void vmfile_documents_read(
    struct vmfile_reader *reader, const char *text, size_t size, struct vmfile_documents *ret);
void vmfile_documents_clear(struct vmfile_documents *documents);

/* Where relative paths start that are written there. Borrowed. */
const char *vmfile_base_dir(const struct vmfile_reader *reader, struct kdl_pos pos);

/* Relative paths that come from another directory become absolute, those of files that go along
 * with a part their names in it: for who prints the nodes. */
void vmfile_fix_paths(
    const struct vmfile_reader *reader, struct kdl_arena *memory, struct kdl_node *node);

/* --- vmfile_override.c --- */

/* The nodes from `n_before` on are those of an override: each becomes a part of the node that it
 * means, a `vm` of the same name, or stays a node of its own. */
void vmfile_take_override(struct vmfile_documents *documents, size_t n_before);

/* Whether the node has the field, as a property or in its block; `image` and `image-url` are one.
 */
bool vmfile_has_field(const struct kdl_node *node, const char *name);

/* --- vmfile_node.c --- */

/* A value to be read, and the name of its field, for messages. */
struct vmfile_field {
    const char *name;
    const struct kdl_value *value;
};

enum vmfile_kind {
    VMFILE_BY_FUNCTION,
    VMFILE_INTEGER, /* uint32_t from `min` to `max` */
    VMFILE_MIB,     /* uint32_t up to `max` */
    VMFILE_GIB,
    VMFILE_SECONDS, /* uint32_t from `min` (0 or 1) to `max` */
    VMFILE_PORT,    /* uint16_t */
    VMFILE_FLAG,    /* bool */
    VMFILE_WORD,    /* an enum, by `words` */
    VMFILE_PATH,    /* char *, absolute */
    VMFILE_TEXT,    /* char * */
    VMFILE_NAME,    /* char *, checked by `is_valid` */
};

/* As those of guest_text.h. */
typedef int vmfile_content_check(const char *bytes, size_t n, struct error *err);

struct vmfile_rule {
    const char *name;
    const char *usage; /* an example, shown when the form is wrong */
    bool is_list;      /* may occur more than once */
    bool is_whole;     /* the same, but a layer with some replaces those of the layers below */
    /* A plain value: its kind, and the member of the target that receives it. */
    enum vmfile_kind kind;
    size_t offset;
    uint32_t min, max;
    const struct enum_names *words;
    bool (*is_valid)(const char *name);
    const char *problem;         /* of a name: "is not a valid host name:" */
    const char *hint;            /* for that; may be NULL */
    vmfile_content_check *check; /* of a path; may be NULL */
    /* VMFILE_BY_FUNCTION: one of the two. `target` is what vmfile_read_node() was given. */
    void (*read_value)(
        struct vmfile_reader *reader, const struct vmfile_field *field, void *target);
    void (*read_node)(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
    /* Another form of the node, which has properties or a block, and may repeat; NULL: none. */
    void (*read_form)(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
};

struct vmfile_shape {
    const char *usage;
    size_t min_arguments;
    size_t max_arguments;
    const struct vmfile_rule *rules; /* NULL: no properties, no block */
    size_t n_rules;
    bool is_indirect; /* the target begins with a pointer to the struct that has the members */
};

/*
 * Reads a node by its shape: reports what does not belong, reads every field by its rule and sets
 * `seen` (n_rules of them, zeroed by the caller) to the position of each field's first occurrence.
 * Arguments are only counted: the caller reads them by vmfile_argument().
 */
void vmfile_read_node(struct vmfile_reader *reader, const struct kdl_node *node,
    const struct vmfile_shape *shape, void *target, struct kdl_pos *seen);

/* The argument as a field called like its node; false when it is missing (and was reported). */
bool vmfile_argument(const struct kdl_node *node, size_t index, struct vmfile_field *ret);

/* --- vmfile_value.c: false (NULL) after a report, `ret` untouched --- */

/* Not empty and without NUL. */
const char *vmfile_text(struct vmfile_reader *reader, const struct vmfile_field *field);

/* Also without control characters: for names, paths and arguments. */
const char *vmfile_line(struct vmfile_reader *reader, const struct vmfile_field *field);

/* The same of a number, too, as it is written, and of a boolean: "true"; and it may be empty. */
const char *vmfile_value_line(struct vmfile_reader *reader, const struct vmfile_field *field);

/* Absolute path of a file that must be readable, and whose content must pass `check`, unless that
 * is NULL. free() it. */
char *vmfile_path(
    struct vmfile_reader *reader, const struct vmfile_field *field, vmfile_content_check *check);
/* The same of a path where nothing need be. */
char *vmfile_future_path(struct vmfile_reader *reader, const struct vmfile_field *field);
/* The same of a directory. */
char *vmfile_directory(struct vmfile_reader *reader, const struct vmfile_field *field);

bool vmfile_integer(struct vmfile_reader *reader, const struct vmfile_field *field, uint32_t min,
    uint32_t max, uint32_t *ret);
bool vmfile_port(struct vmfile_reader *reader, const struct vmfile_field *field, uint16_t *ret);
bool vmfile_word(struct vmfile_reader *reader, const struct vmfile_field *field,
    const struct enum_names *words, int *ret);

/* A number of units, or text with a suffix ("512M", "2G", "1T"); `unit` is 'M' or 'G'. */
bool vmfile_size(struct vmfile_reader *reader, const struct vmfile_field *field, char unit,
    uint32_t max, uint32_t *ret);

/* A number of seconds, or text such as "90s", "5m", "2h". */
bool vmfile_seconds(
    struct vmfile_reader *reader, const struct vmfile_field *field, uint32_t max, uint32_t *ret);

/* --- vmfile_variable.c --- */

#define VMFILE_VARIABLE "${{" /* what a use of a variable begins with */

void vmfile_read_variable(struct vmfile_reader *reader, const struct kdl_node *node);

/* Appends a string with the variables in their places, `index` being that of a `vm` with `count`
 * (0: of none). False after a report: the value is unresolved then. */
bool vmfile_add_expanded(
    struct vmfile_reader *reader, const struct kdl_value *value, uint32_t index, struct buf *out);

/* --- vmfile_syntax.c: pure checks of foreign syntaxes --- */

bool vmfile_is_hostname(const char *text);  /* RFC 1123, section 2.1 */
bool vmfile_is_user_name(const char *text); /* useradd(8) */
bool vmfile_is_ifname(const char *text);    /* as the kernel's dev_valid_name() */
bool vmfile_is_server(const char *text);    /* HOST:PORT, [IPv6]:PORT, or without a port */
bool vmfile_is_ip(const char *text);
bool vmfile_is_vnic_name(const char *text); /* dladm(8), "Link names" */
bool vmfile_is_machine(const char *text);   /* "q35", "pc-q35-7.2" */
bool vmfile_looks_like_url(const char *text);
/* NULL when the URL can be fetched, else what is wrong with it. Static text. */
const char *vmfile_url_problem(const char *url);
/* 64 hexadecimal digits with or without "sha256:" in front: lower-case digits, else NULL. */
char *vmfile_parse_sha256(const char *text);

/* --- vmfile_read_*.c: the nodes within `vm`; `target` is a struct vmfile_vm --- */

void vmfile_read_vm(struct vmfile_reader *reader, const struct kdl_node *node);
bool vmfile_vm_field_adds_up(const char *name); /* of a `vm`: that of several layers does */
/* Before the fields of a `vm` are read: if its `image` is one by name, the spec begins with what
 * the catalogue has. */
void vmfile_take_named_image(
    struct vmfile_reader *reader, const struct kdl_node *vm, struct vm_spec *spec);
void vmfile_read_image(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_image_url(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_volume(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_share(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_disk(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_network(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_forward(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_vnc(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_cloud_init(
    struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_ssh(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_provision(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_ready(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_live(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_depends_on(
    struct vmfile_reader *reader, const struct kdl_node *node, void *target);

/* --- vmfile_read_limit.c --- */

#define VMFILE_IO_LIMIT_USAGE "io-limit read=\"100M\" write=\"50M\""
void vmfile_read_cpu_limit(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target);
void vmfile_read_io_limit(struct vmfile_reader *reader, const struct kdl_node *node, void *target);

/* --- vmfile_read_label.c --- */

void vmfile_read_label(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_protect(struct vmfile_reader *reader, const struct kdl_node *node, void *target);
void vmfile_read_tpm(struct vmfile_reader *reader, const struct kdl_node *node, void *target);

/* --- vmfile_read_place.c --- */

#define VMFILE_PLACE "node" /* the field */

/* The node of a `vm` as vmfile_read_vm() takes it, borrowed; NULL: this host, or it is not valid.
 */
const char *vmfile_place_of(const struct kdl_node *vm);
void vmfile_read_place(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target);
/* Leaves it out: for who prints the VM for that node. */
void vmfile_drop_place(struct kdl_arena *memory, struct kdl_node *vm);
/* Whether a file of this host that the field of a VM on another node names goes along with the
 * VMFile, `value` being its path: relative, and of what is small, and no secret. */
bool vmfile_goes_along(const char *field, const char *value);

/* --- vmfile_check.c: what needs more than one node, or more than one VM --- */

void vmfile_check_vm(struct vmfile_reader *reader, const struct vmfile_vm *vm);
void vmfile_check_file(struct vmfile_reader *reader);

/* --- vmfile_check_network.c --- */

/* That its networks go together. */
void vmfile_check_networks(struct vmfile_reader *reader, const struct vmfile_vm *vm);
/* That no two cards of a host have the same addresses, and that those of a project network are of
 * one range; which becomes that of its VMs without one. */
void vmfile_check_addresses(struct vmfile_reader *reader);
