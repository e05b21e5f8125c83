/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Explains from the console why a guest refuses a login or has another host key: cloud-init prints
 * its warnings there, the users it gave keys to, that it has finished, and the source of its
 * configuration. The result only explains an error to users, and decides when to stop waiting for a
 * port that nothing listens on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;

struct console_words {
    bool has_begun;      /* cloud-init printed something in the newest boot */
    bool is_through;     /* … that it has finished */
    bool is_seedless;    /* … without a seed, or whatever else configures it */
    char complaint[240]; /* its first warning, "" none */
    char users[120];     /* "'debian', 'root'": those it set keys up for, "" none */
};

/* Pure. `text` may hold several boots; the newest begins at the kernel's last "Linux version" or
 * "reboot: …", or where cloud-init's first stage began. */
void console_words_find(const char *text, size_t n, struct console_words *ret);

/* The same for the end of a file; nothing is found when it cannot be read. */
void console_words_read(const char *path, struct console_words *ret);

/* Appends "; …", the explanation why `user` was refused, or nothing. `seed`: the bus of the VM's
 * seed, as the VMFile writes it; NULL: it has none. */
void console_words_explain(
    const struct console_words *words, const char *user, const char *seed, struct buf *out);
