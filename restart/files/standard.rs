//! Files whose other end is outside: a terminal, a pipe to another program. The restarter's own 0, 1, 2 take their place.

use super::unsupported;
use crate::exit::Result;
use crate::plan::Builder;
use image::format::{OpenFile, file_kind};
use sys::fd::open_flag;

/// Whether one of the restarter's own descriptors takes the place of `file`.
fn is_outside(file: &OpenFile) -> bool {
    matches!(file.kind, file_kind::STANDARD | file_kind::TERMINAL)
}

impl<'a> Builder<'a, '_> {
    /// Keeps 0, 1, 2 where the process had such a file there, each for itself: whoever restarts may have sent them different
    /// ways. Its other descriptors become duplicates.
    pub(super) fn keep_standard(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        let outside = |number: u32| image.open_files().get(number as usize).filter(is_outside);
        for descriptor in image.descriptors().iter().take_while(|descriptor| descriptor.number < 3) {
            if let Some(file) = outside(descriptor.file) {
                if !self.inputs.standard.get(descriptor.number as usize).is_some_and(|open| *open) {
                    return Err(unsupported(image.c_str(file.path), file.kind));
                }
                self.numbers.set_back(descriptor.number);
            }
        }
        for descriptor in image.descriptors().iter().filter(|descriptor| descriptor.number >= 3) {
            if let Some(file) = outside(descriptor.file) {
                let own =
                    self.numbers.twin(descriptor.file).unwrap_or(match file.flags & open_flag::ACCMODE {
                        open_flag::WRONLY => 1,
                        _ => 0,
                    });
                if !self.inputs.standard.get(own as usize).is_some_and(|open| *open) {
                    return Err(unsupported(image.c_str(file.path), file.kind));
                }
                self.duplicate(own, &descriptor)?;
            }
        }
        Ok(())
    }
}
