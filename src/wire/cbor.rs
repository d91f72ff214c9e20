//! Reading and writing CBOR item by item (RFC 8949), with the tolerance of the SDK's decoder: integers and lengths of any width,
//! containers of either length form, text of any bytes; chunked strings and reserved heads cannot be read, not even to be skipped.

use bytes::Bytes;

/// Why an item could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The bytes end within the item.
    #[error("the message is cut off")]
    End,
    /// A reserved head, a chunked string, or a break where an item belongs.
    #[error("an item is malformed or of a form that is not supported")]
    Malformed,
    /// A sound item of another type, or out of its type's range.
    #[error("an item has the wrong type")]
    Type,
}

/// An integer or a floating-point number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// CBOR major types 0 and 1.
    Int(i64),
    /// A float of any width.
    Float(f64),
}

const UINT: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

/// Additional information that announces an indefinite length (or, with major type 7, a break).
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;

/// First byte of an item with the number behind it.
#[derive(Clone, Copy)]
struct Head {
    major: u8,
    info: u8,
    argument: u64,
}

/// What is left of an open map (in pairs) or array (in elements).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Container {
    left: Option<u64>,
}

/// A container whose items are being skipped.
enum Enclosing {
    /// Items left, keys and values alike.
    Counted(u64),
    /// Ends with a break, which must not stand between a key and its value.
    UntilBreak { map: bool, half: bool },
}

/// A position in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    /// Begins at the first byte.
    pub(crate) fn new(message: &'b [u8]) -> Self {
        Reader { rest: message }
    }

    /// True when nothing is left.
    pub(crate) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// An unsigned integer of any width.
    #[inline]
    pub(crate) fn uint(&mut self) -> Result<u64, CborError> {
        let head = self.head()?;
        (head.major == UINT).then_some(head.argument).ok_or(CborError::Type)
    }

    /// An unsigned integer of at most 32 bits whose head is at most four bytes wide: the SDK's reader of message types cannot read
    /// an eight-byte head, whatever value it holds (protocol 3.6).
    pub(crate) fn narrow_uint(&mut self) -> Result<u32, CborError> {
        let head = self.head()?;
        let narrow = head.major == UINT && head.info < 27;
        narrow
            .then(|| u32::try_from(head.argument).expect("heads of at most four bytes hold 32 bits"))
            .ok_or(CborError::Type)
    }

    /// An integer of either sign that fits 64 bits.
    pub(crate) fn int(&mut self) -> Result<i64, CborError> {
        match self.number()? {
            Number::Int(int) => Ok(int),
            Number::Float(_) => Err(CborError::Type),
        }
    }

    /// An integer or a float.
    pub(crate) fn number(&mut self) -> Result<Number, CborError> {
        let head = self.head()?;
        let int = i64::try_from(head.argument).map_err(|_| CborError::Type);
        match (head.major, head.info) {
            (UINT, _) => int.map(Number::Int),
            (NEGATIVE, _) => int.map(|int| Number::Int(-1 - int)),
            (SIMPLE, 25) => Ok(Number::Float(half_to_double(head.argument as u16))),
            (SIMPLE, 26) => Ok(Number::Float(f64::from(f32::from_bits(head.argument as u32)))),
            (SIMPLE, 27) => Ok(Number::Float(f64::from_bits(head.argument))),
            _ => Err(CborError::Type),
        }
    }

    /// `false` or `true` in their one-byte form.
    pub(crate) fn boolean(&mut self) -> Result<bool, CborError> {
        let head = self.head()?;
        match (head.major, head.info) {
            (SIMPLE, 20) => Ok(false),
            (SIMPLE, 21) => Ok(true),
            _ => Err(CborError::Type),
        }
    }

    /// The bytes of a text of definite length; they need not be UTF-8.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<&'b [u8], CborError> {
        self.string(TEXT)
    }

    /// A byte string of definite length.
    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], CborError> {
        self.string(BYTES)
    }

    /// Opens a map; [`Self::more`] then tells whether a pair follows.
    pub(crate) fn map(&mut self) -> Result<Container, CborError> {
        self.container(MAP)
    }

    /// Opens an array; [`Self::more`] then tells whether an element follows.
    pub(crate) fn array(&mut self) -> Result<Container, CborError> {
        self.container(ARRAY)
    }

    /// True if another element or pair follows; otherwise the container is closed.
    #[inline]
    pub(crate) fn more(&mut self, container: &mut Container) -> Result<bool, CborError> {
        match &mut container.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.peek()? == BREAK => {
                self.rest = &self.rest[1..];
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// A map key: its number, or `None` for a key of another type, which is skipped.
    #[inline]
    pub(crate) fn key(&mut self) -> Result<Option<u64>, CborError> {
        if self.peek()? >> 5 == UINT {
            return self.uint().map(Some);
        }
        self.skip().map(|()| None)
    }

    /// Passes over one item with everything in it. Needs no stack of the machine's: hostile nesting costs heap only.
    pub(crate) fn skip(&mut self) -> Result<(), CborError> {
        let mut open: Vec<Enclosing> = Vec::new();
        loop {
            open.extend(self.enter()?);
            while let Some(innermost) = open.last_mut() {
                if self.item_follows(innermost)? {
                    break;
                }
                open.pop();
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    /// Passes over an item's head, its tags and, unless it is a container, its content.
    fn enter(&mut self) -> Result<Option<Enclosing>, CborError> {
        let head = self.head_behind_tags()?;
        match head.major {
            BYTES | TEXT => self.take(head.argument).map(|_| None),
            ARRAY | MAP if head.info == INDEFINITE => Ok(Some(Enclosing::UntilBreak {
                map: head.major == MAP,
                half: false,
            })),
            ARRAY => Ok(Some(Enclosing::Counted(head.argument))),
            MAP => head
                .argument
                .checked_mul(2)
                .map(|items| Some(Enclosing::Counted(items)))
                .ok_or(CborError::End),
            _ => Ok(None),
        }
    }

    fn item_follows(&mut self, container: &mut Enclosing) -> Result<bool, CborError> {
        match container {
            Enclosing::Counted(0) => Ok(false),
            Enclosing::Counted(left) => {
                *left -= 1;
                Ok(true)
            }
            Enclosing::UntilBreak { map, half } if self.peek()? == BREAK => {
                self.rest = &self.rest[1..];
                if *map && *half { Err(CborError::Malformed) } else { Ok(false) }
            }
            Enclosing::UntilBreak { half, .. } => {
                *half = !*half;
                Ok(true)
            }
        }
    }

    #[inline]
    fn string(&mut self, major: u8) -> Result<&'b [u8], CborError> {
        let head = self.head()?;
        if head.major != major {
            return Err(CborError::Type);
        }
        self.take(head.argument)
    }

    fn container(&mut self, major: u8) -> Result<Container, CborError> {
        let head = self.head()?;
        let left = (head.info != INDEFINITE).then_some(head.argument);
        (head.major == major).then_some(Container { left }).ok_or(CborError::Type)
    }

    fn head_behind_tags(&mut self) -> Result<Head, CborError> {
        loop {
            let head = self.head()?;
            if head.major != TAG {
                return Ok(head);
            }
        }
    }

    #[inline]
    fn head(&mut self) -> Result<Head, CborError> {
        let first = self.peek()?;
        let (major, info) = (first >> 5, first & 31);
        let width = match info {
            0..=23 => 0,
            24..=27 => 1 << (info - 24),
            INDEFINITE if matches!(major, ARRAY | MAP) => 0,
            _ => return Err(CborError::Malformed),
        };
        self.rest = &self.rest[1..];
        let argument = match width {
            0 => u64::from(info),
            _ => self
                .take(width)?
                .iter()
                .fold(0, |number, &byte| number << 8 | u64::from(byte)),
        };
        Ok(Head { major, info, argument })
    }

    #[inline]
    fn take(&mut self, count: u64) -> Result<&'b [u8], CborError> {
        let count = usize::try_from(count).map_err(|_| CborError::End)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CborError::End)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn peek(&self) -> Result<u8, CborError> {
        self.rest.first().copied().ok_or(CborError::End)
    }
}

/// IEEE 754 binary16, as in RFC 8949, appendix D.
fn half_to_double(half: u16) -> f64 {
    let exponent = i32::from(half >> 10 & 0x1f);
    let mantissa = f64::from(half & 0x3ff);
    let size = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if half & 0x8000 == 0 { size } else { -size }
}

/// Room for most messages, bytes: they are made without asking for memory.
const ROOM: usize = 256;

/// A message under construction. Integers are minimal; the caller closes what it opens with an indefinite length.
#[derive(Debug)]
pub(crate) struct Writer {
    /// So many bytes of it while it is short: all of them once it no longer is.
    short: [u8; ROOM],
    len: usize,
    /// All of it once it is longer.
    long: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer {
            short: [0; ROOM],
            len: 0,
            long: Vec::new(),
        }
    }
}

impl Writer {
    /// Opens a map of `pairs` pairs.
    pub(crate) fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(MAP, pairs as u64)
    }

    /// Opens an array of `elements` elements.
    pub(crate) fn array(&mut self, elements: usize) -> &mut Self {
        self.head(ARRAY, elements as u64)
    }

    /// Opens a map that [`Self::end`] closes.
    pub(crate) fn open_map(&mut self) -> &mut Self {
        self.byte(MAP << 5 | INDEFINITE)
    }

    /// Opens an array that [`Self::end`] closes.
    pub(crate) fn open_array(&mut self) -> &mut Self {
        self.byte(ARRAY << 5 | INDEFINITE)
    }

    /// Closes the innermost container of indefinite length.
    pub(crate) fn end(&mut self) -> &mut Self {
        self.byte(BREAK)
    }

    /// An unsigned integer, as a key too.
    #[inline]
    pub(crate) fn uint(&mut self, number: u64) -> &mut Self {
        self.head(UINT, number)
    }

    /// An integer of either sign.
    pub(crate) fn int(&mut self, number: i64) -> &mut Self {
        match u64::try_from(number) {
            Ok(number) => self.head(UINT, number),
            Err(_) => self.head(NEGATIVE, !number as u64),
        }
    }

    /// An integer, or a float of eight bytes.
    pub(crate) fn number(&mut self, number: Number) -> &mut Self {
        match number {
            Number::Int(int) => self.int(int),
            Number::Float(float) => {
                self.byte(SIMPLE << 5 | 27);
                self.put(&float.to_bits().to_be_bytes())
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, value: bool) -> &mut Self {
        self.byte(SIMPLE << 5 | 20 | u8::from(value))
    }

    /// A text, from bytes that need not be UTF-8.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.string(TEXT, text.as_ref())
    }

    /// A byte string.
    pub(crate) fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.string(BYTES, bytes.as_ref())
    }

    /// The message, in a place of its size.
    pub(crate) fn finish(self) -> Bytes {
        match self.long.is_empty() {
            true => Bytes::copy_from_slice(&self.short[..self.len]),
            false => self.long.into(),
        }
    }

    fn string(&mut self, major: u8, bytes: &[u8]) -> &mut Self {
        self.head(major, bytes.len() as u64).put(bytes)
    }

    #[inline]
    fn head(&mut self, major: u8, argument: u64) -> &mut Self {
        let (info, width) = match argument {
            0..24 => (argument as u8, 0),
            24..=0xff => (24, 1),
            0x100..=0xffff => (25, 2),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 8),
        };
        self.byte(major << 5 | info);
        for byte in &argument.to_be_bytes()[8 - width..] {
            self.byte(*byte);
        }
        self
    }

    #[inline]
    fn byte(&mut self, byte: u8) -> &mut Self {
        match self.short.get_mut(self.len) {
            Some(place) => {
                *place = byte;
                self.len += 1;
                self
            }
            None => self.put(&[byte]),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.len + bytes.len();
        match self.short.get_mut(self.len..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len = end;
            }
            None => {
                if self.long.is_empty() {
                    self.long.extend_from_slice(&self.short[..self.len]);
                    self.len = ROOM;
                }
                self.long.extend_from_slice(bytes);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width_and_sign_are_read_and_written() {
        for number in [0, 23, 24, 255, 256, 65_535, 65_536, i64::from(u32::MAX), 1 << 32, i64::MAX] {
            for int in [number, -1 - number] {
                let mut writer = Writer::default();
                writer.int(int);
                assert_eq!(Reader::new(&writer.finish()).int(), Ok(int));
            }
        }
        assert_eq!(Reader::new(&[0x1b, 0xff, 0, 0, 0, 0, 0, 0, 0]).int(), Err(CborError::Type));
    }

    /// Values of RFC 8949, appendix A.
    #[test]
    fn floats_of_every_width_are_read() {
        for (bytes, value) in [
            (&[0xf9, 0x3c, 0x00][..], 1.0),
            (&[0xf9, 0x7b, 0xff], 65_504.0),
            (&[0xf9, 0x00, 0x01], 5.960_464_477_539_063e-8),
            (&[0xf9, 0xc4, 0x00], -4.0),
            (&[0xf9, 0xfc, 0x00], f64::NEG_INFINITY),
            (&[0xfa, 0x47, 0xc3, 0x50, 0x00], 100_000.0),
            (&[0xfb, 0xc0, 0x10, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66], -4.1),
        ] {
            assert_eq!(Reader::new(bytes).number(), Ok(Number::Float(value)));
        }
    }

    #[test]
    fn a_long_message_is_written_like_a_short_one() {
        for before in [0, 1, ROOM - 3, ROOM - 1, ROOM] {
            for more in [0, 1, 2, 300] {
                let (text, rest) = (vec![b'a'; before], vec![b'b'; more]);
                let mut writer = Writer::default();
                writer.text(&text).bytes(&rest).uint(7);
                let written = writer.finish();
                let mut reader = Reader::new(&written);
                assert_eq!(
                    (reader.text(), reader.bytes(), reader.uint()),
                    (Ok(&text[..]), Ok(&rest[..]), Ok(7))
                );
                assert!(reader.at_end());
            }
        }
    }

    #[test]
    fn a_map_with_half_a_pair_cannot_be_skipped() {
        assert_eq!(Reader::new(&[0xbf, 0x01, 0xff]).skip(), Err(CborError::Malformed));
        assert_eq!(Reader::new(&[0xbf, 0x01, 0x02, 0xff]).skip(), Ok(()));
        assert_eq!(Reader::new(&[0xa1, 0x01]).skip(), Err(CborError::End));
    }

    #[test]
    fn lengths_beyond_every_message_end_it() {
        let huge = [0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Reader::new(&huge).text(), Err(CborError::End));
        let map = [0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Reader::new(&map).skip(), Err(CborError::End));
    }
}
