/* SPDX-License-Identifier: MPL-2.0 */
/* What each node decides whether it takes it: any user of etcd may have written a VM's
 * spec. */
#pragma once

#include "specs/base/json.h"

struct vm_spec;

/* Where what a VM is made of may come from. */
enum fleet_source {
    FLEET_SOURCE_URL = 1,   /* images by URL or name, which the node fetches */
    FLEET_SOURCE_CACHE = 2, /* images by URL or name that the node has fetched before */
    FLEET_SOURCE_PATH = 4,  /* images, disks, folders and sockets of the node itself */
};
#define FLEET_SOURCES_DEFAULT "url,cache"

/* Of "url,cache"; NULL: the default. 0: it has another word, or none. */
unsigned fleet_sources_read(const char *words);
/* Of node/N: those that it takes, as `accept` has them. One that does not say takes all. */
unsigned fleet_sources_of_node(const json_t *node);
json_t *fleet_sources_to_json(unsigned sources); /* ["url", "cache"]; caller owns */

/* A path of the VM's host that the spec names: of an image, a disk, a folder, a socket, a file with
 * a password. NULL: none. Borrowed. */
const char *fleet_spec_host_path(const struct vm_spec *spec);
