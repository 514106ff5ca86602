//! The constructor.

use crate::descriptors::inherited;
use crate::{arrival, config};
use sys::signal::{self, Action, sa};

ctor::declarative::ctor! {
    /// Installs the handler: one system call. The dynamic linker calls this before `main`.
    #[ctor(unsafe)]
    fn start() {
        // SAFETY: this is the constructor, and nothing of this crate has run.
        if !unsafe { config::read() } {
            return;
        }
        inherited::note();
        // SAFETY: `ckpt_entry` keeps everything that it interrupts, and the restorer calls rt_sigreturn.
        let _ = unsafe { signal::set_action(config::get().signal, &action()) };
    }
}

/// The action of the checkpoint signal: every other signal waits, and an alternate stack is used where there is one, because the
/// program may be near the end of its own.
pub fn action() -> Action {
    Action {
        handler: arrival::ckpt_entry as *const () as usize,
        flags: sa::SIGINFO | sa::RESTORER | sa::ONSTACK | sa::RESTART,
        restorer: arrival::ckpt_restorer as *const () as usize,
        mask: u64::MAX,
    }
}
