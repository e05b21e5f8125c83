/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Templates: disks on which the first provision steps of a VMFile have run, and which are cloned
 * instead of running them once more; and the memory of the guest that ran them, if it was frozen.
 *
 * A template is made by a builder: a VM called "~" and the first digits of the digest, which boots
 * from the image, runs the steps and is shut down or frozen. It is then sealed:
 * DATA/templates/DIGEST/ is complete or absent, and never changes.
 *
 *   template.json    struct template_record; its modification time is when it was last cloned
 *   disk.qcow2       the builder's disk, on the image
 *   memory           the guest's memory, as it was when the disk was as it is …
 *   machine-state    … and all else of its machine (QEMU's migration stream)
 *   provision.log    console.log of the builder
 *
 * The digest is that of the key, which has all that decides what is on the disk. A key also says
 * what kind of template it is: "disk" has nothing else but the disk; that of "memory" has also what
 * decides how the machine is made. What the memory needs of the host is in the record: on another
 * one the template is still good for its disk.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/digest.h"
#include "specs/vm/vm_status.h"

struct error;
struct paths;
struct vm_spec;

enum { TEMPLATE_DIGITS = 12 }; /* of a digest, that are shown and are enough to name it */

/* How many of the spec's steps a template has run: those before the first `per-vm` one. */
size_t template_steps(const struct vm_spec *spec);
/* What of the spec cannot be frozen, "a `share`"; NULL: nothing. Static. */
const char *template_memory_obstacle(const struct vm_spec *spec);
/* The spec's template has memory: it is asked for, and can be had. */
bool template_has_memory(const struct vm_spec *spec);
/* The spec asks for a template, and there is something that it would save. */
bool template_is_wanted(const struct vm_spec *spec);

/* The key, as canonical JSON; `image_id` as in vm_prepared. free() it. */
char *template_key(const struct vm_spec *spec, const char *image_id);
/* The first difference of two keys, in a few words: "disk 10 -> 20", "step 2". free() it. */
char *template_key_difference(const char *before, const char *after);

/* "~3f2ad08b11c5". */
enum { TEMPLATE_NAME_SIZE = 1 + TEMPLATE_DIGITS + 1 };
void template_builder_name(const char *digest, char ret_name[TEMPLATE_NAME_SIZE]);
/* What builds the template, without any of what belongs to one VM: forwards, keys, probes. Its last
 * step is `forget_identity`, run in a shell. Caller owns. */
struct vm_spec *template_builder_spec(
    const struct vm_spec *spec, const char *digest, const char *forget_identity);

struct template_memory {
    char *host; /* what it needs of a host (machine_ops.memory_host); NULL: there is no memory */
    char *accel;
    bool has_agent; /* the machine has a channel to the guest's agent */
    uint64_t memory_bytes;
    int64_t memory_changed_ns; /* modification time of its file */
    uint64_t state_bytes;
    char state_sha256[DIGEST_SIZE];
};

struct template_record {
    uint32_t format;
    char digest[DIGEST_SIZE];
    char *key;
    char *vm_name;    /* the VM that it was made for first */
    char *image_path; /* what its disk lies on */
    char *image_id;   /* the same as in vm_prepared */
    uint64_t disk_bytes;
    int64_t disk_changed_ns; /* modification time of its disk */
    char disk_sha256[DIGEST_SIZE];
    struct template_memory memory;
    int64_t created_ms;           /* wall */
    int64_t took_ms;              /* from the builder's creation */
    struct vm_step_record *steps; /* as its builder ran them */
    size_t n_steps;
};
enum { TEMPLATE_FORMAT = 1 };
#define TEMPLATE_MEMORY "memory"
#define TEMPLATE_STATE "machine-state"

struct template_record *template_record_new(void);
void template_record_free(struct template_record *record);             /* NULL is fine */
json_t *template_record_to_json(const struct template_record *record); /* caller owns */

/* DATA/templates/DIGEST/FILE; "" for the directory. free() it. */
char *template_path(const struct paths *paths, const char *digest, const char *file);
/* NULL with *err unset: there is none. NULL with an error (ERR_TEMPLATE): it cannot be used,
 * because its record cannot be read, or its disk or memory is not as it was sealed. Caller owns. */
struct template_record *template_find(
    const struct paths *paths, const char *digest, struct error *err);
/* Whether the name is that of a template's directory. */
bool template_digest_is_valid(const char *name);
