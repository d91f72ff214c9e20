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

/// The heap of a process that keeps much in it. Where it grows it is asked to be on large pages, before anything stands there.
#[derive(Debug)]
pub struct Heap {
    /// Up to where that has been asked, the large page left out that the heap ends in.
    asked: usize,
}

impl Heap {
    /// The heap from here on.
    pub fn large() -> Heap {
        let asked = heap::grow_in_steps();
        Heap { asked }
    }

    /// Has it grown since, so that is on large pages too; cheap, and to be called often.
    pub fn keep(&mut self) {
        let end = heap::end();
        if end > self.asked {
            advise(self.asked, end - self.asked);
            self.asked = self.asked.max(end / LARGE_PAGE * LARGE_PAGE);
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "calls of the system's library about its own heap")]
mod heap {
    use std::ffi::{c_int, c_void};

    unsafe extern "C" {
        fn mallopt(option: c_int, value: c_int) -> c_int;
        fn sbrk(more: isize) -> *mut c_void;
    }

    const TRIM_THRESHOLD: c_int = -1;
    const TOP_PAD: c_int = -2;
    const MMAP_THRESHOLD: c_int = -3;

    /// How much the heap grows at once: with the usual 128 KiB every large page would be half in use before it can be had.
    const STEP: c_int = 64 << 20;
    /// The most that the library itself comes to let stand in the heap, once it has seen pieces of that size come and go.
    const PIECE_MAX: c_int = 32 << 20;

    pub(super) fn grow_in_steps() -> usize {
        for (option, value) in [(TRIM_THRESHOLD, 2 * STEP), (TOP_PAD, STEP), (MMAP_THRESHOLD, PIECE_MAX)] {
            // SAFETY: any value is allowed; one that is refused changes nothing.
            unsafe { mallopt(option, value) };
        }
        end()
    }

    pub(super) fn end() -> usize {
        // SAFETY: growing by nothing only tells where the heap ends.
        unsafe { sbrk(0) as usize }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod heap {
    pub(super) fn grow_in_steps() -> usize {
        0
    }

    pub(super) fn end() -> usize {
        0
    }
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

    #[test]
    fn a_heap_on_large_pages_is_one_like_any_other() {
        let mut heap = Heap::large();
        let pieces: Vec<Vec<u64>> = (0..1_000).map(|piece| vec![piece; 4_000]).collect();
        heap.keep();
        let sum = pieces.iter().flatten().sum::<u64>();
        assert_eq!(sum, 4_000 * 499_500);
        assert!(heap::end().saturating_sub(heap.asked) < LARGE_PAGE);
    }
}
