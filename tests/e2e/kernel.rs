//! Restarts under another kernel build: the image's vdso is not the one that is there.

use harness::{Image, Place, Program, User, survives};
use image::crc::crc32c;
use image::format::{Head, SumsHeader, region_kind};
use image::plain::bytes_of_slice;
use std::fs;
use std::mem::offset_of;

/// Changes the build id in the image's vdso, and makes the sums right again: for the restarter, it is from another kernel now.
fn with_the_vdso_of_another_kernel(saved: &Image) {
    let mut bytes = fs::read(&saved.path).unwrap();
    let (head, start, len) = {
        let image = image::read::Image::parse(&bytes, bytes.len() as u64).unwrap();
        let vdso = image.regions().iter().find(|region| region.kind == region_kind::VDSO).unwrap();
        let load = image.loads_of(&vdso).get(0).unwrap();
        (*image.head(), load.p_offset as usize, load.p_filesz as usize)
    };
    // The note of owner "GNU" and type 3 (NT_GNU_BUILD_ID): the id stands behind the name.
    let name = b"\x03\0\0\0GNU\0";
    let at = bytes[start..start + len].windows(name.len()).position(|bytes| bytes == name).unwrap();
    bytes[start + at + name.len()] ^= 0xff;
    seal_data(&mut bytes, &head);
    fs::write(&saved.path, bytes).unwrap();
}

/// Computes the sums of the page data anew.
fn seal_data(bytes: &mut [u8], head: &Head) {
    let data = &bytes[head.data_off as usize..][..head.data_len as usize];
    let sums: Vec<u32> = data.chunks(head.chunk as usize).map(crc32c).collect();
    let at = head.sums_off as usize;
    bytes[at + size_of::<SumsHeader>()..][..sums.len() * 4].copy_from_slice(bytes_of_slice(&sums));
    // The header's sum is that of everything behind it in the file.
    let behind = offset_of!(SumsHeader, crc) + 4;
    let crc = crc32c(&bytes[at + behind..]);
    bytes[at + offset_of!(SumsHeader, crc)..][..4].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn the_vdso_keeps_its_functions() {
    survives("other_kernel");
}

#[test]
fn functions_of_another_kernels_vdso_become_system_calls() {
    for user in User::each() {
        let mut process = Place::new(user).start(&Program::victim("other_kernel"));
        process.ready();
        let image = process.save();
        process.kill();
        with_the_vdso_of_another_kernel(&image);
        // The next generations have the old vdso as ordinary memory, and none of their own.
        let mut process = image.restart();
        let maps = fs::read_to_string(format!("/proc/{}/maps", process.pid())).unwrap();
        assert!(!maps.contains("[vdso]") && !maps.contains("[vvar]"), "{maps}");
        process = process.generations(2);
        process.passes();
    }
}

#[test]
fn a_function_of_another_kernels_vdso_may_be_interrupted() {
    for _ in 0..10 {
        let mut process = Place::new(User::ordinary()).start(&Program::victim("busy_clock"));
        process.ready();
        let image = process.save();
        process.kill();
        with_the_vdso_of_another_kernel(&image);
        image.restart().passes();
    }
}
