//! `ckpt run` in an interactive shell.

use super::Ckpt;
use harness::{User, wait};
use nix::pty::openpty;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

/// A bash on a terminal of its own.
struct Terminal {
    shell: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    fn new(ckpt: &Ckpt) -> Self {
        let pty = openpty(None, None).unwrap();
        let slave = File::from(pty.slave);
        let mut command = Command::new("/bin/bash");
        command.args(["--norc", "--noediting", "-i"]).current_dir(ckpt.place.cwd()).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("PS1", "> ").env("TERM", "dumb");
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        // SAFETY: two system calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                if libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let shell = command.spawn().unwrap();
        // The command holds the slave's descriptors: they must go, or the end of the shell is not seen.
        drop(command);
        let master = File::from(pty.master);
        let (mut reader, keyboard) = (master.try_clone().unwrap(), master);
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut buf = [0; 1024];
            while let Ok(len @ 1..) = reader.read(&mut buf) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&buf[..len]));
            }
        });
        assert!(keyboard.as_raw_fd() > 2);
        let mut terminal = Self { shell, keyboard, screen };
        terminal.sees("> ");
        terminal
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` shows up behind everything that was looked at before.
    #[track_caller]
    fn sees(&mut self, text: &str) {
        let seen = wait(|| {
            let mut screen = self.screen.lock().unwrap();
            let at = screen.find(text)?;
            screen.drain(..at + text.len());
            Some(())
        });
        assert!(seen.is_some(), "no {text:?} in {:?}", self.screen.lock().unwrap());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The hang-up of the terminal ends what still runs there.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[test]
fn keys_of_the_terminal_stop_continue_and_interrupt() {
    let ckpt = Ckpt::new(User::Myself);
    let command = ckpt.place.artifact(harness::Artifact::Command);
    for way in ["", "--every 1h"] {
        let mut terminal = Terminal::new(&ckpt);
        // Counts interrupts, so that one that came twice is seen.
        let script = r#"n=0; trap "n=\$((n+1)); echo int \$n" INT; trap "exit 9" QUIT; trap "echo goes on" CONT; echo up; while :; do sleep 0.05; done"#;
        terminal.types(&format!("{} run {way} bash -c '{script}'\n", command.display()));
        terminal.sees("\nup");
        terminal.types("\x03");
        terminal.sees("int 1");
        terminal.types("\x1a");
        terminal.sees("Stopped");
        terminal.types("jobs -l; echo j-$?\n");
        terminal.sees("Stopped");
        terminal.sees("j-0");
        terminal.types("fg\n");
        // Only now has it the terminal.
        terminal.sees("\ngoes on");
        terminal.types("\x03");
        terminal.sees("int 2");
        terminal.types("\x1a");
        terminal.sees("Stopped");
        terminal.types("bg\n");
        terminal.sees("&");
        terminal.types("kill -QUIT %1; wait %1; echo w-$?\n");
        terminal.sees("w-9");
        terminal.types("exit\n");
    }
}

#[test]
fn a_program_reads_the_terminal() {
    let ckpt = Ckpt::new(User::Myself);
    let command = ckpt.place.artifact(harness::Artifact::Command);
    for way in ["", "--every 1h"] {
        let mut terminal = Terminal::new(&ckpt);
        terminal.types(&format!("{} run {way} cat\n", command.display()));
        terminal.sees("cat\r\n");
        terminal.types("some words\n");
        terminal.sees("some words\r\nsome words\r\n");
        terminal.types("\x04");
        terminal.sees("> ");
        // In the background it is stopped when it reads, and can be brought back.
        terminal.types(&format!("{} run {way} cat &\n", command.display()));
        terminal.types("until jobs -s | grep -q .; do :; done; echo stopped-$((1+1))\n");
        terminal.sees("stopped-2");
        terminal.sees("> ");
        terminal.types("fg\n");
        terminal.sees("cat\r\n");
        terminal.types("more words\n");
        terminal.sees("more words\r\nmore words\r\n");
        terminal.types("\x04exit\n");
    }
}
