//! The files under test, as `make` left them.

use std::path::{Path, PathBuf};

/// A file that `make` builds.
#[derive(Clone, Copy, Debug)]
pub enum Artifact {
    /// `libckpt.so`.
    Library,
    /// `myrestart`.
    Restarter,
    /// `ckpt`.
    Command,
}

impl Artifact {
    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            Artifact::Library => "libckpt.so",
            Artifact::Restarter => "myrestart",
            Artifact::Command => "ckpt",
        }
    }

    /// The built file: in `build/`, or in `$CKPT_BUILD`.
    pub fn path(self) -> PathBuf {
        let folder = std::env::var_os("CKPT_BUILD").map_or_else(|| root().join("build"), PathBuf::from);
        let path = folder.join(self.name());
        assert!(path.is_file(), "{} is not there: run `make` first", path.display());
        path
    }
}

/// The top of the source tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
