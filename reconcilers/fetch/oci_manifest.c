/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/oci_manifest.h"

#include <stdio.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

const char oci_manifest_accept[] = "application/vnd.oci.image.manifest.v1+json, "
                                   "application/vnd.oci.image.index.v1+json, "
                                   "application/vnd.docker.distribution.manifest.v2+json, "
                                   "application/vnd.docker.distribution.manifest.list.v2+json";

enum { FOUND_TEXT_MAX = 512, TITLE_MAX = 255 };

/* ---- descriptors ---- */

static int take_digest(const json_t *descriptor, char ret_digest[DIGEST_SIZE], struct error *err)
{
    static const char prefix[] = "sha256:";
    const char *digest = json_text(descriptor, "digest");
    const char *digits = digest && text_starts_with(digest, prefix) ? digest + strlen(prefix) : "";
    if (strspn(digits, "0123456789abcdef") != DIGEST_SIZE - 1 || digits[DIGEST_SIZE - 1]) {
        return error_set(
            err, ERR_IMAGE_FORMAT, "the manifest has an entry without a sha256 digest");
    }
    memcpy(ret_digest, digits, DIGEST_SIZE);
    return 0;
}

static const char *title_of(const json_t *layer)
{
    const char *title =
        json_text(json_object_get(layer, "annotations"), "org.opencontainers.image.title");
    return title && strlen(title) <= TITLE_MAX ? title : NULL;
}

/* Appends a server's text, made printable. */
static void add_found(struct buf *out, const char *text)
{
    if (out->len > 0) {
        buf_add_str(out, ", ");
    }
    text_add_printable(out, text ? text : "(none)", text ? strlen(text) : strlen("(none)"));
}

/* ---- manifests ---- */

static bool has_qcow2_type(const json_t *layer)
{
    const char *type = json_text(layer, "mediaType");
    if (!type || !text_starts_with(type, OCI_QCOW2_LAYER)) {
        return false;
    }
    char next = type[strlen(OCI_QCOW2_LAYER)];
    return next == '\0' || next == '+'; /* "+zstd", "+gzip": packed; the layer's bytes show how */
}

static bool has_qcow2_title(const json_t *layer)
{
    const char *title = title_of(layer);
    const char *at = title ? strstr(title, ".qcow2") : NULL;
    return at && (text_eq(at, ".qcow2") || text_starts_with(at, ".qcow2."));
}

static bool is_octet_stream(const json_t *layer)
{
    return text_eq(json_text(layer, "mediaType"), "application/octet-stream");
}

static const json_t *find_layer(const json_t *layers)
{
    static bool (*const tests[])(const json_t *) = {
        has_qcow2_type, has_qcow2_title, is_octet_stream};
    for (size_t t = 0; t < ARRAY_LEN(tests); t++) {
        for (size_t i = 0; i < json_array_size(layers); i++) {
            if (tests[t](json_array_get(layers, i))) {
                return json_array_get(layers, i);
            }
        }
    }
    return NULL;
}

static int choose_layer(const json_t *layers, struct oci_choice *ret, struct error *err)
{
    const json_t *layer = find_layer(layers);
    if (!layer) {
        cleanup_buf struct buf found = BUF_INIT(FOUND_TEXT_MAX);
        for (size_t i = 0; i < json_array_size(layers); i++) {
            add_found(&found, json_text(json_array_get(layers, i), "mediaType"));
        }
        (void)error_set(err, ERR_IMAGE_FORMAT, "it has no layer with a disk image; its layers: %s",
            found.len > 0 ? buf_str(&found) : "none");
        return error_help(err, "push the disk as a layer of type " OCI_QCOW2_LAYER);
    }
    struct oci_choice choice = {.is_manifest = false};
    int rc = take_digest(layer, choice.digest, err);
    if (rc < 0) {
        return rc;
    }
    choice.title = mem_strdup(title_of(layer));
    *ret = choice;
    return 0;
}

/* ---- indexes ---- */

static const char *architecture_of(const json_t *manifest)
{
    return json_text(json_object_get(manifest, "platform"), "architecture");
}

static const json_t *find_manifest(const json_t *manifests, const char *architecture)
{
    const json_t *only = NULL;
    size_t n_images = 0;
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *manifest = json_array_get(manifests, i);
        const char *os = json_text(json_object_get(manifest, "platform"), "os");
        if (text_eq(architecture_of(manifest), architecture) && (!os || text_eq(os, "linux"))) {
            return manifest;
        }
        if (!text_eq(architecture_of(manifest), "unknown")) { /* not an attestation */
            only = manifest;
            n_images++;
        }
    }
    return n_images == 1 ? only : NULL;
}

static int choose_manifest(
    const json_t *manifests, const char *architecture, struct oci_choice *ret, struct error *err)
{
    const json_t *manifest = find_manifest(manifests, architecture);
    if (!manifest) {
        cleanup_buf struct buf found = BUF_INIT(FOUND_TEXT_MAX);
        for (size_t i = 0; i < json_array_size(manifests); i++) {
            add_found(&found, architecture_of(json_array_get(manifests, i)));
        }
        return error_set(err, ERR_IMAGE_FORMAT, "it has no image for linux/%s; it has: %s",
            architecture, found.len > 0 ? buf_str(&found) : "none");
    }
    struct oci_choice choice = {.is_manifest = true};
    int rc = take_digest(manifest, choice.digest, err);
    if (rc < 0) {
        return rc;
    }
    *ret = choice;
    return 0;
}

int oci_manifest_choose(const char *bytes, size_t n, const char *architecture,
    struct oci_choice *ret, struct error *err)
{
    cleanup_json json_t *document = json_loadb(bytes, n, 0, NULL);
    const json_t *manifests = json_object_get(document, "manifests");
    const json_t *layers = json_object_get(document, "layers");
    if (json_is_array(manifests)) {
        return choose_manifest(manifests, architecture, ret, err);
    }
    if (json_is_array(layers)) {
        return choose_layer(layers, ret, err);
    }
    return error_set(err, ERR_IMAGE_FORMAT, "the registry returned no image manifest");
}
