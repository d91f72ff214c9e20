//! Standard output: results and nothing else. A reader that stops early (`squall sim … | head`) is no error.

use std::io::{Error, ErrorKind, Write};
use std::panic::resume_unwind;

/// Standard output took no more: what unwinds to `main`, past whatever would have been said next.
#[derive(Debug)]
pub(super) struct Unwritable(pub(super) Error);

/// Writes `text` to standard output. If that fails in another way than by its reader being gone (a full disk), [`Unwritable`] unwinds to
/// `main`, which says so: nothing that comes later could be read either.
pub(super) fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            drop(out);
            resume_unwind(Box::new(Unwritable(error)))
        }
        Ok(()) | Err(_) => {}
    }
}
