/* SPDX-License-Identifier: MPL-2.0 */
/* Any bytes as user-data and as a script. What must hold: an answer, and a refusal with its reason.
 */
#include <stdint.h>
#include <stdlib.h>

#include "specs/base/error.h"
#include "specs/vmfile/guest_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error user_data = {.code = ERR_NONE}, script = {.code = ERR_NONE};
    const char *bytes = (const char *)data;
    int rc = guest_text_check_user_data(bytes, size, &user_data);
    if ((rc < 0) != (user_data.code == ERR_VMFILE_INVALID && user_data.message[0])) {
        abort();
    }
    rc = guest_text_check_script(bytes, size, &script);
    if ((rc < 0) != (script.code == ERR_VMFILE_INVALID && script.message[0])) {
        abort();
    }
    return 0;
}
