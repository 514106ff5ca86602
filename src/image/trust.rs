//! Whose word an image is.

/// Why the contents of a file are not ours alone to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It belongs to somebody else, who is not root.
    Owner,
    /// Its group, or everybody, can write to it.
    Mode,
}

/// Looks at the owner and the mode (`st_mode`) of an image, for a user id. An access control list that lets others write shows in the mode of the group.
pub fn distrust(owner: u32, mode: u32, me: u32) -> Option<Distrust> {
    const OTHERS_WRITE: u32 = 0o022;
    if owner != me && owner != 0 {
        Some(Distrust::Owner)
    } else if mode & OTHERS_WRITE != 0 {
        Some(Distrust::Mode)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_user_and_root_may_have_written_it() {
        assert_eq!(distrust(1000, 0o100_600, 1000), None);
        assert_eq!(distrust(0, 0o100_644, 1000), None);
        assert_eq!(distrust(1000, 0o100_600, 0), Some(Distrust::Owner));
        assert_eq!(distrust(1001, 0o100_600, 1000), Some(Distrust::Owner));
        for mode in [0o620, 0o602, 0o666] {
            assert_eq!(distrust(1000, 0o100_000 | mode, 1000), Some(Distrust::Mode));
        }
    }
}
