//! What `/proc/self/smaps` says beyond `maps` (`man 5 proc_pid_smaps`; fs/proc/task_mmu.c, `show_smap`). Each region is a line as in
//! `maps`, then lines of fields.

use crate::fields::{field, kilobytes};
use crate::format::region_flag;
use crate::number::decimal;

/// What the `VmFlags` line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmFlags {
    /// [`region_flag`]s.
    pub region: u32,
    /// Bits of [`trait_flag`]: what a region has that [`region_flag`] has no word for.
    pub traits: u32,
}

/// Bits of [`VmFlags::traits`].
pub mod trait_flag {
    /// Memory of a device (pf, io): reading it may do something.
    pub const DEVICE: u32 = 1;
    /// Huge pages of hugetlbfs (ht).
    pub const HUGETLB: u32 = 1 << 1;
    /// Watched by userfaultfd(2) (um, uw, ui).
    pub const USERFAULT: u32 = 1 << 2;
    /// Shadow stack (ss).
    pub const SHADOW_STACK: u32 = 1 << 3;
    /// May not be grown by mremap(2) (de).
    pub const DONTEXPAND: u32 = 1 << 4;
    /// Pages and page frames mixed (mm): memory of a device with pages.
    pub const MIXED: u32 = 1 << 5;
    /// Accounted as private writable memory (ac).
    pub const ACCOUNTED: u32 = 1 << 6;
    /// Had guard pages at some time (gu; newer than Linux 6.18): bit 58 of pagemap tells whether it has them now.
    pub const MAYBE_GUARDS: u32 = 1 << 7;
    /// Something that this table does not know.
    pub const UNKNOWN: u32 = 1 << 31;
}

/// The flags of a `VmFlags:` line; `None` for any other line.
pub fn vm_flags(line: &[u8]) -> Option<VmFlags> {
    use region_flag as r;
    use trait_flag as t;

    let mut flags = VmFlags::default();
    let mut may_write = false;
    for letters in field(line, b"VmFlags:")?.split(|byte| *byte == b' ').filter(|letters| !letters.is_empty())
    {
        let (region, traits) = match letters {
            // rd, wr, ex: the protection is in the line of maps. mr, me: every region has them, or lost them with noexec. sd: dirty since
            // the mark was last taken off. sf: MAP_SYNC, of a file on memory. nl, dw, ar, bt, mp: of old kernels or other machines.
            b"rd" | b"wr" | b"ex" | b"mr" | b"me" | b"sd" | b"sf" | b"nl" | b"dw" | b"ar" | b"mp" => (0, 0),
            b"mw" => {
                may_write = true;
                (0, 0)
            }
            // Of a file that was opened read-only, a shared mapping has ms only; a private one never has either.
            b"sh" | b"ms" => (r::SHARED, 0),
            b"gd" => (r::GROWSDOWN, 0),
            b"lo" => (r::LOCKED, 0),
            b"lf" => (r::LOCKED_ONFAULT, 0),
            b"dc" => (r::DONTFORK, 0),
            b"wf" => (r::WIPEONFORK, 0),
            b"dd" => (r::DONTDUMP, 0),
            b"hg" => (r::HUGEPAGE, 0),
            b"nh" => (r::NOHUGEPAGE, 0),
            b"mg" => (r::MERGEABLE, 0),
            b"sl" => (r::SEALED, 0),
            b"dp" => (r::DROPPABLE, 0),
            b"nr" => (r::NORESERVE, 0),
            b"sr" => (r::SEQUENTIAL, 0),
            b"rr" => (r::RANDOM, 0),
            b"pf" | b"io" => (0, t::DEVICE),
            b"mm" => (0, t::MIXED),
            b"ht" => (0, t::HUGETLB),
            b"um" | b"uw" | b"ui" => (0, t::USERFAULT),
            b"ss" => (0, t::SHADOW_STACK),
            b"de" => (0, t::DONTEXPAND),
            b"ac" => (0, t::ACCOUNTED),
            b"gu" => (0, t::MAYBE_GUARDS),
            _ => (0, t::UNKNOWN),
        };
        flags.region |= region;
        flags.traits |= traits;
    }
    if flags.region & r::SHARED != 0 && !may_write {
        flags.region |= r::NO_MAYWRITE;
    }
    Some(flags)
}

/// The number in a `ProtectionKey:` line; `None` for any other line. Kernels and CPUs without protection keys print none.
pub fn protection_key(line: &[u8]) -> Option<u32> {
    u32::try_from(decimal(field(line, b"ProtectionKey:")?)?).ok()
}

/// Whether the line says that huge pages are in use (`AnonHugePages`, `ShmemPmdMapped`, `FilePmdMapped`).
pub fn has_huge_pages(line: &[u8]) -> bool {
    [&b"AnonHugePages:"[..], b"ShmemPmdMapped:", b"FilePmdMapped:"]
        .iter()
        .find_map(|name| kilobytes(field(line, name)?))
        .is_some_and(|size| size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps;

    #[test]
    fn flags_of_real_regions() {
        let heap = vm_flags(b"VmFlags: rd wr mr mw me ac ").unwrap();
        assert_eq!(heap, VmFlags { region: 0, traits: trait_flag::ACCOUNTED });
        let stack = vm_flags(b"VmFlags: rd wr mr mw me gd ac ").unwrap();
        assert_eq!(stack.region, region_flag::GROWSDOWN);
        let vvar = vm_flags(b"VmFlags: rd mr pf io de dd ").unwrap();
        assert_eq!(vvar.region, region_flag::DONTDUMP);
        assert_eq!(vvar.traits, trait_flag::DEVICE | trait_flag::DONTEXPAND);
        let guarded = vm_flags(b"VmFlags: rd wr mr mw me lo wf dc dd nh mg lf sl sd ").unwrap();
        assert_eq!(
            guarded.region,
            region_flag::LOCKED
                | region_flag::LOCKED_ONFAULT
                | region_flag::WIPEONFORK
                | region_flag::DONTFORK
                | region_flag::DONTDUMP
                | region_flag::NOHUGEPAGE
                | region_flag::MERGEABLE
                | region_flag::SEALED
        );
        assert_eq!(guarded.traits, 0);
    }

    #[test]
    fn a_shared_mapping_of_a_file_opened_read_only_can_not_become_writable() {
        let writable = vm_flags(b"VmFlags: rd wr sh mr mw me ms ").unwrap();
        assert_eq!(writable.region, region_flag::SHARED);
        let read_only = vm_flags(b"VmFlags: rd mr me ms ").unwrap();
        assert_eq!(read_only.region, region_flag::SHARED | region_flag::NO_MAYWRITE);
        let private = vm_flags(b"VmFlags: rd mr me ").unwrap();
        assert_eq!(private.region, 0);
    }

    #[test]
    fn an_unknown_flag_is_told() {
        assert_eq!(vm_flags(b"VmFlags: rd zz ").unwrap().traits, trait_flag::UNKNOWN);
        assert_eq!(vm_flags(b"VmFlags: rd ?? ").unwrap().traits, trait_flag::UNKNOWN);
        assert_eq!(vm_flags(b"VmFlags: "), Some(VmFlags::default()));
    }

    #[test]
    fn other_lines_are_told_apart() {
        let text = b"7f3c5c000000-7f3c5c021000 rw-p 00000000 00:00 0 \nSize:                132 kB\nAnonHugePages:      2048 kB\n\
            THPeligible:           0\nProtectionKey:         3\nVmFlags: rd wr mr mw me nr ";
        let kinds = text.split(|byte| *byte == b'\n').map(|line| {
            (
                maps::parse_line(line).is_some(),
                vm_flags(line).is_some(),
                protection_key(line),
                has_huge_pages(line),
            )
        });
        assert!(kinds.eq([
            (true, false, None, false),
            (false, false, None, false),
            (false, false, None, true),
            (false, false, None, false),
            (false, false, Some(3), false),
            (false, true, None, false),
        ]));
    }

    #[test]
    fn no_huge_pages_are_none() {
        assert!(!has_huge_pages(b"AnonHugePages:         0 kB"));
        assert!(has_huge_pages(b"ShmemPmdMapped:     4096 kB"));
    }
}
