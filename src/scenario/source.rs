//! Where a scenario comes from, and what changes it before it is understood.

use std::io;
use std::path::PathBuf;

/// A scenario as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// Text of standard input, which the caller has read.
    Stdin(String),
    /// A built-in example, by name.
    Example(String),
}

impl Source {
    /// What SCENARIO on the command line means: `-`, a path, or the name of a built-in example. A file that exists wins over an
    /// example of the same name.
    ///
    /// # Errors
    /// What `read_stdin` gives, which is called for `-` alone.
    pub fn from_argument(argument: &str, read_stdin: impl FnOnce() -> io::Result<String>) -> io::Result<Source> {
        let path = PathBuf::from(argument);
        Ok(match argument {
            "-" => Source::Stdin(read_stdin()?),
            _ if example(argument).is_some() && !path.is_file() => Source::Example(argument.to_owned()),
            _ => Source::Path(path),
        })
    }
}

/// What environment and flags change: each wins over the ones above it, and all of them over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `SQUALL_SEED`, as it stands in the environment.
    pub environment_seed: Option<String>,
    /// `--set KEY=VALUE`, in order.
    pub set: Vec<String>,
    /// `--seed N`; a caller draws the number for `--seed random`.
    pub seed: Option<u64>,
    /// `--duration T`, with its unit.
    pub duration: Option<String>,
    /// `-d N`: devices in all; fleets keep their proportions.
    pub devices: Option<u64>,
}

/// The built-in examples: name and text.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("quickstart", include_str!("../../scenarios/quickstart.toml")),
    ("late-joiners", include_str!("../../scenarios/late-joiners.toml")),
    ("bad-firmware", include_str!("../../scenarios/bad-firmware.toml")),
];

/// The text of the built-in example called `name`.
pub(super) fn example(name: &str) -> Option<&'static str> {
    EXAMPLES.iter().find(|(known, _)| *known == name).map(|&(_, text)| text)
}
