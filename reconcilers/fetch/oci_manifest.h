/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a registry says of an image: manifests and indexes of the OCI Image Specification 1.1, and
 * Docker's of the same shape (manifest version 2, schema 2). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/digest.h"

struct error;

#define OCI_QCOW2_LAYER "application/vnd.cloudnebula.qcow2.layer.v1"

/* Value of the Accept header of a request for one. */
extern const char oci_manifest_accept[];

/* Where it leads: an index to the manifest for this machine, a manifest to the layer with the disk.
 */
struct oci_choice {
    bool is_manifest; /* else it is a layer */
    char digest[DIGEST_SIZE];
    char *title; /* file name the layer was made from; NULL: not said */
};

/*
 * `architecture` in Go's words: "amd64", "arm64". Of an index the manifest for linux on it, or the
 * only one there is. Of a manifest the layer of type OCI_QCOW2_LAYER; else one whose title ends in
 * ".qcow2", packed or not; else an "application/octet-stream". -ERR_IMAGE_FORMAT: there is none, or
 * it is no manifest. free() ret->title.
 */
int oci_manifest_choose(const char *bytes, size_t n, const char *architecture,
    struct oci_choice *ret, struct error *err);
