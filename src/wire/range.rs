//! `Range` and `Content-Range` (RFC 9110, section 14): the part of an image that is asked for and the part that is given.

use std::fmt;

use super::image::ContentRange;

impl ContentRange {
    /// Parses `bytes FIRST-LAST/TOTAL`. `None` for any other form, such as an unknown total; whether the numbers make sense is the
    /// device's to judge (protocol 5.3).
    pub fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some(ContentRange {
            first: number(first)?,
            last: number(last)?,
            total: number(total)?,
        })
    }

    /// Bytes in the range; zero where the numbers make no sense.
    pub fn count(&self) -> u64 {
        self.last
            .checked_sub(self.first)
            .map_or(0, |distance| distance.saturating_add(1))
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.first, self.last, self.total)
    }
}

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=N-`: everything from a position on, as devices ask.
    From(u64),
    /// `bytes=N-M`.
    Between {
        /// Position of the first byte.
        first: u64,
        /// Position of the last byte; beyond the end means up to the end.
        last: u64,
    },
    /// `bytes=-N`: this many bytes at the end.
    Last(u64),
}

impl ByteRange {
    /// Parses a header's value. `None` for several ranges, another unit or a malformed value: the whole is served then, as if
    /// the header were not there (RFC 9110, 14.2).
    pub fn parse(text: &str) -> Option<Self> {
        let (unit, range) = text.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        match (first, last) {
            ("", last) => Some(ByteRange::Last(saturated(last)?)),
            (first, "") => Some(ByteRange::From(saturated(first)?)),
            (first, last) => {
                let (first, last) = (saturated(first)?, saturated(last)?);
                (first <= last).then_some(ByteRange::Between { first, last })
            }
        }
    }

    /// The part of an image of `total` bytes; `None` if it has no byte of it, which is answered with 416.
    pub fn within(self, total: u64) -> Option<ContentRange> {
        let end = total.checked_sub(1)?;
        let (first, last) = match self {
            ByteRange::From(first) => (first, end),
            ByteRange::Between { first, last } => (first, last.min(end)),
            ByteRange::Last(0) => return None,
            ByteRange::Last(count) => (total.saturating_sub(count), end),
        };
        (first <= last).then_some(ContentRange { first, last, total })
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ByteRange::From(first) => write!(f, "bytes={first}-"),
            ByteRange::Between { first, last } => write!(f, "bytes={first}-{last}"),
            ByteRange::Last(count) => write!(f, "bytes=-{count}"),
        }
    }
}

fn number(digits: &str) -> Option<u64> {
    is_digits(digits).then(|| digits.parse().ok()).flatten()
}

/// Positions beyond 64 bits lie behind every image just as the largest does.
fn saturated(digits: &str) -> Option<u64> {
    is_digits(digits).then(|| digits.parse().unwrap_or(u64::MAX))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: u64, last: u64, total: u64) -> Option<ContentRange> {
        Some(ContentRange { first, last, total })
    }

    #[test]
    fn a_content_range_prints_as_it_parses() {
        let text = "bytes 512-1023/1024";
        let range = ContentRange::parse(text).unwrap();
        assert_eq!(range, part(512, 1023, 1024).unwrap());
        assert_eq!(range.to_string(), text);
        assert_eq!(range.count(), 512);
    }

    #[test]
    fn other_content_ranges_are_none() {
        for text in [
            "",
            "bytes */1024",
            "bytes 0-1/*",
            "bytes=0-1/2",
            "bytes 0-/2",
            "bytes -1/2",
            "bytes 0-1",
            "bytes +0-1/2",
            "items 0-1/2",
            "bytes 0-18446744073709551616/2",
        ] {
            assert_eq!(ContentRange::parse(text), None, "{text}");
        }
        assert_eq!(ContentRange::parse("bytes 5-4/2").unwrap().count(), 0);
        assert_eq!(part(0, u64::MAX, 0).unwrap().count(), u64::MAX);
    }

    #[test]
    fn ranges_are_cut_at_the_end_of_the_image() {
        let ask = |text: &str| ByteRange::parse(text).unwrap().within(1000);
        assert_eq!(ask("bytes=0-"), part(0, 999, 1000));
        assert_eq!(ask("bytes=999-"), part(999, 999, 1000));
        assert_eq!(ask("bytes=10-19"), part(10, 19, 1000));
        assert_eq!(ask("bytes=990-2000"), part(990, 999, 1000));
        assert_eq!(ask("bytes=-100"), part(900, 999, 1000));
        assert_eq!(ask("bytes=-5000"), part(0, 999, 1000));
        assert_eq!(ask("BYTES=0-99999999999999999999999"), part(0, 999, 1000));
    }

    #[test]
    fn a_range_without_a_byte_of_the_image_is_unsatisfiable() {
        for text in ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(ByteRange::parse(text).unwrap().within(1000), None, "{text}");
        }
        assert_eq!(ByteRange::From(0).within(0), None);
        assert_eq!(ByteRange::Last(1).within(0), None);
    }

    #[test]
    fn headers_that_ask_for_anything_else_are_passed_over() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=0-1,5-6",
            "bytes=a-",
            "items=0-1",
            "bytes=+1-",
        ] {
            assert_eq!(ByteRange::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_prints_as_it_parses() {
        for text in ["bytes=7-", "bytes=7-9", "bytes=-9"] {
            assert_eq!(ByteRange::parse(text).unwrap().to_string(), text);
        }
    }
}
