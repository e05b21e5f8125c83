/* SPDX-License-Identifier: MPL-2.0 */
/* The answers of mount_volumes.sh. Written by a guest: of any content. */
#pragma once

struct error;
struct mount_result;

/* Of one that succeeded: "user 1000:1000", and "note TEXT" for each thing to be known. */
void mount_report_read(const char *answer, struct mount_result *result);

/* Of one that failed, with this exit status: it says why. ERR_SHARE: of a shared folder, ERR_MOUNT.
 */
void mount_report_fail(const char *answer, int status, const char *vm_name, struct error *err);
