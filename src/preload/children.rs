//! Processes that the target has started. None of them is in the image, and a restarted program that waits for one takes the error for an answer.
//!
//! Whether there is any, the target's own thread asks the kernel ([`process::has_any_child`]): a fraction of a microsecond. Only where there is one, `/proc` is
//! read for its name.

use crate::config;
use crate::helper::{Job, Stop};
use crate::message::{Child, Failure};
use crate::report::Report;
use crate::scratch::Growing;
use image::number::decimal;
use image::stat::Stat;
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::process;
use sys::signal::sig;

/// Refuses a child that the image would lack, unless `CKPT_CHILDREN` says otherwise.
#[inline(never)] // its buffers are off the stack again when it returns
pub fn check(job: &Job, report: &mut Report) -> Result<(), Stop> {
    if job.process.has_children == Some(false) || config::get().ignores_children {
        return Ok(());
    }
    let mut result = Ok(());
    let mut any = false;
    each_child(job.pid, &mut |pid| {
        if result.is_ok()
            && !is_ours(job, pid)
            && let Some(found) = look(pid)
        {
            any = true;
            let child = if found.has_ended { Child::Ended } else { Child::Lives };
            result = report.refuse(Failure::Child(pid, found.comm, child));
        }
    });
    if !any && job.process.has_children == Some(true) {
        result = report.refuse(Failure::Child(0, [0; 16], Child::Unseen));
    }
    result
}

/// Ends everything that the target has started, and what that has started: called when the target is about to end, because it was saved.
#[inline(never)] // its buffers are off the stack again when it returns
pub fn end(job: &Job) {
    if job.process.has_children == Some(false) {
        return;
    }
    // All are stopped first: one that is killed hands its own children over to somebody else, and one that runs starts more.
    let mut all = Growing::<u32>::new();
    loop {
        let before = all.len();
        let mut next = 0;
        let mut parent = job.pid;
        loop {
            each_child(parent, &mut |pid| {
                if !is_ours(job, pid) && !all.contains(&pid) && all.push(pid).is_ok() {
                    process::send(pid, sig::STOP);
                }
            });
            let Some(child) = all.get(next) else { break };
            parent = *child;
            next += 1;
        }
        if all.len() == before {
            break;
        }
    }
    all.iter().for_each(|pid| process::kill(*pid));
}

/// Whether a child is the helper.
fn is_ours(job: &Job, pid: u32) -> bool {
    job.is_helper && pid == process::pid()
}

/// What is known of a process.
struct Found {
    parent: u32,
    has_ended: bool,
    comm: [u8; 16],
}

fn look(pid: u32) -> Option<Found> {
    let mut path = Line::<64>::new();
    path.text("/proc/").dec(u64::from(pid)).text("/stat\0");
    let file = fd::open_at(fd::AT_FDCWD, path.as_bytes(), open_flag::RDONLY | open_flag::CLOEXEC, 0).ok()?;
    let mut text = [0; 1024];
    let len = fd::read(file, &mut text);
    let _ = fd::close(file);
    let stat = Stat::parse(text.get(..len.ok()?)?)?;
    let mut comm = [0; 16];
    comm.iter_mut().zip(stat.comm).for_each(|(to, from)| *to = *from);
    Some(Found { parent: stat.ppid, has_ended: matches!(stat.state, b'Z' | b'X'), comm })
}

/// Calls `see` with each number that is a name in a folder of `/proc`.
fn each_number(path: &[u8], see: &mut dyn FnMut(u32)) {
    let flags = open_flag::RDONLY | open_flag::DIRECTORY | open_flag::CLOEXEC;
    let Ok(dir) = fd::open_at(fd::AT_FDCWD, path, flags, 0) else { return };
    let mut buf = [0; 4096];
    while let Ok(len) = fd::read_dir(dir, &mut buf)
        && len > 0
    {
        fd::dir_names(buf.get(..len).unwrap_or_default())
            .filter_map(|name| u32::try_from(decimal(name)?).ok())
            .for_each(&mut *see);
    }
    let _ = fd::close(dir);
}

/// Calls `see` with the id of each child of each thread of a process.
fn each_child(pid: u32, see: &mut dyn FnMut(u32)) {
    let mut has_lists = false;
    let mut tasks = Line::<64>::new();
    tasks.text("/proc/").dec(u64::from(pid)).text("/task\0");
    each_number(tasks.as_bytes(), &mut |tid| {
        let mut path = Line::<64>::new();
        path.text("/proc/").dec(u64::from(pid)).text("/task/").dec(u64::from(tid)).text("/children\0");
        has_lists |= each_in_list(path.as_bytes(), see);
    });
    if !has_lists {
        // A kernel without CONFIG_PROC_CHILDREN.
        each_number(b"/proc\0", &mut |other| {
            if look(other).is_some_and(|found| found.parent == pid) {
                see(other);
            }
        });
    }
}

/// Calls `see` with each number of a list with blanks between them; tells whether there is a list.
fn each_in_list(path: &[u8], see: &mut dyn FnMut(u32)) -> bool {
    let flags = open_flag::RDONLY | open_flag::CLOEXEC;
    let Ok(list) = fd::open_at(fd::AT_FDCWD, path, flags, 0) else { return false };
    let mut buf = [0; 1024];
    // A number may go on in the next piece.
    let mut number = None;
    while let Ok(len) = fd::read(list, &mut buf)
        && len > 0
    {
        for &byte in buf.iter().take(len) {
            if byte.is_ascii_digit() {
                number = Some(number.unwrap_or(0u32).wrapping_mul(10).wrapping_add(u32::from(byte - b'0')));
            } else if let Some(number) = number.take() {
                see(number);
            }
        }
    }
    let _ = fd::close(list);
    number.into_iter().for_each(see);
    true
}
