//! Standard output: results and nothing else. A reader that stops early (`squall sim … | head`) is no error.

use std::io::{ErrorKind, Write};

/// Writes `text` to standard output.
///
/// # Panics
/// If standard output fails in another way than by its reader being gone: there is nobody left to tell in an orderly way.
pub(super) fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("standard output cannot be written: {error}"),
        Ok(()) | Err(_) => {}
    }
}
