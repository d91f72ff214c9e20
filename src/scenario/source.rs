//! Where a scenario comes from, and what changes it before it is understood.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::error::ScenarioErrors;
use super::fields::suggest;
use super::museum::PIECES;
use super::text::exact_size;

/// A scenario as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// Text of standard input, which the caller has read.
    Stdin(String),
    /// A text whose paths are relative to a folder: a resolved scenario, and its files beside it.
    Beside(PathBuf, String),
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
    ("power-cuts", include_str!("../../scenarios/power-cuts.toml")),
    ("multi-package", include_str!("../../scenarios/multi-package.toml")),
    ("pull-request", include_str!("../../scenarios/pull-request.toml")),
    ("rural", include_str!("../../scenarios/rural.toml")),
    ("cheats", include_str!("../../scenarios/cheats.toml")),
    ("planted", include_str!("../../scenarios/planted.toml")),
    ("planted-rare", include_str!("../../scenarios/planted-rare.toml")),
    ("planted-server", include_str!("../../scenarios/planted-server.toml")),
    ("staged-rollout", include_str!("../../scenarios/staged-rollout.toml")),
    ("server-crash", include_str!("../../scenarios/server-crash.toml")),
    ("retry-storm", include_str!("../../scenarios/retry-storm.toml")),
    ("storm", include_str!("../../scenarios/storm.toml")),
    ("storm-tls", include_str!("../../scenarios/storm-tls.toml")),
];

/// The text of the built-in example called `name`.
pub(super) fn example(name: &str) -> Option<&'static str> {
    let known = EXAMPLES.iter().chain(PIECES);
    known.into_iter().find(|(known, _)| *known == name).map(|&(_, text)| text)
}

/// A scenario's text with what belongs to it.
pub(super) struct Given {
    /// What errors call it.
    pub label: String,
    /// Name of the scenario that gives itself none.
    pub name: String,
    pub text: String,
    /// What its paths are relative to.
    pub folder: PathBuf,
}

/// Largest scenario file.
const LARGEST: u64 = 4 << 20;

impl Source {
    pub(super) fn read(self) -> Result<Given, ScenarioErrors> {
        match self {
            Source::Stdin(text) => Ok(Given {
                label: "stdin".to_owned(),
                name: "stdin".to_owned(),
                text,
                folder: PathBuf::new(),
            }),
            Source::Beside(folder, text) => Ok(Given {
                label: "the resolved scenario".to_owned(),
                name: "resolved".to_owned(),
                text,
                folder,
            }),
            Source::Example(name) => match example(&name) {
                Some(text) => Ok(Given {
                    label: format!("{name}.toml"),
                    text: text.to_owned(),
                    folder: PathBuf::new(),
                    name,
                }),
                None => Err(ScenarioErrors::whole(&name, "unknown example", Some(other_scenarios(&name)))),
            },
            Source::Path(path) => read_file(&path),
        }
    }
}

fn read_file(path: &Path) -> Result<Given, ScenarioErrors> {
    let label = path.display().to_string();
    let content = read_at_most(path, LARGEST);
    let bytes = content.map_err(|error| {
        let hint = (error.kind() == io::ErrorKind::NotFound).then(|| other_scenarios(&label));
        ScenarioErrors::whole(&label, format!("cannot be read: {error}"), hint)
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count()
            + 1;
        ScenarioErrors::whole(&format!("{label}:{line}"), "is not UTF-8 text", None)
    })?;
    Ok(Given {
        name: path
            .file_stem()
            .map_or_else(|| label.clone(), |stem| stem.to_string_lossy().into_owned()),
        label,
        text,
        folder: path.parent().map(Path::to_owned).unwrap_or_default(),
    })
}

/// The bytes of a file that has no more than `limit`; a device or pipe without end is refused as well.
pub(super) fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::Error::other(format!("more than {}", exact_size(limit)))),
        false => Ok(bytes),
    }
}

fn other_scenarios(name: &str) -> String {
    suggest(name, EXAMPLES.iter().map(|(name, _)| *name), "built-in examples")
}
