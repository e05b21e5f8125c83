/* SPDX-License-Identifier: MPL-2.0 */
/*
 * oci://REGISTRY[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST] as text, after the OCI Distribution
 * Specification 1.1 ("Pulling manifests" has the grammar of names and tags). Pure.
 */
#pragma once

#include <stdbool.h>

struct error;

struct oci_reference {
    char *registry;   /* as written: "ghcr.io", "127.0.0.1:5000" */
    char *base;       /* "https://ghcr.io", "http://127.0.0.1:5000" */
    char *repository; /* "org/image" */
    char *target;     /* tag, or "sha256:…"; a digest wins over a tag */
};

bool oci_is_reference(const char *url);

/*
 * `insecure` (VMCTL_OCI_INSECURE, may be NULL) lists registries, as HOST or HOST:PORT separated by
 * commas, that are used without TLS; those on this host always are. -ERR_IMAGE_NOT_FOUND:
 * malformed. oci_reference_clear() it.
 */
int oci_reference_parse(
    const char *url, const char *insecure, struct oci_reference *ret, struct error *err);
void oci_reference_clear(struct oci_reference *reference);
