/* SPDX-License-Identifier: MPL-2.0 */
/* `image "path" sha256="…"` and `image-url "https://…" sha256="…"`. */
#include "specs/vmfile/vmfile_reader.h"

#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

static void read_sha256(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct spec_image *image = target;
    const char *text = vmfile_line(reader, field);
    char *digits = text ? vmfile_parse_sha256(text) : NULL;
    if (digits) {
        free(image->sha256);
        image->sha256 = digits;
    } else if (text) {
        vmfile_report(reader, field->value->pos, "see what it is: sha256sum FILE",
            "`sha256` must be 64 hexadecimal digits, not \"%s\"", text);
    }
}

static const struct vmfile_rule rules[] = {
    {"sha256", .usage = "sha256=\"…\"", .read_value = read_sha256},
};

static const struct vmfile_shape file_shape = {
    "image \"path/to/image.qcow2\"", 1, 1, rules, ARRAY_LEN(rules), false};
static const struct vmfile_shape url_shape = {
    "image-url \"https://example.com/image.qcow2\"", 1, 1, rules, ARRAY_LEN(rules), false};

/* Keeps the first source; vmfile_check_vm() reports a second one. */
static void set_location(struct spec_image *image, enum image_kind kind, char *location_take)
{
    if (image->location) {
        free(location_take);
        return;
    }
    image->kind = kind;
    image->location = location_take;
}

void vmfile_read_image(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct spec_image *image = &((struct vmfile_vm *)target)->spec->image;
    struct kdl_pos seen[ARRAY_LEN(rules)] = {{0}};
    struct vmfile_field field;
    vmfile_read_node(reader, node, &file_shape, image, seen);
    if (!vmfile_argument(node, 0, &field)) {
        return;
    }
    if (field.value->kind == KDL_STRING && vmfile_looks_like_url(field.value->string)) {
        vmfile_report(reader, field.value->pos, "write: image-url \"…\"",
            "`image` takes the path of a file, not a URL");
        return;
    }
    set_location(image, IMAGE_FILE, vmfile_path(reader, &field, NULL));
}

void vmfile_read_image_url(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct spec_image *image = &((struct vmfile_vm *)target)->spec->image;
    struct kdl_pos seen[ARRAY_LEN(rules)] = {{0}};
    struct vmfile_field field;
    vmfile_read_node(reader, node, &url_shape, image, seen);
    const char *url = vmfile_argument(node, 0, &field) ? vmfile_line(reader, &field) : NULL;
    const char *problem = url ? vmfile_url_problem(url) : NULL;
    if (problem) {
        vmfile_report(reader, field.value->pos,
            vmfile_looks_like_url(url) ? NULL : "for a file of this host write: image \"path\"",
            "`image-url` \"%s\": %s", url, problem);
    } else if (url) {
        set_location(image, IMAGE_URL, mem_strdup(url));
    }
}
