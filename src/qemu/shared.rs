//! The flash of a guest whose QEMU shares it: memory that this process holds as well, and that outlives the other.
//!
//! QEMU 10 and later keep auxiliary memory in files without a name (`aux-ram-share`). The kernel shows them among the descriptors of
//! the process, and what is opened there stays when the process is gone.

use std::fs::{File, OpenOptions, read_dir, read_link};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::flash::{FLASH_SIZE, Flash};

/// What QEMU calls the memory (`hw/arm/nrf51_soc.c`), as the kernel shows it.
const NAME: &str = "/memfd:nrf51_soc.flash";

/// A flash that is held here and by a process.
#[derive(Debug)]
pub(super) struct SharedFlash(File);

impl SharedFlash {
    /// The flash of a process; `None` where it shares none, or the kernel does not show it.
    pub(super) fn of(process: u32) -> Option<SharedFlash> {
        let descriptors = read_dir(format!("/proc/{process}/fd")).ok()?;
        let is_flash = |path: &Path| read_link(path).is_ok_and(|name| name.to_string_lossy().starts_with(NAME));
        let mut paths = descriptors.filter_map(|entry| Some(entry.ok()?.path()));
        let path = paths.find(|path| is_flash(path))?;
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        (file.metadata().ok()?.len() == FLASH_SIZE as u64).then_some(SharedFlash(file))
    }

    /// Fills it.
    pub(super) fn write(&self, flash: &Flash) -> io::Result<()> {
        self.0.write_all_at(flash.bytes(), 0)
    }

    /// What it holds.
    pub(super) fn read(&self) -> io::Result<Flash> {
        let mut bytes = vec![0; FLASH_SIZE];
        self.0.read_exact_at(&mut bytes, 0)?;
        Flash::from_bytes(bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
