//! What `squall image` prints of an image.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::cli::results::put;
use crate::mcuboot::{Dependency, Flag, Hex, Inspection, SignatureVerdict, SwapType, Tlv, TlvKind, VerifyingKey};
use crate::model::show_count;

/// Prints an image for people, the judgement last.
pub(super) fn text(path: &Path, image: &[u8], seen: &Inspection, key: Option<&VerifyingKey>) {
    let mut text = String::new();
    write_text(&mut text, path, image, seen, key).expect("a string takes everything");
    put(&text);
}

/// Prints an image for programs.
pub(super) fn json(path: &Path, image: &[u8], seen: &Inspection) {
    let shown = Shown::of(path, image, seen);
    let text = serde_json::to_string_pretty(&shown).expect("plain data has a JSON form");
    put(&format!("{text}\n"));
}

fn write_text(
    to: &mut String,
    path: &Path,
    image: &[u8],
    seen: &Inspection,
    key: Option<&VerifyingKey>,
) -> Result<(), std::fmt::Error> {
    writeln!(to, "{}: {} bytes", path.display(), show_count(seen.len))?;
    if let Some(header) = seen.header {
        writeln!(to, "  version    {}", header.version)?;
        writeln!(
            to,
            "  header     {} bytes, load address {:#010x}, flags {:#010x}",
            header.header_size, header.load_address, header.flags
        )?;
        let protected = header.protected_tlv_size;
        writeln!(
            to,
            "  payload    {} bytes, then {protected} bytes of protected TLVs",
            show_count(header.image_size.into())
        )?;
    }
    for (at, id) in &seen.build_ids {
        writeln!(to, "  build id   {}, descriptor at {at:#x}", Hex(id))?;
    }
    for tlv in seen.info.iter().flat_map(|info| &info.tlvs) {
        write_tlv(to, tlv, value(image, tlv))?;
    }
    if let (Some(digest), Some(info)) = (seen.digest, &seen.info) {
        let verdict = if digest == info.digest {
            "as claimed"
        } else {
            "not as claimed"
        };
        writeln!(to, "  digest     {} of the content, {verdict}", Hex(&digest))?;
    }
    if let Some(signature) = &seen.signature {
        writeln!(to, "  signature  {}", told(signature))?;
    }
    if let Some(key) = key {
        writeln!(to, "  key        {}, hash {}", key.scheme(), Hex(&key.hash()))?;
    }
    write_rest(to, image, seen)?;
    match seen.defects.as_slice() {
        [] => writeln!(to, "good"),
        defects => defects
            .iter()
            .try_for_each(|defect| writeln!(to, "flawed: {}: {defect}", defect.word())),
    }
}

fn write_tlv(to: &mut String, tlv: &Tlv, value: &[u8]) -> std::fmt::Result {
    let protected = if tlv.protected { ", protected" } else { "" };
    let meaning = meaning(tlv.kind, value)
        .map(|meaning| format!(": {meaning}"))
        .unwrap_or_default();
    writeln!(
        to,
        "  TLV {:#04x}   {}{protected}, {} bytes at {:#x}{meaning}",
        tlv.kind.0,
        tlv.kind.name(),
        tlv.len,
        tlv.at
    )?;
    value.chunks(32).try_for_each(|row| writeln!(to, "             {}", Hex(row)))
}

/// What stands behind the image in the file.
fn write_rest(to: &mut String, image: &[u8], seen: &Inspection) -> std::fmt::Result {
    if let Some(trailer) = seen.trailer {
        return writeln!(
            to,
            "  trailer    slot of {} bytes: image_ok {}, copy_done {}, swap {}",
            show_count(seen.len),
            flag(trailer.image_ok),
            flag(trailer.copy_done),
            swap(trailer.swap)
        );
    }
    let end = seen.info.as_ref().and_then(|info| usize::try_from(info.len).ok());
    match end.and_then(|end| image.get(end..)) {
        None | Some([]) => Ok(()),
        Some(rest) if rest.iter().all(|byte| *byte == 0xff) => writeln!(to, "  behind it  {} erased bytes, no trailer", rest.len()),
        Some(rest) => writeln!(to, "  behind it  {} bytes that are not the image's", rest.len()),
    }
}

fn told(signature: &SignatureVerdict) -> String {
    match signature {
        SignatureVerdict::Unsigned => "none".to_owned(),
        SignatureVerdict::Unchecked(scheme) => format!("{scheme}, not checked: give its key with --key"),
        SignatureVerdict::Good(scheme) => format!("{scheme}, good"),
        SignatureVerdict::Bad(error) => format!("bad: {error}"),
    }
}

fn meaning(kind: TlvKind, value: &[u8]) -> Option<String> {
    match kind {
        TlvKind::SECURITY_COUNTER => Some(u32::from_le_bytes(value.try_into().ok()?).to_string()),
        TlvKind::DEPENDENCY => {
            let needed = Dependency::from_bytes(value)?;
            Some(format!("image {} at {} or later", needed.image, needed.version))
        }
        _ => None,
    }
}

fn flag(flag: Flag) -> String {
    match flag {
        Flag::Set => "set".to_owned(),
        Flag::Unset => "unset".to_owned(),
        Flag::Torn(byte) => format!("torn ({byte:#04x})"),
    }
}

fn swap(swap: Option<SwapType>) -> &'static str {
    match swap {
        None => "none",
        Some(SwapType::Test) => "test",
        Some(SwapType::Permanent) => "permanent",
        Some(SwapType::Revert) => "revert",
    }
}

fn value<'a>(image: &'a [u8], tlv: &Tlv) -> &'a [u8] {
    let start = usize::try_from(tlv.at).ok();
    let value = start.and_then(|start| image.get(start..)?.get(..tlv.len.into()));
    value.expect("a TLV that was read lies in the file")
}

/// The JSON form.
#[derive(Serialize)]
struct Shown {
    schema: &'static str,
    file: String,
    bytes: u64,
    verdict: &'static str,
    defects: Vec<ShownDefect>,
    version: Option<String>,
    header: Option<ShownHeader>,
    build_ids: Vec<ShownBuildId>,
    tlvs: Vec<ShownTlv>,
    digest: Option<ShownDigest>,
    key_hash: Option<String>,
    signature: Option<ShownSignature>,
    trailer: Option<ShownTrailer>,
}

#[derive(Serialize)]
struct ShownDefect {
    flaw: &'static str,
    message: String,
}

#[derive(Serialize)]
struct ShownHeader {
    bytes: u16,
    load_address: u32,
    flags: u32,
    payload_bytes: u32,
    protected_tlv_bytes: u16,
}

#[derive(Serialize)]
struct ShownBuildId {
    at: u64,
    id: String,
}

#[derive(Serialize)]
struct ShownTlv {
    kind: u16,
    name: &'static str,
    protected: bool,
    at: u64,
    bytes: u16,
    hex: String,
    meaning: Option<String>,
}

#[derive(Serialize)]
struct ShownDigest {
    claimed: String,
    computed: String,
}

#[derive(Serialize)]
struct ShownSignature {
    scheme: Option<&'static str>,
    verdict: &'static str,
    message: String,
}

#[derive(Serialize)]
struct ShownTrailer {
    slot_bytes: u32,
    image_ok: String,
    copy_done: String,
    swap: &'static str,
}

impl Shown {
    fn of(path: &Path, image: &[u8], seen: &Inspection) -> Shown {
        let tlvs: &[Tlv] = seen.info.as_ref().map_or(&[], |info| &info.tlvs);
        let key_hash = tlvs.iter().find(|tlv| tlv.kind == TlvKind::KEY_HASH);
        Shown {
            schema: "squall.image/1",
            file: path.display().to_string(),
            bytes: seen.len,
            verdict: if seen.defects.is_empty() { "good" } else { "flawed" },
            defects: seen
                .defects
                .iter()
                .map(|defect| ShownDefect {
                    flaw: defect.word(),
                    message: defect.to_string(),
                })
                .collect(),
            version: seen.header.map(|header| header.version.to_string()),
            header: seen.header.map(|header| ShownHeader {
                bytes: header.header_size,
                load_address: header.load_address,
                flags: header.flags,
                payload_bytes: header.image_size,
                protected_tlv_bytes: header.protected_tlv_size,
            }),
            build_ids: seen
                .build_ids
                .iter()
                .map(|(at, id)| ShownBuildId {
                    at: *at,
                    id: Hex(id).to_string(),
                })
                .collect(),
            tlvs: tlvs.iter().map(|tlv| ShownTlv::of(tlv, value(image, tlv))).collect(),
            digest: seen.info.as_ref().zip(seen.digest).map(|(info, computed)| ShownDigest {
                claimed: Hex(&info.digest).to_string(),
                computed: Hex(&computed).to_string(),
            }),
            key_hash: key_hash.map(|tlv| Hex(value(image, tlv)).to_string()),
            signature: seen.signature.as_ref().map(ShownSignature::of),
            trailer: seen.trailer.map(|trailer| ShownTrailer {
                slot_bytes: trailer.layout.slot_size(),
                image_ok: flag(trailer.image_ok),
                copy_done: flag(trailer.copy_done),
                swap: swap(trailer.swap),
            }),
        }
    }
}

impl ShownTlv {
    fn of(tlv: &Tlv, value: &[u8]) -> ShownTlv {
        ShownTlv {
            kind: tlv.kind.0,
            name: tlv.kind.name(),
            protected: tlv.protected,
            at: tlv.at,
            bytes: tlv.len,
            hex: Hex(value).to_string(),
            meaning: meaning(tlv.kind, value),
        }
    }
}

impl ShownSignature {
    fn of(verdict: &SignatureVerdict) -> ShownSignature {
        let (scheme, word) = match verdict {
            SignatureVerdict::Unsigned => (None, "none"),
            SignatureVerdict::Unchecked(scheme) => (Some(scheme.word()), "unchecked"),
            SignatureVerdict::Good(scheme) => (Some(scheme.word()), "good"),
            SignatureVerdict::Bad(_) => (None, "bad"),
        };
        ShownSignature {
            scheme,
            verdict: word,
            message: told(verdict),
        }
    }
}
