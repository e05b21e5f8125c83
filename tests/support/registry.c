/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/support/registry.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

/* bcrypt of REGISTRY_PASSWORD, as `htpasswd -nbB` makes it: the only hash the registry takes. */
static const char htpasswd[] =
    "tester:$2y$05$GFGy9rwBDQGokYtwPmk0xuNNCBj4JMPEETXOpSEq8NkCXKb0aiiq2\n";

struct registry {
    pid_t pid;
    uint16_t port;
    bool has_login;
};

static uint16_t free_port(void)
{
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        abort();
    }
    return ntohs(address.sin_port);
}

static void write_text(const char *path, const char *text)
{
    struct error err = {0};
    if (fs_write_file(path, text, strlen(text), 0600, &err) < 0) {
        abort();
    }
}

static char *write_config(const struct registry *registry, const char *dir)
{
    cleanup_free char *passwords = fs_join(dir, "htpasswd");
    cleanup_free char *auth =
        mem_printf("auth:\n  htpasswd:\n    realm: test\n    path: %s\n", passwords);
    cleanup_free char *text = mem_printf("version: 0.1\nlog:\n  level: error\n"
                                         "storage:\n  filesystem:\n    rootdirectory: %s/storage\n"
                                         "http:\n  addr: 127.0.0.1:%u\n  secret: test\n%s",
        dir, registry->port, registry->has_login ? auth : "");
    char *path = fs_join(dir, "registry.yml");
    write_text(passwords, htpasswd);
    write_text(path, text);
    return path;
}

static bool accepts(const struct registry *registry)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons(registry->port)};
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* True once it accepts; false when it ended or 20 s have gone. */
static bool is_up(const struct registry *registry)
{
    for (int i = 0; i < 2000; i++) {
        if (accepts(registry)) {
            return true;
        }
        if (waitpid(registry->pid, NULL, WNOHANG) == registry->pid) {
            return false;
        }
        (void)poll(NULL, 0, 10);
    }
    return false;
}

static void be_registry(const char *config, const char *log)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves nothing behind */
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execlp("docker-registry", "docker-registry", "serve", config, (char *)NULL);
    _exit(127);
}

struct registry *registry_start(const char *dir, bool has_login)
{
    struct registry *registry = mem_new(struct registry);
    registry->port = free_port();
    registry->has_login = has_login;
    cleanup_free char *config = write_config(registry, dir);
    cleanup_free char *log = fs_join(dir, "registry.log");
    registry->pid = fork();
    if (registry->pid == 0) {
        be_registry(config, log);
    }
    if (registry->pid < 0 || !is_up(registry)) {
        free(registry);
        return NULL;
    }
    return registry;
}

void registry_stop(struct registry *registry)
{
    if (registry) {
        kill(registry->pid, SIGTERM); /* our child, not reaped yet: the pid is its own */
        waitpid(registry->pid, NULL, 0);
        free(registry);
    }
}

uint16_t registry_port(const struct registry *registry)
{
    return registry->port;
}

/* ---- pushing ---- */

static size_t swallow(char *bytes, size_t size, size_t count, void *context)
{
    (void)bytes;
    (void)context;
    return size * count;
}

static CURL *easy_for(const struct registry *registry, const char *method, const char *url)
{
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, swallow);
    if (registry->has_login) {
        curl_easy_setopt(easy, CURLOPT_USERPWD, REGISTRY_USER ":" REGISTRY_PASSWORD);
    }
    return easy;
}

static long perform(CURL *easy, const char *type, const void *bytes, size_t n)
{
    long status = 0;
    cleanup_free char *line = mem_printf("Content-Type: %s", type);
    struct curl_slist *headers = curl_slist_append(NULL, line);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, bytes);
    (void)curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    return status;
}

static char *base_url(const struct registry *registry, const char *repository)
{
    return mem_printf("http://127.0.0.1:%u/v2/%s", registry->port, repository);
}

void registry_push_blob(struct registry *registry, const char *repository, const void *bytes,
    size_t n, char ret_digest[DIGEST_SIZE])
{
    cleanup_free char *base = base_url(registry, repository);
    cleanup_free char *begin = mem_printf("%s/blobs/uploads/", base);
    struct curl_header *location = NULL;
    digest_bytes(bytes, n, ret_digest);
    CURL *easy = easy_for(registry, "POST", begin);
    if (perform(easy, "application/octet-stream", "", 0) != 202 ||
        curl_easy_header(easy, "Location", 0, CURLH_HEADER, -1, &location) != CURLHE_OK) {
        abort();
    }
    cleanup_free char *url = mem_printf("%s&digest=sha256:%s", location->value, ret_digest);
    curl_easy_cleanup(easy);
    easy = easy_for(registry, "PUT", url);
    if (perform(easy, "application/octet-stream", bytes, n) != 201) {
        abort();
    }
    curl_easy_cleanup(easy);
}

long registry_push_manifest(struct registry *registry, const char *repository, const char *target,
    const char *media_type, const char *text)
{
    cleanup_free char *base = base_url(registry, repository);
    cleanup_free char *url = mem_printf("%s/manifests/%s", base, target);
    CURL *easy = easy_for(registry, "PUT", url);
    long status = perform(easy, media_type, text, strlen(text));
    curl_easy_cleanup(easy);
    return status;
}
