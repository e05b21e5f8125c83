/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The user's terminal in raw mode (termios(3), cfmakeraw), and back, whatever ends the program: the
 * caller, exit(), or a crash. Only SIGKILL leaves the terminal raw. One terminal at a time.
 */
#pragma once

#include <stdbool.h>

struct error;

/* What is not a terminal is left alone; that is not an error. -ERR_IO. */
int raw_mode_enter(int fd, struct error *err);

/* Around being stopped: as it was before, and raw again (also after another program has set it). */
void raw_mode_pause(void);
void raw_mode_renew(void);

/* As it was before raw_mode_enter(). Again, or without having entered: nothing. */
void raw_mode_leave(void);

/*
 * Undoes on the terminal at `fd` what a guest's program that did not end left behind: colours, a
 * hidden cursor, the alternate screen, a scroll region, mouse and paste reports (ECMA-48, xterm's
 * ctlseqs). Never moves the cursor. Only where `fd` is a terminal that takes output now.
 */
void raw_mode_reset_screen(int fd);
