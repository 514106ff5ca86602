//! The Debian package, the archive for any Linux, and the Python wheel.

use harness::{Artifact, Place, User, root, tool};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes the package of what `make` built.
#[track_caller]
fn package(place: &Place) -> PathBuf {
    packed("deb", &place.cwd())
}

/// What the script `packaging/KIND` makes, in `folder`.
#[track_caller]
fn packed(kind: &str, folder: &Path) -> PathBuf {
    let mut command = Command::new(root().join("packaging").join(kind));
    command.arg(Artifact::Command.path().parent().unwrap()).arg(folder);
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

#[test]
fn two_archives_of_one_build_are_equal_and_the_sum_is_right() {
    let place = Place::new(User::Myself);
    let first = std::fs::read(packed("dist", &place.cwd())).unwrap();
    let archive = packed("dist", &place.cwd());
    assert!(first == std::fs::read(&archive).unwrap(), "two archives of one build differ");
    let mut command = Command::new(tool("sha256sum"));
    command.current_dir(place.cwd()).args(["--check", "--quiet"]);
    let output = command.arg(format!("{}.sha256", archive.display())).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Unpacks, installs, and saves and restarts a program: as an ordinary user, below a home folder.
const USE_ARCHIVE: &str = r#"
set -euo pipefail
zstd --quiet --decompress --stdout "$1" | tar --extract
PATH=/usr/bin:/bin ./ckpt-*/install.sh "$PWD/prefix" >said
grep -q 'not on the search path yet' said
PATH="$PWD/prefix/bin:$PATH"
grep -qx "prefix=$PWD/prefix" "prefix/lib/pkgconfig/ckpt.pc"
"#;

/// Saves, kills and restarts a program with the `ckpt` that is on the path.
const SAVE_AND_RESTART: &str = r#"
mkfifo in
ckpt run -- gawk '{ print NR, $0; fflush() }' <in >out &
program=$!
exec 9<>in
echo one >&9
until [ -s out ]; do sleep 0.01; done
ckpt --quiet save $program
kill -9 $program
wait $program || true
exec 9>&-
echo two | ckpt restart myckpt --fd 0='&0'
[ "$(cat out)" = $'1 one\n2 two' ]
"#;

/// Runs a script for bash as an ordinary user, in its folder.
#[track_caller]
fn passes(place: &Place, script: &str, argument: &Path) {
    let mut command = place.command(&tool("bash"));
    command.arg("-c").arg(script).arg("bash").arg(argument).env("PATH", "/usr/bin:/bin");
    let output = command.current_dir(place.cwd()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_archive_is_installed_and_used_without_privilege() {
    let place = Place::new(User::ordinary());
    let archive = packed("dist", &place.cwd());
    passes(&place, &[USE_ARCHIVE, SAVE_AND_RESTART].concat(), &archive);
}

/// Makes an empty environment, and installs the wheel in it, with nothing from a registry.
const USE_WHEEL: &str = r#"
set -euo pipefail
HOME=$PWD
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check --no-index "$1"
environment/bin/python -c 'import ckpt; assert not ckpt.available()'
PATH="$PWD/environment/bin:$PATH"
"#;

#[test]
#[ignore = "fetches setuptools: make check-programs"]
fn the_wheel_is_installed_in_an_empty_environment_and_used() {
    let place = Place::new(User::ordinary());
    let wheel = packed("wheel", &place.cwd());
    passes(&place, &[USE_WHEEL, SAVE_AND_RESTART].concat(), &wheel);
}
