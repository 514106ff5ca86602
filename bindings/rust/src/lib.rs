#![doc = include_str!("../README.md")]

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::fmt;

/// How [`checkpoint`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The image is complete, and this is the process that was saved.
    Saved,
    /// This is a process that was restarted from the image.
    Restarted,
}

/// Why there is no image. The program runs on, and an earlier image is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotSaved {
    /// libckpt.so is not loaded.
    NotLoaded,
    /// The save was refused or failed: libckpt.so has written the reason to standard error.
    Failed,
}

impl fmt::Display for NotSaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLoaded => "libckpt.so is not loaded; run the program with: ckpt run PROGRAM",
            Self::Failed => "the process was not saved; see its standard error",
        })
    }
}

impl std::error::Error for NotSaved {}

/// The address of a function that is loaded into this process, or null.
fn symbol(name: &CStr) -> *mut c_void {
    // SAFETY: dlsym(3) takes a string, and looks in everything that is loaded, preloaded libraries included.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

/// Whether libckpt.so is loaded into this process, so that it can be saved.
pub fn is_loaded() -> bool {
    !symbol(c"ckpt_checkpoint").is_null()
}

/// Saves this process, and returns when the image is complete. Returns again in each process that is restarted from the image, with another value.
///
/// What the program has buffered for output is written by every process that returns: flush it before. Random generators go on with the same
/// numbers in all of them.
///
/// # Errors
///
/// When there is no image.
pub fn checkpoint() -> Result<Outcome, NotSaved> {
    let function = symbol(c"ckpt_checkpoint");
    if function.is_null() {
        return Err(NotSaved::NotLoaded);
    }
    // SAFETY: the function of that name is `int ckpt_checkpoint(void)` (ckpt.h).
    let function = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(function) };
    match function() {
        0 => Ok(Outcome::Saved),
        1 => Ok(Outcome::Restarted),
        _ => Err(NotSaved::Failed),
    }
}

/// How often this process has been restarted from an image: 0 in one that was started afresh.
pub fn restarts() -> u32 {
    let function = symbol(c"ckpt_restarts");
    if function.is_null() {
        return 0;
    }
    // SAFETY: the function of that name is `unsigned int ckpt_restarts(void)` (ckpt.h).
    let function = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_uint>(function) };
    function()
}

/// Has `signal` sent to this process after each restart from now on, before any of its threads goes on; 0: none. Random generators can be seeded anew by whoever takes it. Returns
/// what was set before: 0, or a signal.
///
/// # Errors
///
/// [`NotSaved::NotLoaded`]; [`NotSaved::Failed`] when `signal` is none.
pub fn after_restart(signal: i32) -> Result<i32, NotSaved> {
    let function = symbol(c"ckpt_after_restart");
    if function.is_null() {
        return Err(NotSaved::NotLoaded);
    }
    // SAFETY: the function of that name is `int ckpt_after_restart(int)` (ckpt.h).
    let function = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(c_int) -> c_int>(function) };
    match function(signal) {
        -1 => Err(NotSaved::Failed),
        before => Ok(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_library_nothing_is_saved() {
        assert!(!is_loaded());
        assert_eq!(checkpoint(), Err(NotSaved::NotLoaded));
        assert_eq!(restarts(), 0);
        assert_eq!(after_restart(10), Err(NotSaved::NotLoaded));
    }
}
