//! A model of the address space of a process: what the memory calls of a plan do to it. Stricter than the kernel where a plan must never go:
//! no call may touch what it was not meant to.

use restart::op::{COPY, Op};
use std::collections::BTreeMap;
use sys::Sysno;
use sys::fd::IoVec;
use sys::memory::{map, prot};

pub const PAGE: u64 = 4096;

/// What is in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Every byte is this.
    Fill(u8),
    /// This page of the file of this descriptor.
    File(i32, u64),
    /// The page that was at this address when the plan began: of the restarter, the vdso.
    Present(u64),
    /// The patched vdso.
    Copied,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub contents: Contents,
    pub prot: u32,
}

/// The process.
pub struct Kernel<'a> {
    /// Pages by address.
    pub pages: BTreeMap<u64, Page>,
    /// The image, which is descriptor 3.
    pub image: &'a [u8],
    /// Memory of the test itself, which stands for the hole: addresses that calls may read and write.
    pub arena: core::ops::Range<u64>,
}

impl Kernel<'_> {
    fn range(start: u64, len: u64) -> impl Iterator<Item = u64> {
        assert!(
            start.is_multiple_of(PAGE) && len.is_multiple_of(PAGE) && len > 0,
            "{start:#x}, {len:#x} are no pages"
        );
        (start..start + len).step_by(PAGE as usize)
    }

    fn map(&mut self, [address, len, prot, flags, fd, offset]: [u64; 6], result: u64) {
        assert_eq!(result, address, "mmap returns another address");
        let flags = flags as u32;
        for (index, page) in Self::range(address, len).enumerate() {
            let contents = if flags & map::ANONYMOUS != 0 {
                Contents::Fill(0)
            } else {
                Contents::File(fd as i32, offset + index as u64 * PAGE)
            };
            let before = self.pages.insert(page, Page { contents, prot: prot as u32 });
            let may_replace = flags & (map::FIXED | map::FIXED_NOREPLACE) == map::FIXED;
            assert_eq!(before.is_some(), may_replace, "{page:#x}: {before:?}");
        }
    }

    fn read(&mut self, [_, list, count, offset, ..]: [u64; 6], result: u64) {
        // SAFETY: the plan made the list, in the arena.
        let pieces = unsafe { core::slice::from_raw_parts(list as *const IoVec, count as usize) };
        let mut offset = offset as usize;
        for piece in pieces {
            if !self.arena.contains(&(piece.base as u64)) {
                for page in Self::range(piece.base as u64, piece.len as u64) {
                    let at = offset + (page - piece.base as u64) as usize;
                    let fill = self.image[at];
                    assert!(self.image[at..at + PAGE as usize].iter().all(|byte| *byte == fill));
                    let page = self.pages.get_mut(&page).expect("memory that is mapped");
                    assert!(page.prot & prot::WRITE != 0, "memory that may be written");
                    assert!(!matches!(page.contents, Contents::Present(_)), "the restarter's own memory");
                    page.contents = Contents::Fill(fill);
                }
            }
            offset += piece.len;
        }
        assert_eq!(pieces.iter().map(|piece| piece.len as u64).sum::<u64>(), result);
    }

    /// Does what `op` does.
    pub fn call(&mut self, op: &Op) {
        if op.nr == COPY {
            let [to, _, len, ..] = op.args;
            let page = self.pages.get_mut(&to).expect("memory that is mapped");
            assert!(page.prot & prot::WRITE != 0 && len <= PAGE, "{page:?}, {len:#x}");
            page.contents = Contents::Copied;
            return;
        }
        let [address, len, third, ..] = op.args;
        let nr = op.sysno().expect("a system call");
        match nr {
            Sysno::mmap => self.map(op.args, op.expect),
            Sysno::munmap => {
                for page in Self::range(address, len) {
                    let gone = self.pages.remove(&page).expect("memory that is mapped");
                    assert!(matches!(gone.contents, Contents::Present(_)), "only the restarter goes");
                }
            }
            Sysno::mremap => {
                let to = op.args[4];
                assert_eq!((len, op.args[3], op.expect), (third, 3, to));
                for page in Self::range(address, len) {
                    let moved = self.pages.remove(&page).expect("memory that is mapped");
                    let before = self.pages.insert(page - address + to, moved);
                    assert_eq!(before, None, "mremap would destroy what is at {:#x}", page - address + to);
                }
            }
            Sysno::mprotect if !self.arena.contains(&address) => {
                for page in Self::range(address, len) {
                    self.pages.get_mut(&page).expect("memory that is mapped").prot = third as u32;
                }
            }
            Sysno::preadv => self.read(op.args, op.expect),
            Sysno::madvise | Sysno::mlock2 | Sysno::mseal => {
                assert!(Self::range(address, len).all(|page| self.pages.contains_key(&page)));
            }
            _ => {}
        }
    }
}
