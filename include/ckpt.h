/* ckpt.h - checkpoints that a program asks for itself; see ckpt_checkpoint(3).
 *
 * No library needs to be linked: the functions are there when the program runs with libckpt.so preloaded (ckpt run, LD_PRELOAD),
 * and their addresses are null when it does not. Programs that link with -lckpt always have them.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef CKPT_H
#define CKPT_H

#ifdef __cplusplus
extern "C" {
#endif

/* Saves the process, and returns
 *
 *    0  when the image is complete,
 *    1  in a process that was restarted from it,
 *   -1  when there is no image; one line on standard error says why.
 */
int ckpt_checkpoint(void) __attribute__((weak));

/* How often this process has been restarted: 0 in one that was started afresh. */
unsigned int ckpt_restarts(void) __attribute__((weak));

/* Sends SIGNAL to the process after each restart from now on, before it goes on; 0: none. To seed random generators again, for instance, in the handler or in
 * a thread that waits for it. Returns what was set before: 0, or a signal; or -1 when SIGNAL is none. */
int ckpt_after_restart(int signal) __attribute__((weak));

/* Whether libckpt.so is loaded, so that the functions may be called. */
static inline int ckpt_is_loaded(void)
{
    return ckpt_checkpoint != 0 && ckpt_restarts != 0;
}

#ifdef __cplusplus
}
#endif

#endif
