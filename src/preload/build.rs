//! Link arguments of `libckpt.so`: no libc, no start files, and every symbol resolved at link time.

fn main() {
    println!("cargo:rerun-if-changed=../../asm");
    println!("cargo:rerun-if-changed=build.rs");
    for arg in
        ["-nostartfiles", "-nostdlib", "-Wl,-z,defs", "-Wl,--exclude-libs,ALL", "-Wl,-soname,libckpt.so"]
    {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
}
