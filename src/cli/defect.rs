//! What a defect of ours looks like to a user: two lines and exit code 1, never a panic's own words.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::INTERNAL;
use super::results::Unwritable;

/// Carries `command` out; a panic in it becomes a message that says what to do, and so does standard output that is full.
pub(super) fn guarded(command: impl FnOnce() -> u8) -> u8 {
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|defect| {
        // The screen's own thread may not have come to it.
        crate::dashboard::restore();
        if let Some(Unwritable(error)) = defect.downcast_ref() {
            eprintln!("error: standard output cannot be written: {error}");
            return INTERNAL;
        }
        eprintln!("error: a defect of squall: {}", words(&*defect));
        eprintln!("  please report it with the scenario and the seed; RUST_BACKTRACE=1 shows where it happened");
        INTERNAL
    })
}

fn words(defect: &(dyn Any + Send)) -> &str {
    let text = defect.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| defect.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
}

/// Keeps panics from printing by themselves, unless a backtrace is asked for.
pub(super) fn silence_panics() {
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_exit_code_1() {
        assert_eq!(guarded(|| panic!("device demo-00001 at 3.2 s: no such page")), INTERNAL);
        assert_eq!(guarded(|| 99), 99);
    }
}
