//! A part of an image, as flash keeps it: half as large as a slice with a table of functions, since flash has two of them in every
//! device.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

/// A slice of shared bytes.
#[derive(Clone)]
pub(super) struct Piece {
    whole: Arc<Bytes>,
    start: u32,
    len: u32,
}

impl Piece {
    /// The part of `whole` in this range, which it holds.
    pub(super) fn of(whole: &Arc<Bytes>, range: Range<usize>) -> Piece {
        Piece {
            whole: Arc::clone(whole),
            start: range.start as u32,
            len: range.len() as u32,
        }
    }

    /// A part of this part.
    pub(super) fn slice(&self, range: Range<u32>) -> Piece {
        Piece {
            whole: Arc::clone(&self.whole),
            start: self.start + range.start,
            len: range.end - range.start,
        }
    }

    /// Bytes.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Where it ends in the bytes that it is a slice of.
    pub(super) fn ends_at(&self) -> u64 {
        u64::from(self.start) + u64::from(self.len)
    }

    /// True if `next` is what follows on this one in the same bytes.
    pub(super) fn is_followed_by(&self, next: &[u8]) -> bool {
        let end = (self.start + self.len) as usize;
        self.whole
            .get(end..end + next.len())
            .is_some_and(|follows| std::ptr::eq(follows, next))
    }

    /// Takes in `next`, where it follows on this one in the same bytes; true if it does.
    pub(super) fn grow(&mut self, next: &[u8]) -> bool {
        let follows = self.is_followed_by(next);
        if follows {
            self.len += next.len() as u32;
        }
        follows
    }

    /// Both as one, where `next` follows this one in the same bytes.
    pub(super) fn joined(&self, next: &Piece) -> Option<Piece> {
        let follows = Arc::ptr_eq(&self.whole, &next.whole) && self.start + self.len == next.start;
        follows.then(|| Piece {
            len: self.len + next.len,
            ..self.clone()
        })
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Piece {
        let len = bytes.len();
        Piece::of(&Arc::new(bytes), 0..len)
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = self.start as usize;
        &self.whole[start..start + self.len as usize]
    }
}

impl PartialEq for Piece {
    fn eq(&self, other: &Piece) -> bool {
        **self == **other
    }
}

impl Eq for Piece {}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbors_of_the_same_bytes_are_one_again_and_others_are_not() {
        let whole = Piece::from(Bytes::from_static(b"abcdef"));
        let (head, tail) = (whole.slice(0..2), whole.slice(2..6));
        assert_eq!(head.joined(&tail), Some(whole.clone()));
        assert_eq!((head.joined(&head), tail.joined(&head)), (None, None));
        assert_eq!(head.joined(&Piece::from(Bytes::from_static(b"cdef"))), None);
        assert_eq!(&*tail.slice(1..3), b"de");
    }
}
