//! Counts the signals that it gets through signal-hook, whose handler calls the one that was there before: libckpt's. Ends when the file "stop" is there.

use signal_hook::consts::SIGUSR2;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

fn main() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    // SAFETY: it changes an atomic number.
    let hook = unsafe {
        signal_hook::low_level::register(SIGUSR2, move || {
            counter.fetch_add(1, Ordering::SeqCst);
        })
    };
    hook.unwrap();
    fs::write("begun", "").unwrap();
    while !Path::new("stop").exists() {
        sleep(Duration::from_millis(5));
    }
    println!("{} signals", count.load(Ordering::SeqCst));
}
