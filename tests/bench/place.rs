//! Where images go, and where the built files are.

use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory for images, removed at the end.
pub struct Place(TempDir);

impl Place {
    /// In memory, where there is a tmpfs for it.
    pub fn memory() -> Self {
        let shm = Path::new("/dev/shm");
        if shm.is_dir() { Self::under(shm) } else { Self::under(&std::env::temp_dir()) }
    }

    /// Under a directory.
    pub fn under(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("a directory for images");
        let directory = directory.canonicalize().expect("a directory for images");
        Self(
            tempfile::Builder::new()
                .prefix("ckpt-bench-")
                .tempdir_in(directory)
                .expect("a directory for images"),
        )
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The name that images get.
    pub fn image(&self) -> PathBuf {
        self.0.path().join("image")
    }

    /// Length of the image in bytes.
    pub fn image_len(&self) -> u64 {
        std::fs::metadata(self.image()).expect("an image").len()
    }

    /// Removes the image, so that the next one replaces nothing: freeing an old file takes time, too.
    pub fn clear(&self) {
        let _ = std::fs::remove_file(self.image());
    }
}

/// A built file: in `build/`, or in `$CKPT_BUILD`.
pub fn built(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the top of the source tree");
    let folder = std::env::var_os("CKPT_BUILD").map_or_else(|| root.join("build"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.is_file(), "{} is not there: run `make` first", path.display());
    path
}
