//! `squall image inspect`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::BAD_INPUT;
use crate::cli::refusal::Refusal;
use crate::mcuboot::{self, VerifyingKey};

use super::make::{LARGEST, LARGEST_KEY, align, bytes};
use super::{file, show};

const EXAMPLES: &str = "\
Examples:
  squall image inspect app.bin
  squall image inspect app.bin --key key.pub.pem
  squall image inspect app.bin --slot '108 KiB' --json

Without --key a signature is shown but not checked; with it, an image that does
not bear the key's signature is flawed.
An image without a build id is flawed: a device refuses it.

Exit codes: 0 nothing is wrong, 1 internal error, 2 bad input, or the image is flawed.";

/// Arguments of `squall image inspect`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct InspectArgs {
    /// An MCUboot image, or a slot with one
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Key in PEM that must have signed the image; of a private key the public half is taken
    #[arg(long, value_name = "PUBLIC.pem")]
    key: Option<PathBuf>,
    /// Bytes of the slot that the image must fit, with its trailer
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    slot: Option<u64>,
    /// Unit in which the flash is written, in bytes: places the trailer
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = align)]
    align: u32,
    /// Prints JSON (`squall.image/1`)
    #[arg(long)]
    json: bool,
}

/// Carries the command out; gives the exit code.
pub(super) fn inspect(args: &InspectArgs) -> Result<u8, Refusal> {
    let key = args.key.as_deref().map(verifying_key).transpose()?;
    let image = file::read(&args.file, LARGEST)?;
    let slot = args.slot.map(|size| u32::try_from(size).expect("sizes are bounded"));
    let seen = mcuboot::inspect(&image, key.as_ref(), slot, args.align);
    if args.json {
        show::json(&args.file, &image, &seen);
    } else {
        show::text(&args.file, &image, &seen, key.as_ref());
    }
    Ok(if seen.defects.is_empty() { 0 } else { BAD_INPUT })
}

fn verifying_key(path: &Path) -> Result<VerifyingKey, Refusal> {
    let text = file::read(path, LARGEST_KEY)?;
    VerifyingKey::from_pem(&String::from_utf8_lossy(&text))
        .map_err(|error| Refusal::bad_input(&format!("--key {}: {error}", path.display())))
}
