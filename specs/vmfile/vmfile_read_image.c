/* SPDX-License-Identifier: MPL-2.0 */
/* `image "path" sha256="…"`, `image "debian:12"` and `image-url "https://…" sha256="…"`. */
#include "specs/vmfile/vmfile_reader.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/image_names.h"

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

/* What may be the name of an image: no file is there, as a file always counts. */
static bool is_meant_as_name(const struct vmfile_reader *reader, const struct kdl_value *value)
{
    const struct vmfile_env *env = reader->env;
    const char *word = value->string;
    if (!word || !env->image_names || !image_name_is_meant(word)) {
        return false;
    }
    cleanup_free char *path = fs_resolve(word, vmfile_base_dir(reader, value->pos), env->home);
    return reader->place || !env->file_problem || env->file_problem(env->context, path, false);
}

/* Which is read later. */
static enum arch arch_of(const struct kdl_node *vm)
{
    int arch = ARCH_HOST;
    for (size_t i = 0; i < vm->n_children + vm->n_entries; i++) {
        bool is_child = i < vm->n_children;
        const struct kdl_entry *entry = is_child ? NULL : &vm->entries[i - vm->n_children];
        const char *name = is_child ? vm->children[i].name : entry->name;
        const struct kdl_value *value =
            is_child ? kdl_argument(&vm->children[i], 0) : &entry->value;
        if (text_eq(name, "arch") && value && value->kind == KDL_STRING) {
            arch = enum_names_find(&arch_words, value->string);
        }
    }
    return arch < 0 ? ARCH_HOST : (enum arch)arch;
}

void vmfile_take_named_image(
    struct vmfile_reader *reader, const struct kdl_node *vm, struct vm_spec *spec)
{
    const struct vmfile_env *env = reader->env;
    struct error ignored = {.code = ERR_NONE};
    for (size_t i = 0; i < vm->n_children; i++) {
        const struct kdl_value *value = kdl_argument(&vm->children[i], 0);
        if (!text_eq(vm->children[i].name, "image") || !value || !is_meant_as_name(reader, value)) {
            continue;
        }
        const struct image_names *names = env->image_names(env->context, &ignored);
        const struct named_image *image =
            names ? image_names_find_for(names, value->string, arch_of(vm)) : NULL;
        if (image) {
            named_image_apply(image, spec);
        }
    }
}

/* "debian:21": no file, and not in the catalogue either. False: nothing to say about names. */
static bool report_unknown_name(struct vmfile_reader *reader, const struct vmfile_field *field)
{
    const struct vmfile_env *env = reader->env;
    struct error err = {.code = ERR_NONE};
    const char *word = field->value->string;
    if (!is_meant_as_name(reader, field->value) || strlen(word) != field->value->length) {
        return false;
    }
    const struct image_names *names = env->image_names(env->context, &err);
    if (!names) {
        vmfile_report(reader, field->value->pos, err.help[0] ? err.help : NULL, "%s", err.message);
        return true;
    }
    cleanup_free const char **known = mem_calloc(names->count + 1, sizeof(*known));
    for (size_t i = 0; i < names->count; i++) {
        known[i] = names->items[i].names.items[0];
    }
    bool is_of_others = image_names_find(names, word) != NULL;
    const char *nearest = text_nearest(word, known, names->count);
    if (!strchr(word, ':') && !nearest) {
        return false;
    }
    cleanup_free char *hint = is_of_others
                                  ? mem_strdup("it is there for another `arch` only: write "
                                               "an `image-url` in its place")
                              : nearest ? mem_printf("did you mean `%s`?", nearest)
                                        : mem_strdup("see what there is: vmctl image search");
    vmfile_report(reader, field->value->pos, hint,
        "`image`: there is neither a file nor an image in the catalogue called \"%s\"", word);
    return true;
}

void vmfile_read_image(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct spec_image *image = &((struct vmfile_vm *)target)->spec->image;
    struct kdl_pos seen[ARRAY_LEN(rules)] = {{0}};
    struct vmfile_field field;
    vmfile_read_node(reader, node, &file_shape, image, seen);
    if (!vmfile_argument(node, 0, &field) || image->kind == IMAGE_NAME) {
        return;
    }
    if (field.value->kind == KDL_STRING && vmfile_looks_like_url(field.value->string)) {
        vmfile_report(reader, field.value->pos, "write: image-url \"…\"",
            "`image` takes the path of a file, not a URL");
        return;
    }
    if (!report_unknown_name(reader, &field)) {
        set_location(image, IMAGE_FILE, vmfile_path(reader, &field, NULL));
    }
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
