/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The secrets of provision steps that commands handed over: in memory alone, and gone with this
 * process. A command connects to DATA/secrets.sock (0600, in a directory of the user's own), sends
 * "VM\0KEY\0VALUE\0" for each, ends its side, and is answered "ok\n" once they are here; KEY is
 * that of spec_secret_key(). What a VM was handed before is replaced.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;
struct reconciler_host;
struct secrets;

struct secrets *secrets_new(void);
void secrets_free(struct secrets *secrets); /* NULL is fine */

/* Begins to listen for host->secrets; wakes the VMs that are handed some. -ERR_IO. */
int secrets_listen(struct reconciler_host *host, struct error *err);

/* Takes over what one command sent; false when it is not whole, and nothing was taken. */
bool secrets_take(struct secrets *secrets, const char *bytes, size_t n);

/* NULL: nobody has handed it over, or `secrets` is NULL. Borrowed until the next take or forget. */
const char *secrets_get(const struct secrets *secrets, const char *vm_name, const char *key);

void secrets_forget(struct secrets *secrets, const char *vm_name);
