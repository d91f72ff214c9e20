//! What a large simulation asks of the machine's memory: to have ready what is needed next, and large pages for what is large. Nothing
//! but its speed depends on either.

/// Bytes that a processor fetches at once.
const LINE: usize = 64;

/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// Has the processor fetch a value that is needed soon.
#[inline]
pub fn fetch<T>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    (0..size_of::<T>())
        .step_by(LINE)
        .for_each(|at| prefetch(start.wrapping_add(at)));
}

/// An empty list with room for `count` items, on large pages where the system gives them: items are then found without looking up a page
/// for nearly each of them.
pub fn column<T>(count: usize) -> Vec<T> {
    let column = Vec::with_capacity(count);
    advise(column.as_ptr() as usize, count * size_of::<T>());
    column
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a hint to the processor, which may point anywhere")]
#[inline]
fn prefetch(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction neither reads as far as the program can tell, nor faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn prefetch(_line: *const u8) {}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call about memory")]
fn advise(start: usize, bytes: usize) {
    use rustix::mm::{Advice, madvise};
    let first = start.next_multiple_of(LARGE_PAGE);
    let whole = (start + bytes).saturating_sub(first) / LARGE_PAGE * LARGE_PAGE;
    if whole > 0 {
        // SAFETY: the pages lie within a list of this process, and what they hold stays. A system that has no large pages says no,
        // which changes nothing.
        let _ = unsafe { madvise(first as *mut std::ffi::c_void, whole, Advice::LinuxHugepage) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_start: usize, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_column_is_a_list_like_any_other() {
        let mut column = column(1_000_000);
        column.extend(0..1_000_000_u64);
        column.iter().for_each(fetch);
        assert_eq!(column.iter().sum::<u64>(), 499_999_500_000);
    }
}
