/* SPDX-License-Identifier: MPL-2.0 */
/* The words of vm_spec's enums, as a VMFile, the store and the command line write them. */
#pragma once

#include <stddef.h>

struct word_list {
    const char *const *words; /* indexed by the enum's values */
    size_t count;
};

/* The value a word stands for, or -1 when it is none of the list (or NULL). */
int word_list_find(const struct word_list *list, const char *word);

extern const struct word_list backend_kind_words;
extern const struct word_list image_kind_words;
extern const struct word_list network_mode_words;
extern const struct word_list forward_protocol_words;
extern const struct word_list accel_mode_words;
extern const struct word_list firmware_words;
extern const struct word_list seed_bus_words;
extern const struct word_list restart_policy_words;
extern const struct word_list step_kind_words;
extern const struct word_list step_run_words;
extern const struct word_list probe_kind_words;
extern const struct word_list check_kind_words;
