/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Files of the host that the guest will read as a program or a configuration: found here is what
 * would go wrong there without a word, after a boot. Pure. A failure is -ERR_VMFILE_INVALID with
 * the reason, the line where there is one, and a help.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;

enum { GUEST_TEXT_MAX = 16 << 20 }; /* bytes of user-data */

/*
 * Whether cloud-init reads these bytes as user-data (docs.cloudinit.io, "User-data formats"): a
 * first line that it knows, or MIME, or gzip (which is not unpacked here); a cloud-config, also one
 * within MIME, must be YAML and a mapping. Stricter than cloud-init in one place: blanks before the
 * first line are refused, as its documentation has it, because not every version ignores them.
 */
int guest_text_check_user_data(const char *bytes, size_t n, struct error *err);

/* Whether cloud-init takes the bytes, which are no gzip, for MIME: it looks for the header's
 * "MIME-Version:" near the beginning. */
bool guest_text_is_mime(const char *bytes, size_t n);

/* Whether they are YAML, and a mapping, as cloud-init's network-config is. */
int guest_text_check_mapping(const char *bytes, size_t n, struct error *err);

/* Whether the guest can start these bytes as a program: of a text the first line decides, which the
 * kernel or the shell takes with its byte order mark and its carriage return. */
int guest_text_check_script(const char *bytes, size_t n, struct error *err);
