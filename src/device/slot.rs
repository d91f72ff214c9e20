//! One image slot: the bytes in it and the trailer at its end.
//!
//! Content is kept as extents, slices of shared images wherever it equals one; everything else is erased. The trailer is kept as
//! fields, because its status area alone would be hundreds of extents.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::behavior::{Behaviors, ImageBehavior};
use super::piece::Piece;
use super::swap::Field;
use crate::mcuboot::{ImageHeader, ImageInfo, SwapType, VerifyingKey, find_build_id, own_build_id};
use crate::model::{BuildId, Few};

/// Which of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The slot that runs.
    Primary,
    /// The slot that downloads are written to.
    Secondary,
}

/// A slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// By position, not overlapping, never empty.
    extents: Few<Extent>,
    /// What application and bootloader have left at the end of the slot.
    pub(super) trailer: Trailer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Extent {
    at: u32,
    bytes: Piece,
}

impl Extent {
    fn end(&self) -> u32 {
        self.at + self.bytes.len()
    }

    fn joined(&self, next: &Extent) -> Option<Extent> {
        let bytes = Some(self).filter(|first| first.end() == next.at)?.bytes.joined(&next.bytes)?;
        Some(Extent { at: self.at, bytes })
    }

    fn range(&self, range: Range<u32>) -> Option<Extent> {
        let (start, end) = (self.at.max(range.start), self.end().min(range.end));
        (start < end).then(|| Extent {
            at: start,
            bytes: self.bytes.slice(start - self.at..end - self.at),
        })
    }
}

/// The trailer's fields (protocol 6.5 speaks of its flags; positions in flash are [`crate::mcuboot::TrailerLayout`]'s).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Makes the trailer hold.
    pub(super) magic: Mark,
    /// What the swap is for.
    pub(super) swap: Option<SwapType>,
    /// Pages of the images in the primary and in the secondary slot when the swap began.
    pub(super) sizes: Option<(u16, u16)>,
    /// The image is confirmed.
    pub(super) image_ok: Mark,
    /// The swap is over.
    pub(super) copy_done: Mark,
    /// Pages copied by the swap.
    pub(super) status: u16,
}

impl Trailer {
    /// True if nothing has been written since the last erase.
    pub(super) fn is_blank(&self) -> bool {
        *self == Trailer::default()
    }

    /// Writes a field; false if it was complete before.
    pub(super) fn set(&mut self, field: Field) -> bool {
        let mark = match field {
            Field::Swap(kind) => return self.swap.replace(kind).is_none(),
            Field::Sizes(first, second) => return self.sizes.replace((first, second)).is_none(),
            Field::Magic => &mut self.magic,
            Field::ImageOk => &mut self.image_ok,
            Field::CopyDone => &mut self.copy_done,
        };
        std::mem::replace(mark, Mark::Set) != Mark::Set
    }
}

/// A field of the trailer that is written once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
    /// Erased.
    #[default]
    Unset,
    /// Written.
    Set,
    /// Power failed while it was written: counts as unset, and writing it again completes it.
    Torn,
}

/// An image found in a slot.
pub(super) enum Found<'a> {
    /// One of the run's sound images, whole.
    Known(&'a ImageBehavior),
    /// Another, by what its header and TLVs say.
    Other(ImageInfo),
}

impl Slot {
    /// A slot with an image at its start and a blank trailer.
    pub(super) fn holding(image: impl Into<Piece>) -> Slot {
        let bytes = image.into();
        Slot {
            extents: Few::One(Extent { at: 0, bytes }),
            trailer: Trailer::default(),
        }
    }

    /// Fills `into` with what stands at `at`; erased bytes are 0xff.
    pub(super) fn read(&self, at: u32, into: &mut [u8]) {
        into.fill(0xff);
        let wanted = at..at + into.len() as u32;
        for extent in self.within(wanted) {
            let start = (extent.at - at) as usize;
            into[start..start + extent.bytes.len() as usize].copy_from_slice(&extent.bytes);
        }
    }

    /// Erases a range.
    pub(super) fn erase(&mut self, range: Range<u32>) {
        if self.is_erased(range.clone()) {
            return;
        }
        let left = |extent: &Extent| [extent.range(0..range.start), extent.range(range.end..u32::MAX)];
        self.extents = self.extents.iter().flat_map(left).flatten().collect();
    }

    /// The bytes that reach up to `at`.
    pub(super) fn ending_at(&self, at: u32) -> Option<&[u8]> {
        let extent = self.extents.iter().find(|extent| extent.end() == at)?;
        Some(&extent.bytes)
    }

    /// True if `bytes`, which begin at `offset` of an image, follow in that image on what reaches up to `at`.
    pub(super) fn goes_on(&self, at: u32, offset: u64, bytes: &[u8]) -> bool {
        let before = self.extents.iter().find(|extent| extent.end() == at);
        before.is_some_and(|before| before.bytes.ends_at() == offset && before.bytes.is_followed_by(bytes))
    }

    /// True if nothing stands in the range.
    pub(super) fn is_erased(&self, range: Range<u32>) -> bool {
        let stands = |extent: &Extent| extent.at < range.end && range.start < extent.end();
        range.is_empty() || !self.extents.iter().any(stands)
    }

    /// Writes to erased flash; slices of a known image are kept as such. False, and nothing is written, where the range was not erased.
    #[must_use]
    pub(super) fn write(&mut self, at: u32, bytes: &Bytes, known: &Behaviors) -> bool {
        self.grow(at, bytes) || self.put(at, known.piece(bytes))
    }

    /// Writes what follows in an image on what reaches up to `at`, as most of a download does; false, and nothing is written, if it is
    /// something else.
    fn grow(&mut self, at: u32, bytes: &[u8]) -> bool {
        let end = at + bytes.len() as u32;
        let Some(place) = self.extents.iter().position(|extent| extent.end() == at) else {
            return false;
        };
        let free = self.extents.get(place + 1).is_none_or(|next| end <= next.at);
        let grows = free && self.extents[place].bytes.grow(bytes);
        if grows {
            self.join(place);
        }
        grows
    }

    /// The same with a piece of what stood in flash. Neighbors that are slices of one image become one extent.
    #[must_use]
    pub(super) fn put(&mut self, at: u32, bytes: Piece) -> bool {
        if bytes.is_empty() {
            return true;
        }
        if !self.is_erased(at..at + bytes.len()) {
            return false;
        }
        let place = self.extents.partition_point(|extent| extent.at < at);
        let extent = Extent { at, bytes };
        let joined = place.checked_sub(1).and_then(|left| self.extents[left].joined(&extent));
        match joined {
            Some(both) => {
                self.extents[place - 1] = both;
                self.join(place - 1);
            }
            None => {
                self.extents.insert(place, extent);
                self.join(place);
            }
        }
        true
    }

    /// Turns over bits of the image at `at`: one in each of `bits` equal parts of it. Nothing where no image can be found.
    pub(super) fn flip(&mut self, at: u32, bits: u32, draw: u64, known: &Behaviors) {
        let Some(len) = self.image(at, known).map(|found| found.len() * 8) else {
            return;
        };
        let parts = u64::from(bits).min(len);
        for part in 0..parts {
            let (start, end) = (len * part / parts, len * (part + 1) / parts);
            let bit = start + draw.rotate_left(part as u32 * 7) % (end - start);
            let place = at + (bit / 8) as u32;
            let mut byte = [0];
            self.read(place, &mut byte);
            byte[0] ^= 1 << (bit % 8);
            self.erase(place..place + 1);
            let written = self.write(place, &Bytes::copy_from_slice(&byte), known);
            debug_assert!(written, "the byte was erased");
        }
    }

    /// Some bits of what stands in the range read as erased: power failed while they were erased or written.
    pub(super) fn set_bits(&mut self, range: Range<u32>, bits: u64, known: &Behaviors) {
        if self.is_erased(range.clone()) {
            return;
        }
        let mut mixed = vec![0; range.len()];
        self.read(range.start, &mut mixed);
        for (byte, mask) in mixed.iter_mut().zip(bits.to_le_bytes().into_iter().cycle()) {
            *byte |= mask;
        }
        self.erase(range.clone());
        let written = self.write(range.start, &mixed.into(), known);
        debug_assert!(written, "the range was erased");
    }

    /// What stands in a range, each piece with its distance from the start of the range.
    pub(super) fn pieces(&self, range: Range<u32>) -> impl Iterator<Item = (u32, Piece)> + '_ {
        let start = range.start;
        self.within(range).map(move |extent| (extent.at - start, extent.bytes))
    }

    /// True if the image is confirmed; one that was never swapped in is.
    pub(super) fn is_confirmed(&self) -> bool {
        self.trailer.magic != Mark::Set || self.trailer.image_ok == Mark::Set
    }

    /// The image at position `at`, if its header and TLVs can be read.
    pub(super) fn image<'k>(&self, at: u32, known: &'k Behaviors) -> Option<Found<'k>> {
        if let Some(image) = self.known_image(at, known) {
            return Some(Found::Known(image));
        }
        ImageInfo::read(self.reader(at)).ok().map(Found::Other)
    }

    /// Whether the image at `at` is what its digest says, and bears the signature of the key.
    pub(super) fn is_sound(&self, at: u32, found: &Found<'_>, key: Option<&VerifyingKey>) -> bool {
        let info = match found {
            Found::Known(_) => return true,
            Found::Other(info) => info,
        };
        let signed = |key| info.verify_signature(key, &info.digest, self.reader(at)).is_ok();
        info.verify(self.reader(at)).is_ok() && key.is_none_or(signed)
    }

    /// The build id that is found in a downloaded image at `at`, of which at most `limit` bytes are looked at. A header is all that
    /// the search needs: whether the image is whole is for the bootloader to find out.
    pub(super) fn build_id(&self, at: u32, limit: u32, known: &Behaviors) -> Option<BuildId> {
        if let Some(image) = self.known_image(at, known) {
            return image.build_id;
        }
        let within = |from: u64, into: &mut [u8]| {
            let end = from.saturating_add(into.len() as u64);
            end <= limit.into() && self.reader(at)(from, into)
        };
        let mut head = [0; ImageHeader::LEN];
        let header = within(0, &mut head).then(|| ImageHeader::from_bytes(&head))?.ok()?;
        find_build_id(&header, within).map(BuildId)
    }

    /// The build id that the image at `at` tells of itself when it runs.
    pub(super) fn own_build_id(&self, at: u32, found: &Found<'_>) -> Option<Arc<BuildId>> {
        match found {
            Found::Known(image) => image.own_build_id.clone(),
            Found::Other(info) => own_build_id(&info.header, self.reader(at)).map(|id| Arc::new(BuildId(id))),
        }
    }

    fn known_image<'k>(&self, at: u32, known: &'k Behaviors) -> Option<&'k ImageBehavior> {
        let extent = self.extents.iter().find(|extent| extent.at <= at && at < extent.end())?;
        let start = extent.bytes.as_ptr() as usize + (at - extent.at) as usize;
        known.images.values().find(|behavior| {
            let whole = (extent.end() - at) as usize >= behavior.image.len();
            behavior.sound && whole && behavior.image.as_ptr() as usize == start
        })
    }

    fn reader(&self, start: u32) -> impl FnMut(u64, &mut [u8]) -> bool + '_ {
        move |at, into| {
            let Ok(at) = u32::try_from(at + u64::from(start)) else {
                return false;
            };
            let reaches = at.checked_add(into.len() as u32).is_some();
            if reaches {
                self.read(at, into);
            }
            reaches
        }
    }

    fn within(&self, range: Range<u32>) -> impl Iterator<Item = Extent> + '_ {
        self.extents.iter().filter_map(move |extent| extent.range(range.clone()))
    }

    fn join(&mut self, left: usize) {
        let Some([first, second]) = self.extents.get(left..left + 2) else {
            return;
        };
        if let Some(both) = first.joined(second) {
            self.extents[left] = both;
            self.extents.remove(left + 1);
        }
    }
}

impl Found<'_> {
    /// Bytes of the image from header to last TLV.
    pub(super) fn len(&self) -> u64 {
        match self {
            Found::Known(behavior) => behavior.image.len() as u64,
            Found::Other(info) => info.len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{BootOutcome, Dealt};
    use crate::model::Digest;

    fn library(image: &Bytes) -> Behaviors {
        let behavior = ImageBehavior {
            fits: Dealt::Same(true),
            counter: 0,
            firmware: Arc::new("app@1.0.0".parse().unwrap()),
            boot: Dealt::Same(BootOutcome::default()),
            image: image.clone().into(),
            build_id: None,
            own_build_id: None,
            sound: true,
        };
        Behaviors {
            images: [(Digest([0; 32]), behavior)].into(),
            ..Behaviors::default()
        }
    }

    #[test]
    fn slices_of_a_known_image_grow_together() {
        let image = Bytes::from(vec![7; 4096]);
        let known = library(&image);
        let mut slot = Slot::default();
        assert!(slot.write(1024, &image.slice(0..1024), &known));
        assert!(slot.write(3072, &image.slice(2048..4096), &known));
        assert!(slot.write(2048, &image.slice(1024..2048), &known));
        assert_eq!(slot.extents.len(), 1);
        assert!(matches!(slot.image(1024, &known), Some(Found::Known(_))));
        slot.erase(2048..2049);
        assert!(slot.image(1024, &known).is_none());
    }

    #[test]
    fn only_erased_flash_is_written() {
        let known = Behaviors::default();
        let mut slot = Slot::holding(Bytes::from_static(b"abcdef"));
        assert!(!slot.write(5, &Bytes::from_static(b"x"), &known));
        slot.erase(2..4);
        let mut seen = [0; 8];
        slot.read(0, &mut seen);
        assert_eq!(&seen, b"ab\xff\xffef\xff\xff");
        assert!(slot.write(2, &Bytes::from_static(b"CD"), &known));
        slot.read(0, &mut seen);
        assert_eq!(&seen, b"abCDef\xff\xff");
    }
}
