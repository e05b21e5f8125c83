/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A registry's description of an image: manifests and indexes of the OCI Image Specification 1.1,
 * and Docker's, which have the same structure (manifest version 2, schema 2). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/digest.h"

struct error;

#define OCI_QCOW2_LAYER "application/vnd.cloudnebula.qcow2.layer.v1"

/* Value of the Accept header of a request for one. */
extern const char oci_manifest_accept[];

/* What it refers to: an index to the manifest for this machine, a manifest to the disk's layer. */
struct oci_choice {
    bool is_manifest; /* else it is a layer */
    char digest[DIGEST_SIZE];
    char *title; /* name of the file the layer was made from; NULL: unknown */
};

/*
 * `architecture` is Go's name: "amd64", "arm64". Chooses from an index the manifest for linux on
 * it, or its only image; from a manifest the layer of type OCI_QCOW2_LAYER, else one whose title
 * ends in
 * ".qcow2", packed or not, else an "application/octet-stream". -ERR_IMAGE_FORMAT: there is none, or
 * the document is not a manifest. free() ret->title.
 */
int oci_manifest_choose(const char *bytes, size_t n, const char *architecture,
    struct oci_choice *ret, struct error *err);
