/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Resolves oci://registry/repo:tag to a layer that can be downloaded (OCI Distribution
 * Specification 1.1):
 *
 *   GET manifest -> 401? -> GET token (or Basic) -> GET manifest -> an index? -> GET manifest
 *
 * each at most once, each response within a limit and a deadline. A credential helper runs only
 * when the registry responds with 401.
 */
#pragma once

#include "controller/loop/op.h"
#include "specs/base/digest.h"

struct multi;
struct oci_login;
struct oci_reference;
struct proxies;

/* The layer that holds the disk, and the file of an image by name. Zero: none. */
struct oci_layer {
    char *url;                /* of the blob */
    char digest[DIGEST_SIZE]; /* sha256 of its bytes */
    char *title;              /* name of the file it was made from; NULL: unknown */
    char *authorization;      /* value of that header for the URL's host; NULL: none. A secret. */
    /* What the publisher of an image by name says of its bytes: their sha512; `digest` is that of
     * "sha512:…" then. NULL: `digest` is their sha256. */
    char *sha512;
};
void oci_layer_clear(struct oci_layer *layer);
void oci_layer_copy(struct oci_layer *to, const struct oci_layer *from);

/*
 * Of an index, the image for `machine` ("x86_64", as uname(2) has it). `login` is for the registry;
 * it, the reference and the proxies (NULL: none) are copied. `layer` is written before `done`.
 * Errors: -ERR_IMAGE_NOT_FOUND, -ERR_IMAGE_DOWNLOAD, -ERR_IMAGE_FORMAT, -ERR_IMAGE_CHECKSUM (of a
 * manifest).
 */
struct op *oci_find_layer(struct multi *multi, const struct oci_reference *reference,
    const char *machine, const struct oci_login *login, const struct proxies *proxies,
    struct oci_layer *layer, op_done_fn *done, void *context);
