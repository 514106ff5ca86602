//! Link arguments of `myrestart`: static, no libc, its own `_start`, at an address of our choice.

fn main() {
    println!("cargo:rerun-if-changed=../asm");
    println!("cargo:rerun-if-changed=build.rs");
    let args = [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,-z,defs",
        "-Wl,--image-base=0x5000000",
        "-Wl,--build-id=none",
    ];
    for arg in args {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
}
