/* SPDX-License-Identifier: MPL-2.0 */
#include <stdio.h>

int main(void)
{
    puts("built in a VM");
    return 0;
}
