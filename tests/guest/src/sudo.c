/*
 * SPDX-License-Identifier: MPL-2.0
 *
 * sudo for the test guest, set-uid root. Root may do anything; others need a
 * line "NAME ... NOPASSWD:ALL" in the file that the seed's users are written
 * to. There are no passwords, so -n and -S mean nothing, and the environment
 * is kept (-E) but for PATH, HOME and the names.
 */
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RULES "/etc/sudoers.d/90-cloud-init-users"

/* Does this line of the rules let the user do everything, unasked? */
static bool rule_allows(const char *rule, const char *user)
{
    size_t length = strlen(user);

    if (strncmp(rule, user, length) != 0 || rule[length] != ' ') {
        return false;
    }
    rule = strstr(rule + length, "NOPASSWD:");
    if (!rule) {
        return false;
    }
    rule += strlen("NOPASSWD:");
    return strncmp(rule + strspn(rule, " "), "ALL", 3) == 0;
}

static bool may_sudo(const char *user)
{
    char line[1024];
    bool allowed = false;
    FILE *rules = fopen(RULES, "re");

    if (!rules) {
        return false;
    }
    while (!allowed && fgets(line, sizeof(line), rules)) {
        allowed = rule_allows(line, user);
    }
    fclose(rules);
    return allowed;
}

static int become(const struct passwd *user)
{
    if (initgroups(user->pw_name, user->pw_gid) || setgid(user->pw_gid) || setuid(user->pw_uid)) {
        perror("sudo");
        return -1;
    }
    setenv("USER", user->pw_name, 1);
    setenv("LOGNAME", user->pw_name, 1);
    setenv("HOME", user->pw_dir, 1);
    setenv("SHELL", user->pw_shell, 1);
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    return 0;
}

int main(int argc, char **argv)
{
    const char *target = "root";
    const struct passwd *user = getpwuid(getuid());
    int option;

    if (!user || (getuid() != 0 && !may_sudo(user->pw_name))) {
        fprintf(stderr, "sudo: %s may not run sudo\n", user ? user->pw_name : "this user");
        return 1;
    }
    setenv("SUDO_USER", user->pw_name, 1);
    while ((option = getopt(argc, argv, "+nEHSisu:")) != -1) {
        if (option == 'u') {
            target = optarg;
        } else if (option == '?') {
            return 1;
        }
    }
    user = getpwnam(target);
    if (!user) {
        fprintf(stderr, "sudo: unknown user %s\n", target);
        return 1;
    }
    if (become(user) < 0) {
        return 1;
    }
    /* VAR=value before the command; ours go first, as the caller means them. */
    while (optind < argc && strchr(argv[optind], '=')) {
        putenv(argv[optind++]);
    }
    if (optind < argc) {
        execvp(argv[optind], argv + optind);
        perror(argv[optind]);
    } else {
        execl(user->pw_shell, user->pw_shell, (char *)NULL);
        perror(user->pw_shell);
    }
    return 127;
}
