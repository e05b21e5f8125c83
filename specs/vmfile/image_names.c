/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/image_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/vmfile/vmfile_reader.h"

#define INSTALLED "../share/vmctl/images.kdl" /* from the directory of the program */
#define OWN ".config/vmctl/images.kdl"        /* from the user's home directory */

enum { CATALOGUE_MAX_BYTES = 1 << 20 };

/* ---- an entry ---- */

struct entry {
    struct named_image image;
    char *arch;
};

static void named_image_clear(struct named_image *image)
{
    strings_clear(&image->names);
    free(image->about);
    free(image->url);
    free(image->sums);
    free(image->user);
}

static void read_location(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct entry *entry = target;
    const char *url = vmfile_line(reader, field);
    const char *problem = url ? vmfile_url_problem(url) : NULL;
    char **member = text_eq(field->name, "url") ? &entry->image.url : &entry->image.sums;
    if (url && !problem && !text_starts_with(url, "http")) {
        problem = "it must be http or https";
    }
    if (problem) {
        vmfile_report(
            reader, field->value->pos, NULL, "`%s` \"%s\": %s", field->name, url, problem);
    } else if (url) {
        *member = mem_strdup(url);
    }
}

enum entry_field {
    ENTRY_ABOUT,
    ENTRY_ARCH,
    ENTRY_URL,
    ENTRY_SUMS,
    ENTRY_USER,
    ENTRY_FIRMWARE,
    ENTRY_SEED,
    ENTRY_FIELD_COUNT_
};

#define MEMBER(member) .offset = offsetof(struct entry, member)

static const struct vmfile_rule rules[ENTRY_FIELD_COUNT_] = {
    [ENTRY_ABOUT] = {"about", "about \"Debian 12\"", .kind = VMFILE_TEXT, MEMBER(image.about)},
    [ENTRY_ARCH] = {"arch", "arch \"x86_64\"", .kind = VMFILE_TEXT, MEMBER(arch)},
    [ENTRY_URL] = {"url", "url \"https://…\"", .read_value = read_location},
    [ENTRY_SUMS] = {"sums", "sums \"https://…/SHA512SUMS\"", .read_value = read_location},
    [ENTRY_USER] = {"user", "user \"debian\"", .kind = VMFILE_NAME, MEMBER(image.user),
        .is_valid = vmfile_is_user_name, .problem = "is not a valid user name:"},
    [ENTRY_FIRMWARE] = {"firmware", "firmware \"uefi\"", .kind = VMFILE_WORD,
        MEMBER(image.firmware), .words = &firmware_words},
    [ENTRY_SEED] = {"seed", "seed \"scsi\"", .kind = VMFILE_WORD, MEMBER(image.bus),
        .words = &seed_bus_words},
};

static const struct vmfile_shape shape = {
    "image \"debian:12\" { url \"https://…\"; sums \"https://…\" }", 1, 8, rules,
    ENTRY_FIELD_COUNT_, false};

/* One that is known by its first name is replaced. */
static void keep_entry(struct image_names *names, struct named_image *image)
{
    for (size_t i = 0; i < names->count; i++) {
        if (text_eq(names->items[i].names.items[0], image->names.items[0])) {
            named_image_clear(&names->items[i]);
            names->items[i] = *image;
            *image = (struct named_image){.url = NULL};
            return;
        }
    }
    mem_grow(names->items, names->count);
    names->items[names->count++] = *image;
    *image = (struct named_image){.url = NULL};
}

/* False: no VM here can have that processor. */
static bool take_arch(struct entry *entry)
{
    struct strings *names = &entry->image.names;
    const char *machine = entry->arch ? entry->arch : arch_machine(ARCH_X86_64);
    if (text_eq(machine, arch_machine(ARCH_HOST))) {
        return true;
    }
    int arch = enum_names_find(&arch_words, machine);
    entry->image.arch = arch > ARCH_HOST ? (enum arch)arch : ARCH_HOST;
    for (size_t i = 0; arch > ARCH_HOST && i < names->count; i++) {
        char *name = mem_printf("%s+%s", names->items[i], machine);
        free(names->items[i]);
        names->items[i] = name;
    }
    return arch > ARCH_HOST;
}

static void read_entry(
    struct vmfile_reader *reader, const struct kdl_node *node, bool is_own, struct image_names *ret)
{
    struct entry entry = {.image.is_own = is_own};
    struct kdl_pos seen[ENTRY_FIELD_COUNT_] = {{0}};
    struct vmfile_field field;
    vmfile_read_node(reader, node, &shape, &entry, seen);
    for (size_t i = 0; vmfile_argument(node, i, &field); i++) {
        const char *name = vmfile_line(reader, &field);
        if (name && !image_name_is_meant(name)) {
            vmfile_report(reader, field.value->pos, "write for example: image \"debian:12\"",
                "\"%s\" cannot be the name of an image", name);
        }
        strings_append(&entry.image.names, name ? name : "");
    }
    if (!seen[ENTRY_URL].line || !seen[ENTRY_SUMS].line) {
        vmfile_report(reader, node->pos, shape.usage, "`image` needs both `url` and `sums`");
    }
    if (reader->file->n_diagnostics == 0 && take_arch(&entry)) {
        keep_entry(ret, &entry.image);
    }
    named_image_clear(&entry.image);
    free(entry.arch);
}

/* ---- a catalogue ---- */

int image_names_add(struct image_names *names, const char *text, size_t n, const char *path,
    bool is_own, struct error *err)
{
    static const struct kdl_limits limits = {
        .max_bytes = CATALOGUE_MAX_BYTES, .max_depth = 4, .max_nodes = VMFILE_MAX_NODES};
    const struct vmfile_env env = {.path = path};
    struct vmfile_reader reader = {.env = &env, .file = mem_new(struct vmfile)};
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    if (kdl_parse(text, n, KDL_AUTO, &limits, &doc, &error) < 0) {
        vmfile_report_syntax(&reader, &error);
    }
    for (size_t i = 0; doc && i < doc->n_nodes; i++) {
        if (text_eq(doc->nodes[i].name, "image")) {
            read_entry(&reader, &doc->nodes[i], is_own, names);
        } else {
            vmfile_report(&reader, doc->nodes[i].pos, NULL, "unknown node `%s`: write `image`",
                doc->nodes[i].name);
        }
    }
    vmfile_sort_diagnostics(reader.file);
    int rc = 0;
    if (reader.file->n_diagnostics > 0) {
        const struct vmfile_diagnostic *first = &reader.file->diagnostics[0];
        rc = error_set(err, ERR_VMFILE_INVALID, "the catalogue %s:%u:%u: %s", path, first->pos.line,
            first->pos.column, first->message);
        rc = first->hint ? error_help(err, "%s", first->hint) : rc;
    }
    kdl_document_free(doc);
    vmfile_free(reader.file);
    return rc;
}

static int add_file(struct image_names *names, const char *path, bool is_own, struct error *err)
{
    struct stat st = {.st_mode = 0};
    cleanup_buf struct buf text = BUF_INIT(CATALOGUE_MAX_BYTES);
    if (user_path_stat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        return 0;
    }
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        return error_set(err, ERR_IO, "cannot read '%s', which is not a file", path);
    }
    int rc = user_path_read(path, &text, err);
    return rc < 0 ? rc : image_names_add(names, buf_str(&text), text.len, path, is_own, err);
}

int image_names_load(struct image_names *ret, struct error *err)
{
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    program[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(program, '/');
    cleanup_free char *installed =
        mem_printf("%.*s/" INSTALLED, (int)(slash ? slash - program : 0), program);
    *ret = (struct image_names){.own_path = mem_printf("%s/" OWN, paths_home())};
    int rc = add_file(ret, installed, false, err);
    return rc < 0 ? rc : add_file(ret, ret->own_path, true, err);
}

void image_names_clear(struct image_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        named_image_clear(&names->items[i]);
    }
    free(names->items);
    free(names->own_path);
    *names = (struct image_names){.count = 0};
}

const struct named_image *image_names_find(const struct image_names *names, const char *name)
{
    /* an entry's own name counts before what leads to another one, the user's before the other */
    for (size_t depth = 0; depth < 8; depth++) {
        for (size_t i = names->count; i-- > 0;) {
            const struct strings *of_image = &names->items[i].names;
            if (depth < of_image->count && text_eq(of_image->items[depth], name)) {
                return &names->items[i];
            }
        }
    }
    return NULL;
}

const struct named_image *image_names_find_for(
    const struct image_names *names, const char *name, enum arch arch)
{
    cleanup_free char *suffix = mem_printf("+%s", arch_machine(arch));
    cleanup_free char *whole = mem_printf("%s%s", name, suffix);
    return image_names_find(
        names, arch_is_foreign(arch) && !text_ends_with(name, suffix) ? whole : name);
}

bool image_name_is_meant(const char *word)
{
    return word[0] && !strchr("~.-", word[0]) && strlen(word) < 200 &&
           strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:._-+") ==
               strlen(word);
}

void named_image_apply(const struct named_image *image, struct vm_spec *spec)
{
    free(spec->image.location);
    spec->image.kind = IMAGE_NAME;
    spec->image.arch = image->arch;
    spec->image.location = mem_strdup(image->names.items[0]);
    spec->firmware = image->firmware;
    vm_spec_settle_arch(spec);
    spec->cloud_init.bus = image->bus;
    if (image->user) {
        free(spec->ssh.user);
        spec->ssh.user = mem_strdup(image->user);
    }
}
