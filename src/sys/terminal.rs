//! Terminals (ioctl_tty(2)).

use crate::Result;
use crate::call::sc;

/// `struct termios2` (include/uapi/asm-generic/termbits.h) as bytes.
pub type Modes = [u8; 44];

/// `struct winsize`: rows, columns, width and height in pixels.
pub type Window = [u16; 4];

/// `TCGETS2`: the modes.
pub fn modes(fd: i32) -> Result<Modes> {
    const TCGETS2: u32 = 0x802c_542a;
    let mut modes = [0; 44];
    // SAFETY: the kernel writes one `struct termios2`.
    unsafe { sc!(ioctl, fd, TCGETS2, modes.as_mut_ptr()) }?;
    Ok(modes)
}

/// `TIOCGWINSZ`: the size of the window.
pub fn window(fd: i32) -> Result<Window> {
    const TIOCGWINSZ: u32 = 0x5413;
    let mut window = [0; 4];
    // SAFETY: the kernel writes one `struct winsize`.
    unsafe { sc!(ioctl, fd, TIOCGWINSZ, window.as_mut_ptr()) }?;
    Ok(window)
}

/// `TIOCGPGRP`: the foreground process group.
///
/// # Errors
///
/// `ENOTTY` when it is not the controlling terminal of the caller.
pub fn foreground_group(fd: i32) -> Result<u32> {
    const TIOCGPGRP: u32 = 0x540f;
    let mut group = 0u32;
    // SAFETY: the kernel writes one `pid_t`.
    unsafe { sc!(ioctl, fd, TIOCGPGRP, &raw mut group) }?;
    Ok(group)
}

/// `TIOCSPGRP`: makes `group` the foreground process group. A caller that is not in the foreground blocks SIGTTOU.
pub fn set_foreground_group(fd: i32, group: u32) {
    const TIOCSPGRP: u32 = 0x5410;
    // SAFETY: the kernel reads one `pid_t`.
    let _ = unsafe { sc!(ioctl, fd, TIOCSPGRP, &raw const group) };
}

/// `TIOCNOTTY`: the caller, which leads no session, has no controlling terminal any more.
pub fn give_up(fd: i32) {
    const TIOCNOTTY: u32 = 0x5422;
    // SAFETY: no memory is involved.
    let _ = unsafe { sc!(ioctl, fd, TIOCNOTTY) };
}
