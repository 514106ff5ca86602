//! The Debian package.

use harness::{Artifact, Place, User, root, tool};
use std::path::PathBuf;
use std::process::Command;

/// Makes the package of what `make` built.
#[track_caller]
fn package(place: &Place) -> PathBuf {
    let mut command = Command::new(root().join("packaging/deb"));
    command.arg(Artifact::Command.path().parent().unwrap()).arg(place.cwd());
    command.env("DEBFULLNAME", "ckpt").env("DEBEMAIL", "ckpt@debian.org");
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let package = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end());
    assert!(package.is_file(), "{}", package.display());
    package
}

#[test]
fn lintian_accepts_the_package_which_is_the_same_each_time() {
    let place = Place::new(User::Myself);
    let first = std::fs::read(package(&place)).unwrap();
    let package = package(&place);
    assert!(first == std::fs::read(&package).unwrap(), "two packages of one build differ");
    let mut command = Command::new(tool("lintian"));
    command.args(["--allow-root", "--fail-on", "error,warning"]).arg(package);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// As an ordinary user nothing can be installed, and the test is only that the package can be made.
#[test]
fn the_package_is_installed_used_and_removed() {
    let place = Place::new(User::Myself);
    let package = package(&place);
    if User::ordinary() == User::Myself {
        return;
    }
    let mut command = place.command(&root().join("packaging/test-deb"));
    let output = command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg(package).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.ends_with("removed.\n"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
