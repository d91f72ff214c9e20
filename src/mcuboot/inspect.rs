//! Judging an image file: everything that can be read of it, and what is wrong with it.

use std::ops::ControlFlow;

use super::build_id::each_descriptor;
use super::flaw::Flaw;
use super::header::ImageHeader;
use super::hex::Hex;
use super::image::{ImageError, ImageInfo, SignatureError, slice_reader};
use super::signature::{SignatureScheme, VerifyingKey};
use super::slot::Trailer;
use super::trailer::TrailerLayout;

/// What a file holds, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Bytes of the file.
    pub len: u64,
    /// Its header, if it begins with one.
    pub header: Option<ImageHeader>,
    /// Header, TLVs and claimed digest, if all of them can be read.
    pub info: Option<ImageInfo>,
    /// Digest of the content, if the header can be read and the content is whole.
    pub digest: Option<[u8; 32]>,
    /// What is known of the signature, if the TLVs can be read.
    pub signature: Option<SignatureVerdict>,
    /// Positions and values of the first build id descriptors in the payload.
    pub build_ids: Vec<(u64, [u8; 20])>,
    /// The trailer, if the file ends as a slot does.
    pub trailer: Option<Trailer>,
    /// What is wrong, gravest first; empty if nothing is.
    pub defects: Vec<Defect>,
}

/// What is known of an image's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureVerdict {
    /// It has none, and no key wants one.
    Unsigned,
    /// It has one, but no key was given to check it with.
    Unchecked(SignatureScheme),
    /// The key signed it.
    Good(SignatureScheme),
    /// It does not bear the key's signature.
    Bad(SignatureError),
}

/// Something wrong with an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The file does not begin with a header.
    #[error("this is no MCUboot image: {0}")]
    NoImage(ImageError),
    /// The file ends within the image.
    #[error("the file ends at {len} bytes, but by its header the image has at least {needed}")]
    Truncated {
        /// Bytes of the file.
        len: u64,
        /// Bytes that header and TLVs tell of, as far as they can be read.
        needed: u64,
    },
    /// TLVs that cannot be read.
    #[error("the TLVs cannot be read: {0}")]
    Tlvs(ImageError),
    /// The content is not what was digested.
    #[error("the digest is not that of the content, which has {}", Hex(computed))]
    Digest {
        /// Of the content.
        computed: [u8; 32],
    },
    /// The image does not bear the key's signature.
    #[error("{0}")]
    Signature(SignatureError),
    /// A device that updates by Spotflow's protocol refuses such an image.
    #[error("the payload holds no build id, so a device refuses the image")]
    NoBuildId,
    /// As above.
    #[error("the build id is all zero, which counts as none, so a device refuses the image")]
    ZeroBuildId,
    /// The running image would report another id than the downloaded one made expect.
    #[error(
        "the payload holds several build ids: a device expects the first, {}, but the image reports its own, {}, once it runs",
        Hex(first),
        Hex(last)
    )]
    WrongBuildId {
        /// What a device takes for the image's.
        first: [u8; 20],
        /// The last in the payload.
        last: [u8; 20],
    },
    /// The slot cannot hold it.
    #[error("the image has {len} bytes, a slot of {slot} has room for {room} beside its trailer")]
    TooBig {
        /// Bytes of the image.
        len: u64,
        /// Bytes of the slot.
        slot: u32,
        /// Bytes beside the trailer.
        room: u32,
    },
}

impl Defect {
    /// The flaw that an image with this defect was made with, if it was made on purpose.
    pub fn flaw(&self) -> Option<Flaw> {
        match self {
            Defect::NoImage(ImageError::HeaderMagic { .. }) => Some(Flaw::BadMagic),
            Defect::NoImage(_) => None,
            Defect::Truncated { .. } => Some(Flaw::Truncated),
            Defect::Tlvs(_) => None,
            Defect::Digest { .. } => Some(Flaw::WrongDigest),
            Defect::Signature(SignatureError::Unsigned) => Some(Flaw::Unsigned),
            Defect::Signature(SignatureError::OtherKey { .. } | SignatureError::OtherScheme { .. }) => Some(Flaw::WrongKey),
            Defect::Signature(_) => Some(Flaw::BadSignature),
            Defect::NoBuildId => Some(Flaw::NoBuildId),
            Defect::ZeroBuildId => Some(Flaw::ZeroBuildId),
            Defect::WrongBuildId { .. } => Some(Flaw::WrongBuildId),
            Defect::TooBig { .. } => Some(Flaw::TooBig),
        }
    }

    /// One word for it.
    pub fn word(&self) -> &'static str {
        self.flaw().map_or("malformed", Flaw::word)
    }
}

/// Descriptors that are kept; a file may hold any number.
const MOST_BUILD_IDS: usize = 8;

/// Judges an image file. With a key the image must bear its signature; with the size of a slot it must fit that slot, which is
/// written in units of `align` bytes.
pub fn inspect(file: &[u8], key: Option<&VerifyingKey>, slot: Option<u32>, align: u32) -> Inspection {
    let mut seen = Inspection {
        len: file.len() as u64,
        header: None,
        info: None,
        digest: None,
        signature: None,
        build_ids: Vec::new(),
        trailer: Trailer::read(file, align),
        defects: Vec::new(),
    };
    if let Err(defect) = seen.read(file) {
        seen.defects.push(defect);
    }
    if let Some(info) = seen.info.clone() {
        seen.judge_content(file, &info, key);
        seen.judge_size(info.len, slot, align);
        seen.judge_build_ids(file, &info);
    }
    seen
}

impl Inspection {
    fn read(&mut self, file: &[u8]) -> Result<(), Defect> {
        let len = self.len;
        let Some(head) = file.first_chunk::<{ ImageHeader::LEN }>() else {
            let needed = ImageHeader::LEN as u64;
            return Err(Defect::Truncated { len, needed });
        };
        let header = ImageHeader::from_bytes(head).map_err(Defect::NoImage)?;
        self.header = Some(header);
        let info = ImageInfo::read(slice_reader(file)).map_err(|error| match error {
            ImageError::Unreadable { at, len: more } => Defect::Truncated { len, needed: at + more },
            other => Defect::Tlvs(other),
        })?;
        self.info = Some(info);
        Ok(())
    }

    fn judge_content(&mut self, file: &[u8], info: &ImageInfo, key: Option<&VerifyingKey>) {
        let digest = info
            .content_digest(slice_reader(file))
            .expect("the TLVs stand behind the content and were read");
        self.digest = Some(digest);
        if digest != info.digest {
            self.defects.push(Defect::Digest { computed: digest });
        }
        let schemes = info.tlvs.iter().filter(|tlv| !tlv.protected);
        let scheme = schemes.filter_map(|tlv| SignatureScheme::of_tlv(tlv.kind)).next();
        let verdict = match (key, scheme) {
            (None, None) => SignatureVerdict::Unsigned,
            (None, Some(scheme)) => SignatureVerdict::Unchecked(scheme),
            (Some(key), _) => match info.verify_signature(key, &digest, slice_reader(file)) {
                Ok(()) => SignatureVerdict::Good(key.scheme()),
                Err(error) => SignatureVerdict::Bad(error),
            },
        };
        if let SignatureVerdict::Bad(error) = &verdict {
            self.defects.push(Defect::Signature(error.clone()));
        }
        self.signature = Some(verdict);
    }

    /// A padded file is a slot of its own size.
    fn judge_size(&mut self, len: u64, slot: Option<u32>, align: u32) {
        let padded = self.trailer.map(|trailer| trailer.layout);
        let asked = slot.map(|size| (size, TrailerLayout::new(size, align)));
        let own = padded.map(|layout| (layout.slot_size(), Some(layout)));
        for (slot, layout) in asked.into_iter().chain(own) {
            let room = layout.map_or(0, TrailerLayout::start);
            let overlong = padded.is_some() && self.len > u64::from(slot);
            if len > u64::from(room) || overlong {
                self.defects.push(Defect::TooBig { len, slot, room });
                return;
            }
        }
    }

    fn judge_build_ids(&mut self, file: &[u8], info: &ImageInfo) {
        let mut last = None;
        each_descriptor(&info.header, slice_reader(file), |at, id| {
            if self.build_ids.len() < MOST_BUILD_IDS {
                self.build_ids.push((at, id));
            }
            last = Some(id);
            ControlFlow::Continue(())
        });
        let first = self.build_ids.first().map(|(_, id)| *id);
        let defect = match (first, last) {
            (Some(first), _) if first == [0; 20] => Defect::ZeroBuildId,
            (Some(first), Some(last)) if first != last => Defect::WrongBuildId { first, last },
            (Some(_), _) => return,
            (None, _) => Defect::NoBuildId,
        };
        self.defects.push(defect);
    }
}
