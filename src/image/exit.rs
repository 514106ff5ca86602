//! Exit codes of `ckpt` and `myrestart`: each number means one thing.
//!
//! They are an interface: scripts rely on them, tests compare them by value, and ckpt(1) is made from [`TABLE`]. A program that was restarted has an exit
//! status of its own, so the numbers keep away from 0 to 63, which programs use, and from 126 to 165, which shells give to commands that they
//! cannot run or that a signal ended.

macro_rules! codes {
    ($($(#[doc = $text:literal])+ $name:ident = $number:literal,)*) => {
        /// Class of an outcome.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Code { $($(#[doc = $text])+ $name = $number,)* }

        /// Every code with what it means, by number.
        pub const TABLE: &[(u8, &str)] = &[$(($number, concat!($($text),+).trim_ascii()),)*];
    };
}

codes! {
    /// It was done; the answer is yes.
    Done = 0,
    /// The answer is no: the images differ, a save would be refused, something that ckpt needs is missing here.
    No = 1,
    /// Wrong arguments.
    Usage = 64,
    /// The file is not an ELF core file at all: empty, a text, an executable.
    NotAnImage = 65,
    /// The image, or another file, cannot be opened.
    NoImage = 66,
    /// A core file, but not of ckpt, or of another machine.
    Foreign = 67,
    /// An image of another version.
    Version = 68,
    /// The image is cut short.
    Truncated = 69,
    /// A bug in ckpt.
    Internal = 70,
    /// The image is damaged: a checksum is wrong, a table contradicts itself, or the file goes on behind it.
    Corrupt = 71,
    /// A file that the process had open or mapped is not there.
    FileMissing = 72,
    /// A file that the process had open or mapped is another one now.
    FileChanged = 73,
    /// Reading or writing failed.
    Io = 74,
    /// The CPU lacks a feature that the process was using.
    Cpu = 75,
    /// The kernel lacks what is needed.
    Kernel = 76,
    /// The permission is missing: another owner, or a privilege.
    Permission = 77,
    /// Not enough memory.
    Memory = 78,
    /// A resource limit is in the way.
    Limit = 79,
    /// No place in the address space for myrestart beside the process.
    Layout = 80,
    /// The image is a directory, a FIFO, a device.
    NotRegular = 81,
    /// The image needs something that this version does not know, or cannot restore.
    Unsupported = 82,
    /// The process id of the image cannot be had.
    Pid = 83,
    /// The restart failed in its last steps, when the memory of myrestart was gone.
    Late = 84,
    /// A system call of the restart failed for another reason.
    Call = 85,
    /// A tool is missing: libckpt.so, myrestart, gdb.
    NoTool = 86,
    /// There is no such process, or more than one of that name.
    NoProcess = 87,
    /// The program cannot be saved: it is none for 64-bit x86, or gains privileges when it is executed.
    NotTarget = 88,
    /// The save was refused: something in the process could not be restored.
    Refused = 89,
    /// The save failed: a system call did. The previous image is as it was.
    Failed = 90,
    /// The process, or the writer of its image, ended during the save.
    Died = 91,
    /// No answer in time.
    Timeout = 92,
    /// Something that the process held is taken: a lock, an address.
    Busy = 93,
    /// The image has nothing of that name.
    Missing = 94,
    /// The image is of another command (`ckpt run --resume`).
    OtherCommand = 95,
    /// The command cannot be executed (`ckpt run`).
    CannotRun = 126,
    /// The command is not found (`ckpt run`).
    NotFound = 127,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_and_in_order() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0), "{TABLE:?}");
        assert!(TABLE.iter().all(|(_, text)| text.ends_with('.')), "{TABLE:?}");
    }
}
