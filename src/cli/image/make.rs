//! `squall image make`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::refusal::Refusal;
use crate::mcuboot::{
    Dependency, Flaw, ImageSpec, ImageVersion, Pattern, SignatureScheme, SigningKey, Slot, SpecError, TlvKind, build_image,
    inspect, security_counter,
};
use crate::model::{Slug, parse_size, show_count};

use super::{file, show};

/// Bytes of an image at most: it stands in memory.
pub(super) const LARGEST: u64 = 256 << 20;
/// Bytes of a file with a key at most.
pub(super) const LARGEST_KEY: u64 = 64 << 10;

const EXAMPLES: &str = "\
Examples:
  squall image make --version 1.1.0 -o app.bin
  openssl genpkey -algorithm ed25519 -out key.pem
  squall image make --version 1.1.0 --size '128 KiB' --sign ed25519 --key key.pem -o app.bin
  squall image make --version 1.1.0 --pad '256 KiB' --confirm -o slot.bin
  squall image make --version 1.1.0 --sign ed25519 --key key.pem --flaw bad-signature -o bad.bin

The same arguments give the same bytes. OUT is overwritten.
`--flaw too-big` makes the image larger than the slot that `--pad` tells of;
neither it nor `--flaw truncated` is padded.

Exit codes: 0 made, 1 not written, 2 bad input.";

/// Arguments of `squall image make`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct MakeArgs {
    /// Version in the header: MAJOR.MINOR.REVISION, optionally +BUILD
    #[arg(long, value_name = "V")]
    version: ImageVersion,
    /// Bytes of the image, header, TLVs and signature included, padding not
    #[arg(long, value_name = "SIZE", default_value = "64 KiB", value_parser = bytes)]
    size: u64,
    /// Firmware that it is a version of; the build id is derived from it, among others
    #[arg(long, default_value = "app")]
    slug: Slug,
    /// What fills the payload
    #[arg(long, value_enum, default_value = "random")]
    pattern: PatternWord,
    /// Chooses the content of `--pattern random`
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Signs the image, with --key
    #[arg(long, value_name = "ed25519|ecdsa-p256|rsa-2048", requires = "key", value_parser = scheme)]
    sign: Option<SignatureScheme>,
    /// Private key in PEM, as openssl or imgtool write it, without passphrase
    #[arg(long, value_name = "FILE", requires = "sign")]
    key: Option<PathBuf>,
    /// Security counter, under the digest
    #[arg(long, value_name = "N")]
    security_counter: Option<u32>,
    /// Another image that this one needs, and its least version: `1@2.0.0`; repeatable
    #[arg(long, value_name = "IMAGE@V", value_parser = dependency)]
    dependency: Vec<Dependency>,
    /// Pads the file to a slot of this size, with a trailer that asks for a test swap
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pad: Option<u64>,
    /// Confirms the image in the trailer
    #[arg(long, requires = "pad")]
    confirm: bool,
    /// Unit in which the flash is written, in bytes: places the trailer
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = align)]
    align: u32,
    /// What is wrong with it
    #[arg(long, value_name = "FLAW", value_parser = flaw, help = flaw_help())]
    flaw: Option<Flaw>,
    /// File to write
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum PatternWord {
    /// Bytes without order
    Random,
    /// Zero bytes
    Zeros,
    /// 32-bit words that count
    Counter,
}

/// Carries the command out; gives the exit code.
pub(super) fn make(args: &MakeArgs) -> Result<u8, Refusal> {
    let spec = spec(args)?;
    let image = build_image(&spec).map_err(|error| refused(args, error))?;
    file::write(&args.output, &image)?;
    let key = spec.signed_by.as_ref().map(SigningKey::verifying_key);
    let seen = inspect(&image, key.as_ref(), spec.slot.map(|slot| slot.size), args.align);
    show::text(&args.output, &image, &seen, key.as_ref());
    Ok(0)
}

fn spec(args: &MakeArgs) -> Result<ImageSpec, Refusal> {
    let pattern = match args.pattern {
        PatternWord::Random => Pattern::Random { seed: args.seed },
        PatternWord::Zeros => Pattern::Zeros,
        PatternWord::Counter => Pattern::Counter,
    };
    let slot = args.pad.map(|size| Slot {
        size: u32::try_from(size).expect("sizes are bounded"),
        align: args.align,
        confirmed: args.confirm,
    });
    let counter = args
        .security_counter
        .map(|n| (TlvKind::SECURITY_COUNTER, security_counter(n)));
    let dependencies = args.dependency.iter().map(|needed| (TlvKind::DEPENDENCY, needed.to_bytes()));
    Ok(ImageSpec {
        protected: counter.into_iter().chain(dependencies).collect(),
        signed_by: signing_key(args)?,
        slot,
        flaw: args.flaw,
        ..ImageSpec::new(args.slug.to_string(), args.version, args.size, pattern)
    })
}

fn signing_key(args: &MakeArgs) -> Result<Option<SigningKey>, Refusal> {
    let (Some(scheme), Some(path)) = (args.sign, &args.key) else {
        return Ok(None);
    };
    let text = file::read(path, LARGEST_KEY)?;
    let key = SigningKey::from_pem(&String::from_utf8_lossy(&text))
        .map_err(|error| Refusal::bad_input(&format!("--key {}: {error}", path.display())))?;
    if key.scheme() != scheme {
        let message = format!("--key {}: is for {}, not for --sign {scheme}", path.display(), key.scheme());
        return Err(Refusal::bad_input(&message));
    }
    Ok(Some(key))
}

/// A spec's error with the flag that leads out of it.
fn refused(args: &MakeArgs, error: SpecError) -> Refusal {
    let flaw = args.flaw.map_or("", Flaw::word);
    Refusal::bad_input(&match error {
        SpecError::TooSmall { .. } | SpecError::TooLarge { .. } => format!("--size: {error}"),
        SpecError::Protected { .. } => format!("--dependency: {error}"),
        SpecError::Slot { .. } => format!("--pad: {error}"),
        SpecError::NotSigned => format!("--flaw {flaw}: {error}: add --sign and --key"),
        SpecError::NoSlot => format!("--flaw {flaw}: {error}: add --pad SIZE"),
    })
}

/// A size that fits in memory.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    match parse_size(text).map_err(|error| error.to_string())? {
        size if size > LARGEST => Err(format!("at most {} bytes", show_count(LARGEST))),
        size => Ok(size),
    }
}

pub(super) fn align(text: &str) -> Result<u32, String> {
    let known = [1, 2, 4, 8, 16, 32];
    let found = text.parse().ok().filter(|align| known.contains(align));
    found.ok_or_else(|| "one of 1, 2, 4, 8, 16, 32".to_owned())
}

fn scheme(text: &str) -> Result<SignatureScheme, String> {
    SignatureScheme::from_word(text).ok_or_else(|| list("", SignatureScheme::ALL.map(SignatureScheme::word)))
}

fn flaw(text: &str) -> Result<Flaw, String> {
    Flaw::from_word(text).ok_or_else(|| list("", Flaw::ALL.map(Flaw::word)))
}

fn flaw_help() -> String {
    list("What is wrong with it: ", Flaw::ALL.map(Flaw::word))
}

fn list<const N: usize>(before: &str, words: [&str; N]) -> String {
    format!("{before}one of {}", words.join(", "))
}

fn dependency(text: &str) -> Result<Dependency, String> {
    let (image, version) = text.split_once('@').ok_or("write it as IMAGE@VERSION: 1@2.0.0")?;
    Ok(Dependency {
        image: image.parse().map_err(|_| format!("`{image}` is no image number: 0 to 255"))?,
        version: version
            .parse()
            .map_err(|error: crate::mcuboot::ImageVersionError| error.to_string())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_a_number_and_a_version() {
        let needed = dependency("3@2.0.1").unwrap();
        assert_eq!((needed.image, needed.version.to_string().as_str()), (3, "2.0.1"));
        for text in ["3", "256@1.0.0", "@1.0.0", "1@1.0", "-1@1.0.0"] {
            assert!(dependency(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_beyond_memory_are_refused() {
        assert_eq!(bytes("256 MiB"), Ok(LARGEST));
        assert!(bytes("257 MiB").is_err() && bytes("64").is_err());
    }
}
