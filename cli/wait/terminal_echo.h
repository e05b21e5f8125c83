/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A terminal that does not show what is typed while something is redrawn on it, and shows it again
 * whatever ends or stops the program: the caller, exit(), Ctrl-Z, a signal. Only SIGKILL and a
 * fault leave it as it is. One terminal at a time. In the background nothing is changed: that would
 * stop us.
 */
#pragma once

/* What is not a terminal, or shows nothing anyway, is left alone. */
void terminal_echo_off(int fd);

/* As it was before. Again, or without terminal_echo_off(): nothing. */
void terminal_echo_on(void);
