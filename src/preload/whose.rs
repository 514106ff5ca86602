//! Whose image a file is: a save never takes the place of the image of another process that still runs.

use image::elf::{Ehdr, Phdr};
use image::format::{Head, OWNER, Whose, note};
use image::notes::NoteIter;
use image::number::take_hex;
use image::plain::read;
use image::stat::Stat;
use sys::Errno;
use sys::fd::{self, open_flag};
use sys::line::Line;

/// What an image says of a process of this moment.
#[inline(never)] // its buffers are off the stack again when it returns
pub fn of(pid: u32) -> Whose {
    Whose { pid, reserved: 0, start: running_since(pid).unwrap_or(0), boot: boot() }
}

/// Whether a process runs, and is another one than `own`.
pub fn is_another_that_runs(whose: &Whose, own: &Whose) -> bool {
    whose != own
        && whose.boot == own.boot
        && whose.start != 0
        && running_since(whose.pid) == Some(whose.start)
}

/// The process whose image an open file is; none when it is no image of this version.
#[inline(never)] // its buffers are off the stack again when it returns
pub fn of_image(file: i32) -> Option<Whose> {
    const NHDR: usize = 12 + 8;
    const FRONT: usize = NHDR + size_of::<Head>() + NHDR + size_of::<Whose>();
    let mut buf = [0; FRONT];
    let len = fd::read_at(file, buf.get_mut(..size_of::<Ehdr>())?, 0).ok()?;
    let ehdr: Ehdr = read(buf.get(..len)?, 0)?;
    let len = fd::read_at(file, buf.get_mut(..size_of::<Phdr>())?, ehdr.e_phoff).ok()?;
    let notes: Phdr = read(buf.get(..len)?, 0)?;
    let len = fd::read_at(file, &mut buf, notes.p_offset).ok()?;
    let mut notes = NoteIter::new(buf.get(..len)?);
    let is_ours = notes.next().is_some_and(|first| first.owner == OWNER && first.kind == note::HEAD);
    let whose =
        notes.next().filter(|second| is_ours && second.owner == OWNER && second.kind == note::WHOSE)?;
    read(whose.desc, 0)
}

/// When a process that has not ended was started ([`Whose::start`]).
fn running_since(pid: u32) -> Option<u64> {
    let mut path = Line::<32>::new();
    path.text("/proc/").dec(u64::from(pid)).text("/stat\0");
    let mut text = [0; 1024];
    let stat = Stat::parse(small_file(path.as_bytes(), &mut text).ok()?)?;
    (!matches!(stat.state, b'Z' | b'X')).then_some(stat.starttime)
}

/// [`Whose::boot`]; zeros where it is not told.
fn boot() -> [u64; 2] {
    let mut text = [0; 64];
    let Ok(text) = small_file(b"/proc/sys/kernel/random/boot_id\0", &mut text) else { return [0; 2] };
    let digits = text.iter().filter_map(|byte| take_hex(core::slice::from_ref(byte)));
    let number = digits.fold(0u128, |number, (digit, _)| number << 4 | u128::from(digit));
    [(number >> 64) as u64, number as u64]
}

fn small_file<'b>(path: &[u8], buf: &'b mut [u8]) -> sys::Result<&'b [u8]> {
    let file = fd::open_at(fd::AT_FDCWD, path, open_flag::RDONLY | open_flag::CLOEXEC, 0)?;
    let len = fd::read(file, buf);
    let _ = fd::close(file);
    buf.get(..len?).ok_or(Errno::EINVAL)
}
