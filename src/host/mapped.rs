//! Files as bytes that the kernel brings in when they are read and drops when it needs the room: an image of any size costs the process
//! no memory of its own.

use std::ffi::c_void;
use std::fs::File;
use std::io;

use bytes::Bytes;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A mapped file; the mapping holds the file, whatever becomes of its name.
struct Mapped {
    start: *mut c_void,
    length: usize,
}

/// The content of a file that nobody writes to any more.
///
/// # Errors
/// What the kernel says.
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    let length = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    if length == 0 {
        return Ok(Bytes::new());
    }
    #[expect(
        unsafe_code,
        reason = "a mapping is a system call; the kernel chooses where, and nothing of ours lies there"
    )]
    let start = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
    Ok(Bytes::from_owner(Mapped { start, length }))
}

#[expect(unsafe_code, reason = "what is mapped belongs to no thread: it is only read")]
unsafe impl Send for Mapped {}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        #[expect(
            unsafe_code,
            reason = "`length` bytes are mapped until this is dropped, and whoever maps a file sees to it that nobody writes to it"
        )]
        unsafe {
            std::slice::from_raw_parts(self.start.cast(), self.length)
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "mapped once, unmapped once, and no slice of it outlives this")]
        let _kept_mapped = unsafe { munmap(self.start, self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_also_after_its_name_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
        std::fs::write(folder.path().join("image"), &content).unwrap();
        let file = File::open(folder.path().join("image")).unwrap();
        let bytes = map(&file).unwrap();
        drop((file, folder));
        let part = bytes.slice(5_000..90_000);
        drop(bytes);
        assert_eq!(part, content[5_000..90_000]);
    }

    #[test]
    fn an_empty_file_is_no_bytes() {
        assert!(map(&tempfile::tempfile().unwrap()).unwrap().is_empty());
    }
}
