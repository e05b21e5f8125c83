/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/pool.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/image/bytes.h"

enum { DESCRIPTOR_MAX = 64 << 10, QCOW2_SIZE_AT = 24, HEAD_SIZE = 32 };

/* ---- the form of a variables file ---- */

struct vars_form {
    const char *format; /* static; NULL: no such file */
    uint64_t size;      /* as the machine sees it */
};

/* `fd` -1: of none. */
static struct vars_form form_of(int fd)
{
    uint8_t head[HEAD_SIZE];
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return (struct vars_form){NULL, 0};
    }
    bool is_qcow2 = fs_read_at(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
                    memcmp(head, "QFI\xfb", 4) == 0;
    return is_qcow2 ? (struct vars_form){"qcow2", bytes_big(head + QCOW2_SIZE_AT, 8)}
                    : (struct vars_form){"raw", (uint64_t)st.st_size};
}

static struct vars_form form_of_path(const char *path)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return form_of(fd);
}

/* ---- descriptors ---- */

const char *const *firmware_directories(void)
{
    static char *own;
    static const char *all[4];
    const char *only = getenv("VMCTL_FIRMWARE"), *config = getenv("XDG_CONFIG_HOME");
    if (only) {
        all[0] = only;
        all[1] = NULL;
        return all;
    }
    free(own);
    own = config && config[0] == '/' ? fs_join(config, "qemu/firmware")
                                     : fs_join(paths_home(), ".config/qemu/firmware");
    all[0] = "/usr/share/qemu/firmware";
    all[1] = "/etc/qemu/firmware";
    all[2] = own;
    all[3] = NULL;
    return all;
}

static void note_descriptor(void *context, int dir_fd, const char *name)
{
    (void)dir_fd;
    if (text_ends_with(name, ".json")) {
        json_put_flag(context, name, true);
    }
}

static bool has_word(const json_t *words, const char *word)
{
    size_t i;
    json_t *item;
    json_array_foreach(words, i, item)
    {
        if (text_eq(json_string_value(item), word)) {
            return true;
        }
    }
    return false;
}

/* "q35" stands for its newest version, whose number no pattern leaves out. */
static bool is_for_machine(const json_t *targets, const struct firmware_wanted *wanted)
{
    bool is_newest = !strchr(wanted->machine, '-');
    cleanup_free char *type =
        is_newest
            ? mem_printf("%s%s-", text_eq(wanted->machine, "q35") ? "pc-" : "", wanted->machine)
            : mem_strdup(wanted->machine);
    size_t i, at;
    json_t *target, *pattern;
    json_array_foreach(targets, i, target)
    {
        const json_t *patterns = json_object_get(target, "machines");
        json_array_foreach(patterns, at, pattern)
        {
            const char *text = json_string_value(pattern);
            if (text && text_eq(json_text(target, "architecture"), wanted->arch) &&
                fnmatch(text, type, 0) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Of an ordinary machine the guest may start what it likes, and SMM costs it time. */
static bool is_of_kind(const json_t *features, const struct firmware_wanted *wanted)
{
    bool is_enforced = has_word(features, "secure-boot") && has_word(features, "enrolled-keys");
    return wanted->kind == FIRMWARE_UEFI_SECURE
               ? is_enforced
               : !is_enforced && !has_word(features, "requires-smm");
}

static bool is_format(const char *format)
{
    return text_eq(format, "raw") || text_eq(format, "qcow2");
}

/* Its files are there, and what the VM has already has the form of its template. */
static bool fits_files(const struct firmware_build *build, const char *vars)
{
    struct vars_form made = form_of_path(build->vars ? build->vars : ""),
                     present = form_of_path(vars);
    if (!build->vars) {
        return access(build->code, R_OK) == 0 && !present.format;
    }
    return access(build->code, R_OK) == 0 && access(build->vars, R_OK) == 0 && made.format &&
           (!present.format || (text_eq(made.format, present.format) && made.size == present.size));
}

/* What is no descriptor, or for another machine, is passed over. */
static bool take_descriptor(
    const char *path, const struct firmware_wanted *wanted, struct firmware_build *ret)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf bytes = BUF_INIT(DESCRIPTOR_MAX);
    if (fs_read_regular(path, &bytes, &ignored) < 0) {
        return false;
    }
    cleanup_json json_t *json = json_loadb(buf_str(&bytes), bytes.len, 0, NULL);
    const json_t *mapping = json_object_get(json, "mapping");
    const json_t *code = json_object_get(mapping, "executable");
    const json_t *vars = json_object_get(mapping, "nvram-template");
    const json_t *features = json_object_get(json, "features");
    const char *mode = json_text(mapping, "mode");
    struct firmware_build build = {.code = json_copy_text(code, "filename"),
        .code_format = json_copy_text(code, "format"),
        .vars = json_copy_text(vars, "filename"),
        .vars_format = json_copy_text(vars, "format"),
        .needs_smm = has_word(features, "requires-smm")};
    bool is_right =
        has_word(json_object_get(json, "interface-types"), "uefi") &&
        text_eq(json_text(mapping, "device"), "flash") && (!mode || text_eq(mode, "split")) &&
        build.code && build.vars && is_format(build.code_format) && is_format(build.vars_format) &&
        is_of_kind(features, wanted) && is_for_machine(json_object_get(json, "targets"), wanted) &&
        fits_files(&build, wanted->vars);
    if (is_right) {
        *ret = build;
        return true;
    }
    firmware_build_clear(&build);
    return false;
}

/* NULL: it is hidden. free() it. */
static char *find_last(const char *const *directories, const char *name)
{
    size_t n = 0;
    while (directories[n]) {
        n++;
    }
    while (n-- > 0) {
        cleanup_free char *path = fs_join(directories[n], name);
        struct stat st;
        if (stat(path, &st) == 0) {
            return S_ISREG(st.st_mode) && st.st_size > 0 ? TAKE_PTR(path) : NULL;
        }
    }
    return NULL;
}

static int compare_descriptors(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool find_described(const char *const *directories, const struct firmware_wanted *wanted,
    struct firmware_build *ret)
{
    cleanup_json json_t *names = json_object();
    for (size_t i = 0; directories[i]; i++) {
        fs_each_entry(directories[i], note_descriptor, names);
    }
    size_t n = 0;
    cleanup_free const char **sorted =
        mem_calloc(json_object_size(names) + 1, sizeof(*sorted)); /* of `names` */
    for (void *at = json_object_iter(names); at; at = json_object_iter_next(names, at)) {
        sorted[n++] = json_object_iter_key(at);
    }
    qsort(sorted, n, sizeof(*sorted), compare_descriptors);
    bool is_found = false;
    for (size_t i = 0; i < n && !is_found; i++) {
        cleanup_free char *path = find_last(directories, sorted[i]);
        is_found = path && take_descriptor(path, wanted, ret);
    }
    return is_found;
}

/* ---- builds that nothing describes ---- */

static const struct {
    const char *arch;
    enum firmware kind;
    const char *code, *vars;
} known[] = {
    {"x86_64", FIRMWARE_UEFI, "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
    {"x86_64", FIRMWARE_UEFI, "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
    {"x86_64", FIRMWARE_UEFI, "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd"}, /* Fedora */
    {"x86_64", FIRMWARE_UEFI, "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd"}, /* Arch */
    {"x86_64", FIRMWARE_UEFI, "/usr/share/qemu/edk2-x86_64-code.fd",
        "/usr/share/qemu/edk2-i386-vars.fd"}, /* QEMU's own */
    {"aarch64", FIRMWARE_UEFI, "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
    {"aarch64", FIRMWARE_UEFI, "/usr/share/qemu/edk2-aarch64-code.fd",
        "/usr/share/qemu/edk2-arm-vars.fd"},
    {"riscv64", FIRMWARE_UEFI, "/usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd",
        "/usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd"},
    {"riscv64", FIRMWARE_UEFI, "/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf", NULL},
};

static bool find_known(const struct firmware_wanted *wanted, struct firmware_build *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        struct firmware_build build = {.code = mem_strdup(known[i].code),
            .code_format = mem_strdup(known[i].vars ? "raw" : NULL),
            .vars = mem_strdup(known[i].vars),
            .vars_format = mem_strdup(known[i].vars ? "raw" : NULL)};
        if (text_eq(known[i].arch, wanted->arch) && known[i].kind == wanted->kind &&
            fits_files(&build, wanted->vars)) {
            *ret = build;
            return true;
        }
        firmware_build_clear(&build);
    }
    return false;
}

static int refuse_firmware(const struct firmware_wanted *wanted, struct error *err)
{
    bool is_x86 = text_eq(wanted->arch, "x86_64"), is_riscv = text_eq(wanted->arch, "riscv64");
    const char *secure = wanted->kind == FIRMWARE_UEFI_SECURE ? " with secure boot" : "";
    const char *package = is_x86 ? "ovmf" : is_riscv ? "u-boot-qemu" : "qemu-efi-";
    const char *suffix = is_x86 || is_riscv ? "" : wanted->arch;
    if (form_of_path(wanted->vars).format) {
        (void)error_set(err, ERR_QEMU_SPAWN,
            "cannot find the UEFI firmware%s that '%s' belongs to on this host", secure,
            wanted->vars);
        return error_help(err,
            "install it: apt-get install %s%s; or, to reset the firmware's settings, remove that "
            "file",
            package, suffix);
    }
    (void)error_set(err, ERR_QEMU_SPAWN, "cannot find UEFI firmware%s for %s on this host", secure,
        is_x86 ? "x86 (OVMF)" : wanted->arch);
    return error_help(err, "install it: apt-get install %s%s%s", package, suffix,
        is_x86 && !secure[0] ? "; or use firmware \"bios\"" : "");
}

int firmware_find(const char *const *directories, const struct firmware_wanted *wanted,
    struct firmware_build *ret, struct error *err)
{
    *ret = (struct firmware_build){.code = NULL};
    return find_described(directories, wanted, ret) || find_known(wanted, ret)
               ? 0
               : refuse_firmware(wanted, err);
}

void firmware_build_clear(struct firmware_build *build)
{
    free(build->code);
    free(build->code_format);
    free(build->vars);
    free(build->vars_format);
    *build = (struct firmware_build){.code = NULL};
}

/* ---- variables ---- */

static bool is_zero(const uint8_t *bytes, size_t n)
{
    return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

/* Those of ARM have 64 MiB, of which nearly all is zero. */
static int copy_template(int from, int to)
{
    enum { PIECE = 64 << 10 };
    cleanup_free uint8_t *piece = mem_calloc(1, PIECE);
    int64_t at = 0;
    ssize_t n;
    while ((n = fs_read_at(from, piece, PIECE, at)) > 0) {
        if (!is_zero(piece, (size_t)n) && pwrite(to, piece, (size_t)n, at) != n) {
            return -1;
        }
        at += n;
    }
    return n < 0 || ftruncate(to, at) < 0 || fsync(to) < 0 ? -1 : 0;
}

int firmware_make_vars(const struct firmware_build *build, const char *vars, struct error *err)
{
    struct stat st;
    char unique[TEXT_ID_SIZE];
    if (!build->vars) {
        return 0;
    }
    if (lstat(vars, &st) == 0) {
        if (S_ISREG(st.st_mode)) {
            return 0;
        }
        (void)error_set(err, ERR_QEMU_SPAWN,
            "'%s' is not a file: it would keep the guest's UEFI "
            "variables",
            vars);
        return error_help(err, "remove it; vmctl creates the file again");
    }
    digest_random_id(unique);
    cleanup_free char *made = mem_printf("%s.tmp-%s", vars, unique);
    cleanup_close int from = open(build->vars, O_RDONLY | O_CLOEXEC);
    cleanup_close int to =
        from < 0 ? -1 : open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc =
        to < 0 || copy_template(from, to) < 0
            ? error_set_errno(err, ERR_IO, errno, "cannot copy '%s' to '%s'", build->vars, vars)
            : fs_publish(made, vars, 0600, err);
    if (rc < 0 && to >= 0) {
        (void)unlink(made);
    }
    return rc;
}

/* ---- keys ---- */

/* Whether a platform key is enrolled, without which secure boot is off: edk2's header of an
 * authenticated variable, with its state, its vendor and its name. */
static bool has_platform_key(const char *path)
{
    static const uint8_t key[] = {0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00,
        0xe0, 0x98, 0x03, 0x2b, 0x8c, 'P', 0, 'K', 0, 0, 0};
    enum { READ_MAX = 1 << 20, VENDOR_AT = 44, STATE_AT = 2, ADDED = 0x3f };
    cleanup_free uint8_t *bytes = mem_calloc(1, READ_MAX);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : fs_read_at(fd, bytes, READ_MAX, 0);
    const uint8_t *at = bytes, *end = bytes + (n > 0 ? n : 0);
    while ((at = memmem(at, (size_t)(end - at), key, sizeof(key)))) {
        if (at - bytes >= VENDOR_AT && at[STATE_AT - VENDOR_AT] == ADDED) {
            return true;
        }
        at++;
    }
    return false;
}

int firmware_check_keys(const struct firmware_build *build, const char *vars, struct error *err)
{
    if (!form_of_path(vars).format || !has_platform_key(build->vars) || has_platform_key(vars)) {
        return 0;
    }
    (void)error_set(err, ERR_QEMU_SPAWN, "'%s' has no keys: secure boot would be off", vars);
    return error_help(err, "it belongs to a disk with other firmware: write firmware \"uefi\"; or, "
                           "to use the keys of this host's firmware, remove that file");
}

/* ---- on the pool ---- */

struct firmware_work {
    char *directories[4]; /* NULL ends them */
    struct firmware_wanted wanted;
    char *arch, *machine, *vars;
    struct firmware_build build;
    struct firmware_build *ret; /* borrowed; of the loop's thread */
};

struct preparation {
    struct op op; /* first */
    struct op *stage;
    struct firmware_work *work; /* the stage's */
    struct firmware_build *ret;
};

static void free_firmware_work(void *context)
{
    struct firmware_work *work = context;
    for (size_t i = 0; i < ARRAY_LEN(work->directories); i++) {
        free(work->directories[i]);
    }
    free(work->arch);
    free(work->machine);
    free(work->vars);
    firmware_build_clear(&work->build);
    free(work);
}

static int find_and_make(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    struct firmware_work *work = context;
    (void)is_cancelled;
    int rc =
        firmware_find((const char *const *)work->directories, &work->wanted, &work->build, err);
    if (rc == 0 && work->wanted.kind == FIRMWARE_UEFI_SECURE) {
        rc = firmware_check_keys(&work->build, work->vars, err);
    }
    return rc < 0 ? rc : firmware_make_vars(&work->build, work->vars, err);
}

static void preparation_cancel(struct op *op)
{
    struct preparation *self = (struct preparation *)(void *)op;
    op_cancel(self->stage);
    free(self);
}

/* The work is freed after this. */
static void files_ready(void *context, const struct error *err)
{
    struct preparation *self = context;
    self->stage = NULL;
    *self->ret = self->work->build;
    self->work->build = (struct firmware_build){.code = NULL};
    op_finish(&self->op, err);
}

struct op *firmware_prepare(struct pool *pool, const struct firmware_wanted *wanted,
    struct firmware_build *ret, op_done_fn *done, void *context)
{
    const char *const *directories = firmware_directories();
    struct firmware_work *work = mem_new(struct firmware_work);
    *work = (struct firmware_work){.arch = mem_strdup(wanted->arch),
        .machine = mem_strdup(wanted->machine),
        .vars = mem_strdup(wanted->vars)};
    for (size_t i = 0; directories[i]; i++) {
        work->directories[i] = mem_strdup(directories[i]);
    }
    work->wanted = (struct firmware_wanted){wanted->kind, work->arch, work->machine, work->vars};
    struct preparation *self = mem_new(struct preparation);
    *self =
        (struct preparation){.op = {preparation_cancel, done, context}, .work = work, .ret = ret};
    self->stage = pool_start(pool, find_and_make, free_firmware_work, work, files_ready, self);
    return &self->op;
}
