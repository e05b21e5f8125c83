/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Files that go along with a VM of the fleet: scripts, files to upload, cloud-init's files, a
 * public key. In etcd their bytes are the keys fleet_file_key(), outside of what every node reads,
 * and the spec names each by a path that is no host's:
 *
 *   /fleet-file/SHA256/NAME      or SHA256.x of one that may be executed
 *
 * On the VM's node they lie in DATA/fleet/files/ under the same names, and its record has those
 * paths. As the path follows from the content, a spec differs where a file does, and only there.
 */
#pragma once

#include <stdbool.h>

#include "specs/base/digest.h"

struct error;
struct spec_file;
struct vm_spec;

#define FLEET_FILES_ROOT "/fleet-file/"
#define FLEET_FILES_DIR "fleet/files" /* below the data directory */

enum {
    FLEET_FILE_MAX = 256 << 10, /* bytes of one … */
    FLEET_FILES_MAX = 1 << 20,  /* … and of all of one VM: a transaction of etcd takes 1.5 MiB */
};

struct fleet_file {
    char digest[DIGEST_SIZE];
    bool is_executable;
    const char *name; /* borrowed from the path */
};

/* Each file that the spec names. Ends with the first result other than 0, which it returns. */
typedef int fleet_file_fn(void *context, struct spec_file *file, struct error *err);
int fleet_files_each(struct vm_spec *spec, fleet_file_fn *each, void *context, struct error *err);

char *fleet_file_path(const char *digest, bool is_executable, const char *name); /* free() it */
/* False: the path is one of a host. */
bool fleet_file_parse(const char *path, struct fleet_file *ret);

/* Paths of the fleet become those in this data directory, and the other way round. */
void fleet_files_place(struct vm_spec *spec, const char *data_dir);
void fleet_files_unplace(struct vm_spec *spec, const char *data_dir);
