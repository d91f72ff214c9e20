//! The bytes of a record: in place where they are few, as those of most records are.

use std::ops::Deref;

/// Most bytes that stand in place.
const IN_PLACE: usize = 22;

/// The bytes of a record.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// So many of these.
    Short(u8, [u8; IN_PLACE]),
    /// Any number.
    Long(Box<[u8]>),
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Content {
        let mut place = [0; IN_PLACE];
        match place.get_mut(..bytes.len()) {
            Some(part) => {
                part.copy_from_slice(bytes);
                Content::Short(bytes.len() as u8, place)
            }
            None => Content::Long(bytes.into()),
        }
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Content::Short(len, bytes) => &bytes[..usize::from(*len)],
            Content::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        **self == **other
    }
}

impl Eq for Content {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_written_whatever_its_length() {
        for len in [0, 1, IN_PLACE, IN_PLACE + 1, 192] {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            assert_eq!(&*Content::from(bytes.as_slice()), bytes.as_slice());
        }
        assert_eq!(size_of::<Option<Content>>(), 24);
    }
}
