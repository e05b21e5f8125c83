/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/fetch/oci_reference.h"
#include "specs/base/url.h"
#include "reconcilers/image/image_file.h"
#include "reconcilers/image/image_stream.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/image/image_check.h"
#include "specs/vmfile/image_names.h"

/* "": the host's, or none. */
static const char *chosen_arch(const struct spec_image *image)
{
    const char *machine = spec_image_foreign_machine(image);
    return machine ? machine : "";
}

void image_work_key(const struct spec_image *image, char ret_key[DIGEST_SIZE])
{
    const char *kind = image_kind_name(image->kind);
    const char *pin = image->sha256 ? image->sha256 : "", *arch = chosen_arch(image);
    cleanup_free char *text =
        mem_printf("%s:%s\n%s%s%s", kind, image->location, pin, arch[0] ? "\n" : "", arch);
    digest_text(text, ret_key);
}

struct image_work *image_work_new(
    const struct paths *paths, const struct spec_image *image, const char *boot_id)
{
    struct image_work *work = mem_new(struct image_work);
    work->paths.data_dir = mem_strdup(paths->data_dir);
    work->image.kind = image->kind;
    work->image.location = mem_strdup(image->location);
    work->image.sha256 = mem_strdup(image->sha256);
    work->image.arch = image->arch;
    work->boot_id = mem_strdup(boot_id);
    image_work_key(image, work->key);
    return work;
}

void image_work_free(struct image_work *work)
{
    if (work) {
        paths_clear(&work->paths);
        free(work->image.location);
        free(work->image.sha256);
        free(work->boot_id);
        free(work->known_etag);
        oci_layer_clear(&work->layer);
        oci_login_clear(&work->login);
        free(work->from);
        free(work->sums);
        image_conversion_clear(&work->conversion);
        part_clear(&work->part);
        image_stream_free(work->stream);
        free(work->path);
        free(work->etag);
        free(work);
    }
}

void image_work_release(void *work)
{
    image_work_free(work);
}

void image_work_discard(const struct paths *paths, const char *key)
{
    cleanup_free char *directory = paths_path(paths, "images/.part");
    struct part part;
    part_init(&part, directory, key, "", "");
    part_discard(&part);
    part_clear(&part);
}

/* ---- what is there already ---- */

void image_link_digest(const struct spec_image *image, char ret_digest[DIGEST_SIZE])
{
    const char *arch = chosen_arch(image);
    cleanup_free char *text = mem_printf("url:%s%s%s", image->location, arch[0] ? "\n" : "", arch);
    digest_text(text, ret_digest);
}

/* The cached image that a request for a URL or a name may use; NULL: none. free() it. */
static char *find_url(const struct paths *paths, const struct spec_image *image)
{
    if (image->sha256) {
        char *by_own_name = paths_image(paths, image->sha256);
        if (fs_exists(by_own_name)) {
            return by_own_name;
        }
        free(by_own_name);
        return image_file_by_source(paths, image->sha256);
    }
    char digest[DIGEST_SIZE];
    image_link_digest(image, digest);
    return image_file_by_source(paths, digest);
}

char *image_find_cached(const struct paths *paths, const struct spec_image *image)
{
    if (image->kind != IMAGE_FILE) {
        return find_url(paths, image);
    }
    char stamp[DIGEST_SIZE];
    bool is_there = file_stamp(image->location, stamp);
    return is_there ? image_file_by_source(paths, stamp) : NULL;
}

bool image_is_in_reach(const struct paths *paths, const struct spec_image *image)
{
    if (image->kind == IMAGE_FILE && compression_of_name(image->location) == COMPRESSION_NONE) {
        struct stat st;
        return user_path_readable(image->location, &st) == 0;
    }
    cleanup_free char *found = image_find_cached(paths, image);
    return found != NULL;
}

static int take_cached(struct image_work *work, char *path_take, struct error *err)
{
    work->path = path_take;
    work->is_cached = true;
    image_file_id(path_take, work->id);
    return image_inspect(path_take, &work->info, err);
}

/* ---- local files, used where they are ---- */

static int verify_local(struct image_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    char found[DIGEST_SIZE];
    if (!work->image.sha256 || text_eq(work->verified_id, work->stamp)) {
        return 0;
    }
    if (work->is_brief) {
        work->next = IMAGE_NEXT_LONG;
        return 0;
    }
    if (digest_file(work->image.location, is_cancelled, found, err) < 0) {
        return -(int)err->code;
    }
    if (!text_eq(found, work->image.sha256)) {
        return image_file_checksum_error(work->image.location, found, work->image.sha256, err);
    }
    return 0;
}

static int use_local(struct image_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    const char *path = work->image.location;
    if (verify_local(work, is_cancelled, err) < 0) {
        return -(int)err->code;
    }
    if (work->next == IMAGE_NEXT_LONG) {
        return 0;
    }
    if (work->info.format == IMAGE_QCOW2 && !work->is_checked && !work->conversion.is_done) {
        work->conversion.from = mem_strdup(path);
        work->next = IMAGE_NEXT_CONVERT;
        return 0;
    }
    image_conversion_clear(&work->conversion);
    work->path = mem_strdup(path);
    memcpy(work->id, work->stamp, sizeof(work->id));
    return 0;
}

/* ---- filling the cache ---- */

static int fill(struct image_work *work, const struct image_source *source,
    const atomic_bool *is_cancelled, struct error *err)
{
    if (work->is_brief) {
        work->next = IMAGE_NEXT_LONG;
        return 0;
    }
    struct image_filing filing = {
        .paths = &work->paths,
        .source = source,
        .conversion = &work->conversion,
        .stream = work->stream ? work->stream : image_stream_new(&work->paths, source),
        .is_cancelled = is_cancelled,
    };
    work->stream = filing.stream;
    int rc = image_file_fill(&filing, err);
    if (rc == 0 && !filing.path) {
        work->next = IMAGE_NEXT_CONVERT;
        return 0;
    }
    return rc < 0 ? rc : take_cached(work, filing.path, err);
}

/* What has to be downloaded: for a registry's image that is not the URL it is known by. */
struct remote {
    const char *url;
    const char *name, *digest, *sha512; /* as in struct image_source */
};

static int file_download(struct image_work *work, const struct image_source *source,
    const atomic_bool *is_cancelled, struct error *err)
{
    int rc = fill(work, source, is_cancelled, err);
    work->etag = mem_strdup(work->part.etag);
    /* Resuming what we have of a damaged image would give a damaged one again. */
    bool is_fault_of_bytes =
        rc == -ERR_IMAGE_CHECKSUM || rc == -ERR_IMAGE_FORMAT || rc == -ERR_IMAGE_DECOMPRESS;
    if (work->path || is_fault_of_bytes) {
        part_discard(&work->part);
    }
    return rc;
}

static int run_remote(struct image_work *work, const struct remote *remote,
    const atomic_bool *is_cancelled, struct error *err)
{
    cleanup_free char *directory = paths_path(&work->paths, "images/.part");
    part_clear(&work->part);
    part_init(&work->part, directory, work->key, remote->url, work->boot_id);
    part_load(&work->part);
    cleanup_free char *title = url_for_people(work->image.location);
    struct image_source source = {
        .path = work->part.path,
        .name = remote->name,
        .title = title,
        .key = work->key,
        .machine = arch_machine(work->image.arch),
        .sha256 = work->image.sha256,
        .digest = remote->digest,
        .sha512 = remote->sha512,
        .is_ours = true,
    };
    image_link_digest(&work->image, source.link);
    if (work->is_downloaded || part_is_complete(&work->part)) {
        return file_download(work, &source, is_cancelled, err);
    }
    work->stream = image_stream_new(&work->paths, &source);
    work->next = IMAGE_NEXT_DOWNLOAD;
    return 0;
}

/* ---- registries, and images by name ---- */

static int find_named(struct image_work *work, struct error *err)
{
    cleanup_with(image_names_clear) struct image_names names = {.count = 0};
    const char *name = work->image.location;
    if (image_names_load(&names, err) < 0) {
        return error_wrap(err, "image '%s'", name);
    }
    const struct named_image *image = image_names_find(&names, name);
    if (!image) {
        error_set(err, ERR_IMAGE_NOT_FOUND, "the catalogue has no image '%s'", name);
        return error_help(
            err, "list its images: vmctl image search; or add it to %s", names.own_path);
    }
    work->image.arch = image->arch;
    work->from = mem_strdup(image->url);
    work->sums = mem_strdup(image->sums);
    work->next = IMAGE_NEXT_LAYER;
    return 0;
}

static int prepare_lookup(struct image_work *work, struct error *err)
{
    if (work->image.kind == IMAGE_NAME) {
        return find_named(work, err);
    }
    cleanup_with(oci_reference_clear) struct oci_reference reference = {0};
    int rc =
        oci_reference_parse(work->image.location, getenv("VMCTL_OCI_INSECURE"), &reference, err);
    if (rc == 0) {
        oci_login_find(reference.registry, &work->login);
        work->next = IMAGE_NEXT_LAYER;
    }
    return rc;
}

/* The layer's bytes are in the cache already, under another tag or name. */
static int take_known_layer(struct image_work *work, char *path_take, struct error *err)
{
    cleanup_free char *path = path_take;
    char link[DIGEST_SIZE];
    const char *pin = work->image.sha256;
    if (pin) { /* the cache was asked for it first: it is neither the layer's nor the image's */
        cleanup_free char *title = url_for_people(work->image.location);
        return image_file_checksum_error(title, work->layer.digest, pin, err);
    }
    image_link_digest(&work->image, link);
    int rc = image_file_link(&work->paths, link, path, err);
    return rc < 0 ? rc : take_cached(work, TAKE_PTR(path), err);
}

static int run_layer(struct image_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    if (!work->layer.url) {
        return prepare_lookup(work, err);
    }
    char *known = image_file_by_source(&work->paths, work->layer.digest);
    if (known) {
        return take_known_layer(work, known, err);
    }
    struct remote remote = {
        .url = work->layer.url,
        .name = work->layer.title ? work->layer.title : "",
        .digest = work->layer.digest,
        .sha512 = work->layer.sha512,
    };
    return run_remote(work, &remote, is_cancelled, err);
}

static int run_file_url(struct image_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    cleanup_free char *path = url_file_path(work->image.location);
    if (!path) {
        return error_set(err, ERR_IMAGE_NOT_FOUND, "'%s' is not the URL of a file on this host",
            work->image.location);
    }
    char stamp[DIGEST_SIZE];
    bool is_there = file_stamp(path, stamp);
    char *cached = work->known_etag ? find_url(&work->paths, &work->image) : NULL;
    if (cached && (!is_there || text_eq(stamp, work->known_etag))) {
        return take_cached(work, cached, err);
    }
    free(cached);
    struct image_source source = {
        .path = path,
        .name = path,
        .title = path,
        .key = work->key,
        .machine = arch_machine(work->image.arch),
        .sha256 = work->image.sha256,
    };
    image_link_digest(&work->image, source.link);
    work->etag = is_there ? mem_strdup(stamp) : NULL;
    return fill(work, &source, is_cancelled, err);
}

static int run_url(struct image_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    bool looks = !work->is_downloaded && !work->passes_cache;
    char *cached = looks ? find_url(&work->paths, &work->image) : NULL;
    if (cached) {
        return take_cached(work, cached, err);
    }
    if (url_is_file(work->image.location)) {
        return run_file_url(work, is_cancelled, err);
    }
    if (work->image.kind == IMAGE_NAME || oci_is_reference(work->image.location)) {
        return run_layer(work, is_cancelled, err);
    }
    cleanup_free char *name = url_without_query(work->image.location);
    struct remote remote = {.url = work->image.location, .name = name};
    return run_remote(work, &remote, is_cancelled, err);
}

static int run_local(struct image_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    const char *path = work->image.location;
    struct image_found found;
    /* The stamp first: a change while we look shows as a changed base afterwards. */
    errno = 0;
    bool has_stamp = file_stamp(path, work->stamp);
    if (!has_stamp && errno == ETIMEDOUT) {
        return image_silent_error(path, err);
    }
    int rc = image_check_file(path, arch_machine(work->image.arch), &found, err);
    if (rc < 0) {
        return rc;
    }
    if (!has_stamp) {
        return error_set(err, ERR_IMAGE_NOT_FOUND, "no image file at '%s'", path);
    }
    if (found.compression == COMPRESSION_NONE && !found.foreign) {
        work->info = found.info;
        return use_local(work, is_cancelled, err);
    }
    struct image_source source = {.path = path,
        .name = path,
        .title = path,
        .key = work->key,
        .machine = arch_machine(work->image.arch),
        .sha256 = work->image.sha256};
    memcpy(source.link, work->stamp, sizeof(source.link));
    char *cached = image_file_by_source(&work->paths, source.link);
    bool is_known = cached && (!work->image.sha256 || text_eq(work->verified_id, work->stamp));
    if (is_known) {
        return take_cached(work, cached, err);
    }
    free(cached);
    return fill(work, &source, is_cancelled, err);
}

static int make_directories(const struct paths *paths, struct error *err)
{
    static const char *const directories[] = {"images", "images/.part", "images/.by-source"};
    for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
        cleanup_free char *path = paths_path(paths, directories[i]);
        if (fs_make_dirs(path, 0700, err) < 0) {
            return -(int)err->code;
        }
    }
    return 0;
}

int image_work_run(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    struct image_work *work = context;
    if (make_directories(&work->paths, err) < 0) {
        return -(int)err->code;
    }
    return work->image.kind == IMAGE_FILE ? run_local(work, is_cancelled, err)
                                          : run_url(work, is_cancelled, err);
}
