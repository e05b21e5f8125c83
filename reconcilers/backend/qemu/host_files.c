/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/host_files.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

#define GUARD_LIBRARY "vmctl-qemu-guard.so"

enum { OVERFLOW_ID = 65534 /* `nobody` on Debian */ };

int host_find_qemu(enum arch arch, char **ret_path, struct error *err)
{
    const char *machine = arch_machine(arch);
    const char *wanted = arch_is_foreign(arch) ? NULL : getenv("VMCTL_QEMU");
    cleanup_free char *usual = mem_printf("qemu-system-%s", machine);
    const char *program = wanted && wanted[0] ? wanted : usual;
    cleanup_free char *path = program[0] == '/' ? mem_strdup(program) : fs_find_program(program);
    if (!path || access(path, X_OK) != 0) {
        (void)error_set(err, ERR_QEMU_SPAWN, "cannot find the program '%s'%s", program,
            program == wanted ? " (from VMCTL_QEMU)" : " in PATH");
        return error_help(err, "install it: apt-get install qemu-system-%s",
            text_eq(machine, "x86_64")    ? "x86"
            : text_eq(machine, "aarch64") ? "arm"
                                          : "misc");
    }
    *ret_path = TAKE_PTR(path);
    return 0;
}

/* A part of vmctl that is not in $PATH, at one of the places relative to this program. */
static int find_own(const char *name, const char *const *places, size_t n_places,
    const char *consequence, char **ret_path, struct error *err)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    for (size_t i = 0; slash && i < n_places; i++) {
        cleanup_free char *path =
            mem_printf("%.*s/%s%s", (int)(slash - self), self, places[i], name);
        if (access(path, R_OK) == 0) {
            *ret_path = TAKE_PTR(path);
            return 0;
        }
    }
    (void)error_set(
        err, ERR_BACKEND_UNAVAILABLE, "cannot find '%s' near '%s': %s", name, self, consequence);
    return error_help(err, "install vmctl as a whole: cmake --install build");
}

int host_find_guard(char **ret_path, struct error *err)
{
    static const char *const places[] = {"", "../" VMCTL_LIBDIR "/vmctl/", "../lib/vmctl/"};
    return find_own(GUARD_LIBRARY, places, ARRAY_LEN(places),
        "without it a guest on network \"user\" reaches the services of this host", ret_path, err);
}

int host_find_switch(char **ret_path, struct error *err)
{
    static const char *const places[] = {"", "../" VMCTL_LIBEXECDIR "/vmctl/", "../libexec/vmctl/"};
    return find_own(
        "vmctl-switch", places, ARRAY_LEN(places), "network \"project\" needs it", ret_path, err);
}

/* A user namespace may know no other user than its root, who is an ordinary one outside. */
static bool is_known_here(uid_t uid)
{
    FILE *file = fopen("/proc/self/uid_map", "re");
    unsigned first, outside, count;
    bool is_mapped = !file;
    while (file && !is_mapped && fscanf(file, "%u %u %u", &first, &outside, &count) == 3) {
        is_mapped = uid >= first && uid - first < count;
    }
    if (file) {
        (void)fclose(file);
    }
    return is_mapped;
}

int host_find_qemu_user(char **ret_user, struct error *err)
{
    static const char *const candidates[] = {"vmctl", "nobody"};
    const char *wanted = getenv("VMCTL_QEMU_USER");
    const struct passwd *user = NULL;
    *ret_user = NULL;
    if (geteuid() != 0 || (wanted && strcmp(wanted, "root") == 0)) {
        return 0;
    }
    if (wanted && wanted[0]) {
        user = getpwnam(wanted);
        if (!user) {
            (void)error_set(
                err, ERR_QEMU_SPAWN, "there is no user '%s' (from VMCTL_QEMU_USER)", wanted);
            return error_help(err, "create it: useradd --system %s", wanted);
        }
    }
    for (size_t i = 0; !user && i < ARRAY_LEN(candidates); i++) {
        user = getpwnam(candidates[i]);
    }
    uid_t uid = user ? user->pw_uid : OVERFLOW_ID;
    if (uid != 0 && is_known_here(uid)) {
        *ret_user = mem_printf("%u:%u", uid, user ? user->pw_gid : OVERFLOW_ID);
    }
    return 0;
}

unsigned host_privileged_ports_end(void)
{
    enum { PRIVILEGED_PORTS_END = 1024 };
    unsigned end = PRIVILEGED_PORTS_END;
    FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
    if (file) {
        end = fscanf(file, "%u", &end) == 1 ? end : PRIVILEGED_PORTS_END;
        (void)fclose(file);
    }
    return end;
}
