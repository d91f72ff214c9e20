//! `shard.json.zst`: what a shard leaves for `squall merge`.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use crate::play::{Outcome, SHARD_SCHEMA, ShardOutcome};

use super::recording::RecordingError;

/// Its name in the run directory.
pub(super) const SHARD: &str = "shard.json.zst";
/// How hard it is compressed; 3 is zstd's own default.
const LEVEL: i32 = 3;
/// Most bytes that are read of one, unpacked.
const SIZE_MAX: u64 = 8 << 30;

/// What must fit before the rest is looked at.
#[derive(serde::Deserialize)]
struct Schema {
    schema: String,
}

pub(super) fn write_shard(outcome: &Outcome, file: &mut dyn Write) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    serde_json::to_writer(&mut encoder, &outcome.of_shard()).map_err(io::Error::other)?;
    encoder.finish().map(|_| ())
}

/// Reads what the shard in a run directory left.
///
/// # Errors
/// [`RecordingError`] if it is no shard, or the file is damaged or of another version.
pub fn read_shard(folder: &Path) -> Result<ShardOutcome, RecordingError> {
    let path = folder.join(SHARD);
    let wrong = |problem: String| RecordingError {
        path: path.clone(),
        problem,
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let problem = format!("no shard of a run: there is no {SHARD} in it; `--shard 1/4` makes one");
            return Err(RecordingError {
                path: folder.to_owned(),
                problem,
            });
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    let mut text = Vec::new();
    let unpacked = zstd::Decoder::new(file).and_then(|decoder| BufReader::new(decoder).take(SIZE_MAX).read_to_end(&mut text));
    unpacked.map_err(|error| wrong(format!("is damaged: {error}")))?;
    let schema: Schema = serde_json::from_slice(&text).map_err(|error| wrong(format!("is damaged: {error}")))?;
    if schema.schema != SHARD_SCHEMA {
        let problem = format!("schema `{}`: this version reads `{SHARD_SCHEMA}`", schema.schema);
        return Err(wrong(problem));
    }
    serde_json::from_slice(&text).map_err(|error| wrong(format!("is damaged: {error}")))
}
