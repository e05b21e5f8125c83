/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_spec.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"

struct vm_spec *vm_spec_new(const char *name)
{
    /* Zeroed: the first value of each enum is its default. */
    struct vm_spec *spec = mem_new(struct vm_spec);
    spec->name = mem_strdup(name);
    spec->vcpus = SPEC_DEFAULT_VCPUS;
    spec->memory_mib = SPEC_DEFAULT_MEMORY_MIB;
    spec->ssh.user = mem_strdup(SPEC_DEFAULT_USER);
    spec->stop_timeout_s = SPEC_DEFAULT_STOP_TIMEOUT_S;
    for (int i = 0; i < CHECK_KIND_COUNT_; i++) {
        spec->checks[i] = (struct spec_check){
            .period_s = SPEC_DEFAULT_PERIOD_S,
            .timeout_s = SPEC_DEFAULT_PROBE_TIMEOUT_S,
            .failures = SPEC_DEFAULT_FAILURES,
        };
    }
    spec->checks[CHECK_LIVE].start_period_s = SPEC_DEFAULT_START_PERIOD_S;
    return spec;
}

static void free_probes(struct spec_check *check)
{
    for (size_t i = 0; i < check->n_probes; i++) {
        free(check->probes[i].text);
    }
    free(check->probes);
}

static void free_lists(struct vm_spec *spec)
{
    for (size_t i = 0; i < spec->n_steps; i++) {
        free(spec->steps[i].command);
        free(spec->steps[i].file.path);
        free(spec->steps[i].destination);
    }
    for (size_t i = 0; i < spec->n_depends_on; i++) {
        free(spec->depends_on[i]);
    }
    free(spec->steps);
    for (int i = 0; i < CHECK_KIND_COUNT_; i++) {
        free_probes(&spec->checks[i]);
    }
    free(spec->depends_on);
    free(spec->network.forwards);
}

void vm_spec_free(struct vm_spec *spec)
{
    if (!spec) {
        return;
    }
    free_lists(spec);
    free(spec->name);
    free(spec->image.location);
    free(spec->image.sha256);
    free(spec->network.bridge);
    free(spec->network.vnic);
    free(spec->cloud_init.hostname);
    free(spec->cloud_init.ssh_key.path);
    free(spec->cloud_init.user_data.path);
    free(spec->ssh.user);
    free(spec->ssh.private_key);
    free(spec);
}

static void copy_strings(struct vm_spec *copy)
{
    copy->name = mem_strdup(copy->name);
    copy->image.location = mem_strdup(copy->image.location);
    copy->image.sha256 = mem_strdup(copy->image.sha256);
    copy->network.bridge = mem_strdup(copy->network.bridge);
    copy->network.vnic = mem_strdup(copy->network.vnic);
    copy->cloud_init.hostname = mem_strdup(copy->cloud_init.hostname);
    copy->cloud_init.ssh_key.path = mem_strdup(copy->cloud_init.ssh_key.path);
    copy->cloud_init.user_data.path = mem_strdup(copy->cloud_init.user_data.path);
    copy->ssh.user = mem_strdup(copy->ssh.user);
    copy->ssh.private_key = mem_strdup(copy->ssh.private_key);
}

/* A copy with the capacity that mem_grow() takes an array of `n` to have, so that it can grow. */
static void *copy_array(const void *array, size_t n, size_t size)
{
    size_t capacity = 1;
    while (capacity < n) {
        capacity *= 2;
    }
    return n > 0 ? memcpy(mem_calloc(capacity, size), array, n * size) : NULL;
}

static void copy_probes(struct spec_check *copy)
{
    copy->probes = copy_array(copy->probes, copy->n_probes, sizeof(*copy->probes));
    for (size_t i = 0; i < copy->n_probes; i++) {
        copy->probes[i].text = mem_strdup(copy->probes[i].text);
    }
}

static void copy_lists(struct vm_spec *copy)
{
    copy->network.forwards = copy_array(
        copy->network.forwards, copy->network.n_forwards, sizeof(*copy->network.forwards));
    copy->steps = copy_array(copy->steps, copy->n_steps, sizeof(*copy->steps));
    for (size_t i = 0; i < copy->n_steps; i++) {
        copy->steps[i].command = mem_strdup(copy->steps[i].command);
        copy->steps[i].file.path = mem_strdup(copy->steps[i].file.path);
        copy->steps[i].destination = mem_strdup(copy->steps[i].destination);
    }
    for (int i = 0; i < CHECK_KIND_COUNT_; i++) {
        copy_probes(&copy->checks[i]);
    }
    copy->depends_on = copy_array(copy->depends_on, copy->n_depends_on, sizeof(*copy->depends_on));
    for (size_t i = 0; i < copy->n_depends_on; i++) {
        copy->depends_on[i] = mem_strdup(copy->depends_on[i]);
    }
}

struct vm_spec *vm_spec_copy(const struct vm_spec *spec)
{
    struct vm_spec *copy = mem_dup(spec, sizeof(*spec));
    copy_strings(copy);
    copy_lists(copy);
    return copy;
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool vm_spec_name_is_valid(const char *name)
{
    if (!name || !is_letter_or_digit(name[0])) {
        return false;
    }
    size_t n = 1;
    while (is_letter_or_digit(name[n]) || (name[n] && strchr("._-", name[n]))) {
        n++;
    }
    return name[n] == '\0' && n <= SPEC_NAME_MAX;
}

bool vm_spec_expects_ssh(const struct vm_spec *spec)
{
    return spec->network.mode != NETWORK_NONE &&
           (spec->ssh.is_set || spec->cloud_init.is_set || spec->n_steps > 0);
}

char *forward_lease_key(const struct spec_forward *forward)
{
    return mem_printf("%s/%u", forward_protocol_name(forward->protocol), forward->host_port);
}
