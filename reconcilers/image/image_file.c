/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/image/image_convert.h"
#include "specs/image/image_inspect.h"
#include "reconcilers/image/image_stream.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

static char *link_path(const struct paths *paths, const char *digest)
{
    cleanup_free char *relative = mem_printf("images/.by-source/%s", digest);
    return paths_path(paths, relative);
}

char *image_file_by_source(const struct paths *paths, const char *digest)
{
    cleanup_free char *link = link_path(paths, digest);
    char target[DIGEST_SIZE + 32];
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    if (n < 0) {
        return NULL;
    }
    target[n] = '\0';
    const char *name = strrchr(target, '/');
    if (!name || !text_ends_with(name, ".qcow2") || strlen(name) < DIGEST_SIZE) {
        return NULL;
    }
    char id[DIGEST_SIZE];
    image_file_id(target, id);
    cleanup_free char *path = paths_image(paths, id);
    return fs_exists(path) ? TAKE_PTR(path) : NULL;
}

void image_file_id(const char *path, char ret_id[DIGEST_SIZE])
{
    const char *slash = strrchr(path, '/');
    snprintf(ret_id, DIGEST_SIZE, "%.64s", slash ? slash + 1 : path);
}

int image_file_checksum_error(
    const char *title, const char *found, const char *expected, struct error *err)
{
    return error_set(err, ERR_IMAGE_CHECKSUM, "%s does not match its %s: expected %s, found %s",
        title, strlen(expected) < DIGEST_SIZE ? "sha256" : "sha512", expected, found);
}

/* ---- filing ---- */

static int make_link(
    const struct paths *paths, const char *digest, const char *id, struct error *err)
{
    cleanup_free char *link = link_path(paths, digest);
    cleanup_free char *target = mem_printf("../%s.qcow2", id);
    char unique[TEXT_ID_SIZE];
    digest_random_id(unique);
    cleanup_free char *temporary = mem_printf("%s.tmp-%s", link, unique);
    if (symlink(target, temporary) < 0 || rename(temporary, link) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create '%s'", link);
    }
    return 0;
}

static int sync_links(const struct paths *paths, struct error *err)
{
    cleanup_free char *any = link_path(paths, "any");
    return fs_sync_dir_of(any, err);
}

int image_file_set_name(
    const struct paths *paths, const char *name, const char *id, struct error *err)
{
    char unique[TEXT_ID_SIZE];
    digest_random_id(unique);
    cleanup_free char *relative = mem_printf("images/%s", name);
    cleanup_free char *hidden = mem_printf("images/.part/name.tmp-%s", unique);
    cleanup_free char *target = mem_printf("%s.qcow2", id);
    cleanup_free char *link = paths_path(paths, relative);
    cleanup_free char *temporary = paths_path(paths, hidden);
    if (symlink(target, temporary) < 0 || rename(temporary, link) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create '%s'", link);
    }
    return 0;
}

int image_file_link(
    const struct paths *paths, const char *digest, const char *path, struct error *err)
{
    char id[DIGEST_SIZE];
    image_file_id(path, id);
    int rc = make_link(paths, digest, id, err);
    return rc < 0 ? rc : sync_links(paths, err);
}

/* Who made the image must not choose which files of this host a guest reads. */
static int check_content(
    const char *file, const struct image_source *source, struct image_info *info, struct error *err)
{
    if (image_inspect_base(file, source->machine, source->title, info, err) < 0) {
        return -(int)err->code;
    }
    if (info->has_backing) {
        error_set(err, ERR_IMAGE_FORMAT, "%s is not complete: it refers to another file%s%s",
            source->title, info->backing[0] ? ", " : "", info->backing);
        return error_help(err, "flatten it: qemu-img convert -O qcow2 IMAGE NEW.qcow2");
    }
    return 0;
}

static int check_pin(const struct image_source *source, const char *source_sha,
    const char *unpacked_sha, struct error *err)
{
    if (source->sha256 && !text_eq(source->sha256, unpacked_sha) &&
        !text_eq(source->sha256, source_sha)) {
        return image_file_checksum_error(source->title, source_sha, source->sha256, err);
    }
    return 0;
}

/* `file` is ours, and complete. Links first: image_work.h. */
static int file_image(
    struct image_filing *filing, const char *file, const char *id, struct error *err)
{
    const struct paths *paths = filing->paths;
    const struct image_source *source = filing->source;
    struct image_info info;
    if (check_content(file, source, &info, err) < 0 ||
        make_link(paths, source->link, id, err) < 0 ||
        make_link(paths, filing->source_sha, id, err) < 0 ||
        (source->sha512 && make_link(paths, source->digest, id, err) < 0) ||
        sync_links(paths, err) < 0) {
        return -(int)err->code;
    }
    cleanup_free char *path = paths_image(paths, id);
    /* An image that is there already stays: VMs may have it open. */
    bool is_there = fs_size(path) == fs_size(file);
    int rc = is_there ? fs_remove_file(file, err) : fs_publish(file, path, 0444, err);
    if (rc < 0) {
        return -(int)err->code;
    }
    filing->path = TAKE_PTR(path);
    return 0;
}

/* ---- between two calls: qemu-img ---- */

static void plan_conversion(struct image_filing *filing, const char *file)
{
    struct image_conversion *conversion = filing->conversion;
    conversion->from = mem_strdup(file);
    conversion->from_is_temporary = !text_eq(file, filing->source->path);
    if (conversion->format) {
        conversion->to = image_temporary_path(filing->paths, filing->source->key);
    }
    memcpy(conversion->source_sha, filing->source_sha, DIGEST_SIZE);
    memcpy(conversion->unpacked_sha, filing->unpacked_sha, DIGEST_SIZE);
}

static int file_checked(struct image_filing *filing, struct error *err)
{
    struct image_conversion *conversion = filing->conversion;
    int rc = file_image(filing, conversion->from, conversion->unpacked_sha, err);
    conversion->from_is_temporary = conversion->from_is_temporary && rc < 0;
    return rc;
}

static int file_converted(struct image_filing *filing, struct error *err)
{
    char id[DIGEST_SIZE];
    const struct image_conversion *conversion = filing->conversion;
    if (digest_file(conversion->to, filing->is_cancelled, id, err) < 0 ||
        make_link(filing->paths, conversion->unpacked_sha, id, err) < 0) {
        return -(int)err->code;
    }
    return file_image(filing, conversion->to, id, err);
}

/* ---- from the source to the cache ---- */

/* `file` holds the unpacked image, which is the source itself when it was not packed. */
static int take_unpacked(struct image_filing *filing, const char *file, struct error *err)
{
    const struct image_source *source = filing->source;
    struct image_conversion *conversion = filing->conversion;
    bool is_source = text_eq(file, source->path);
    if (check_pin(source, filing->source_sha, filing->unpacked_sha, err) < 0 ||
        image_foreign_of_file(file, source->title, &conversion->format, err) < 0) {
        return -(int)err->code;
    }
    struct image_info info = {.format = IMAGE_RAW};
    if (!conversion->format && is_source && !source->is_ours) {
        return error_set(err, ERR_IMAGE_FORMAT, "%s changed while it was read", source->title);
    }
    if (!conversion->format && check_content(file, source, &info, err) < 0) {
        return -(int)err->code;
    }
    if (conversion->format || info.format == IMAGE_QCOW2) {
        plan_conversion(filing, file);
        return 0;
    }
    return file_image(filing, file, filing->unpacked_sha, err);
}

/* What a registry or a publisher says of the bytes. */
static int check_published(
    const struct image_source *source, const struct image_filing *filing, struct error *err)
{
    char sha512[DIGEST_512_SIZE];
    const char *found = filing->source_sha, *said = source->digest;
    if (source->sha512) {
        image_stream_sha512(filing->stream, sha512);
        found = sha512;
        said = source->sha512;
    }
    return !said || text_eq(said, found)
               ? 0
               : image_file_checksum_error(source->title, found, said, err);
}

static int take_source(struct image_filing *filing, struct error *err)
{
    const struct image_source *source = filing->source;
    const atomic_bool *is_cancelled = filing->is_cancelled;
    cleanup_free char *file = NULL;
    if (image_stream_source(filing->stream, is_cancelled, filing->source_sha, err) < 0) {
        return -(int)err->code;
    }
    if (check_published(source, filing, err) < 0) {
        return -(int)err->code;
    }
    if (image_stream_end(filing->stream, is_cancelled, filing->unpacked_sha, &file, err) < 0) {
        return -(int)err->code;
    }
    int rc = take_unpacked(filing, file, err);
    if (rc < 0 && !text_eq(file, source->path)) {
        (void)unlink(file);
    }
    return rc;
}

int image_file_fill(struct image_filing *filing, struct error *err)
{
    if (!filing->conversion->is_done) {
        return take_source(filing, err);
    }
    memcpy(filing->source_sha, filing->conversion->source_sha, DIGEST_SIZE);
    int rc = filing->conversion->to ? file_converted(filing, err) : file_checked(filing, err);
    image_conversion_clear(filing->conversion);
    return rc;
}
