//! The process and its attributes.

use crate::call::sc;

/// exit_group(2): ends every thread of the process.
pub fn exit_group(code: i32) -> ! {
    loop {
        // SAFETY: no memory is involved; the call does not return.
        let _ = unsafe { sc!(exit_group, code) };
    }
}
