//! Why an image is refused.

/// Why an image is refused. Nothing in it may be used then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// The file is empty.
    Empty,
    /// Not an ELF file.
    NotElf,
    /// An ELF file, but no core file: a program, say.
    NotCore,
    /// For another machine, or another kind of this one (32 bits).
    WrongMachine,
    /// A core file without our notes: of another program.
    NotCkpt,
    /// Made by a ckpt with this version of the format.
    Version(u32),
    /// Has a required note of this type, or these bits in [`crate::format::Head::required`].
    UnknownRequired(u32),
    /// The file is shorter than the image.
    Truncated {
        /// Length in bytes of the image, or of as much of it as is known.
        expected: u64,
        /// Length in bytes of the file.
        actual: u64,
    },
    /// The file is longer than the image.
    Overlong {
        /// Length in bytes of the image.
        expected: u64,
        /// Length in bytes of the file.
        actual: u64,
    },
    /// The ELF header or the program headers do not match their sum, or the header of the image.
    TablesCorrupt,
    /// The notes do not match their sum.
    NotesCorrupt,
    /// The sums of the page data do not match theirs.
    SumsCorrupt,
    /// The sums are right, but what they guard makes no sense: what is wrong.
    BadTable(&'static str),
}

impl ImageError {
    /// The cause in a few words, without the numbers.
    pub fn text(&self) -> &'static str {
        match self {
            Self::Empty => "the file is empty",
            Self::NotElf => "not a checkpoint image (not an ELF file)",
            Self::NotCore => "not a checkpoint image (an ELF file, but not a core file)",
            Self::WrongMachine => "a core file of another kind of machine; x86-64 is needed",
            Self::NotCkpt => "a core file of another program, not a checkpoint image",
            Self::Version(_) => "written in another version of the image format; use the ckpt that wrote it",
            Self::UnknownRequired(_) => {
                "needs something that this version does not know; use the ckpt that wrote it"
            }
            Self::Truncated { .. } => "the image is cut short",
            Self::Overlong { .. } => "the file goes on behind the end of the image",
            Self::TablesCorrupt => "the image is damaged (the checksum of its headers is wrong)",
            Self::NotesCorrupt => "the image is damaged (the checksum of its notes is wrong)",
            Self::SumsCorrupt => "the image is damaged (the table of checksums is wrong)",
            Self::BadTable(what) => what,
        }
    }
}
