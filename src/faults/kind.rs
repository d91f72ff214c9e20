//! What can go wrong: the kinds of the contract, as data. How each is played stands in the contract, "How a fault is played".

use std::fmt;
use std::time::Duration;

use crate::model::{FirmwareVersion, Phase, closest, parse_duration, word_enum};

use super::message::{MessageFault, in_largest};
use super::request::RequestFault;

/// How long power stays away, or a reset is held, where a scenario does not say.
const SHORT: Duration = Duration::from_secs(2);

/// A fault of a device, its flash, its link or its downloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Power fails, and returns.
    PowerCut,
    /// The device resets.
    Reset,
    /// The device is not scheduled; its kernel still acknowledges.
    Freeze,
    /// The application aborts the main download.
    AppAbort,
    /// The application pauses the update of main, and resumes it.
    AppPause,
    /// A flash operation returns an I/O error.
    FlashFail {
        /// An error that is not retried.
        permanent: bool,
    },
    /// Bits of the secondary slot's image flip before the swap.
    FlashFlip {
        /// How many.
        bits: u32,
    },
    /// A record reads as absent at the next boot.
    LoseRecord(LostRecord),
    /// Bytes that mean nothing come over a board's serial line.
    UartGarbage,
    /// The connection goes silent.
    LinkDown,
    /// Another link profile holds.
    Link {
        /// Its name.
        profile: String,
    },
    /// Single messages fare ill.
    Message(MessageFault),
    /// Single image requests, or their answers, do.
    Request(RequestFault),
    /// The server's certificate has expired: new connections and requests end in the handshake, what is open stays. Narrowed to a
    /// version, it is the anchor of that version that has expired.
    CertExpiry,
    /// The device's clock is wrong: a certificate has not begun to hold, or holds no more, or seems to hold although it has expired.
    WrongClock {
        /// By how much.
        by: Duration,
        /// It is ahead, not behind.
        ahead: bool,
    },
    /// The bytes of another version come in the place of those that were asked for.
    WrongImage {
        /// Which one.
        firmware: FirmwareVersion,
    },
    /// The settings store has no room for another record.
    FlashFull,
    /// Data that comes beside all deployments, and is read at each start whichever image runs, resets the device.
    BadData {
        /// From the start of the application to the reset.
        after: Duration,
        /// The device sets the data aside after so many resets; `None` is never.
        aside: Option<u32>,
    },
}

/// How long before a run the server's certificate was issued, and for how long from its beginning it holds: what a wrong clock is
/// measured by.
pub(super) const ISSUED_BEFORE: Duration = Duration::from_secs(86_400);
pub(super) const HOLDS_FOR: Duration = Duration::from_secs(365 * 86_400);

word_enum! {
    /// A record that can be lost.
    LostRecord {
        /// The attempt record.
        Attempt = "attempt",
        /// The probation record.
        Probation = "probation",
        /// The version record of the main firmware.
        Version = "version",
    }
}

/// What a fault happens to: decides which moments and narrowings make sense for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The device as a whole.
    Device,
    /// Single flash operations.
    Flash,
    /// The link.
    Link,
    /// Single messages.
    Messages,
    /// Single image requests.
    Requests,
}

impl FaultKind {
    /// First words of every kind, for suggestions.
    pub const WORDS: &'static [&'static str] = &[
        "power-cut",
        "reset",
        "freeze",
        "app-abort",
        "app-pause",
        "flash-fail",
        "flash-flip",
        "lose-record",
        "uart-garbage",
        "link-down",
        "link",
        "lose",
        "duplicate",
        "delay",
        "http",
        "corrupt",
        "truncate",
        "stall",
        "slow",
        "wrong-range",
        "redirect",
        "bad-tls",
        "cert-expiry",
        "wrong-clock",
        "wrong-image",
        "flash-full",
        "bad-data",
    ];

    /// The profile that it puts in the place of the fleet's.
    pub fn link(&self) -> Option<&str> {
        match self {
            FaultKind::Link { profile } => Some(profile),
            _ => None,
        }
    }

    /// The version whose image it puts in the place of another.
    pub fn image(&self) -> Option<&FirmwareVersion> {
        match self {
            FaultKind::WrongImage { firmware } => Some(firmware),
            _ => None,
        }
    }

    /// Invariants of protocol section 9 that a device which it strikes is no longer held to: those that the fault itself breaks. A
    /// body that was changed, or announced shorter than it is, or another's, cannot reach flash as it was (53).
    pub const fn lifts(&self) -> &'static [u8] {
        match self {
            FaultKind::Request(RequestFault::Corrupt { .. } | RequestFault::Truncate { short: true })
            | FaultKind::WrongImage { .. } => &[53],
            _ => &[],
        }
    }

    /// Reads the `inject` of a fault whose *who* is devices.
    ///
    /// # Errors
    /// A fragment that says what is wrong, with a suggestion where there is one.
    pub fn parse(text: &str) -> Result<FaultKind, String> {
        let written = Written::split(text);
        let Written { word, rest } = written;
        match word {
            "power-cut" => written.bare(FaultKind::PowerCut),
            "reset" => written.bare(FaultKind::Reset),
            "freeze" => written.bare(FaultKind::Freeze),
            "app-abort" => written.bare(FaultKind::AppAbort),
            "app-pause" => written.bare(FaultKind::AppPause),
            "flash-fail" => match rest {
                "" => Ok(FaultKind::FlashFail { permanent: false }),
                "permanent" => Ok(FaultKind::FlashFail { permanent: true }),
                _ => Err(format!("`flash-fail` takes nothing or `permanent`, not `{rest}`")),
            },
            "flash-flip" => {
                let bits = u32::try_from(written.number("a number of bits")?).map_err(|_| format!("`{rest}` bits are too many"))?;
                Ok(FaultKind::FlashFlip { bits })
            }
            "lose-record" => LostRecord::from_word(rest)
                .map(FaultKind::LoseRecord)
                .ok_or_else(|| "`lose-record` needs one of `attempt`, `probation`, `version`".to_owned()),
            "uart-garbage" => written.bare(FaultKind::UartGarbage),
            "link-down" => written.bare(FaultKind::LinkDown),
            "link" if !rest.is_empty() => Ok(FaultKind::Link {
                profile: rest.to_owned(),
            }),
            "cert-expiry" => written.bare(FaultKind::CertExpiry),
            "wrong-clock" => wrong_clock(rest),
            "wrong-image" => rest
                .parse()
                .map(|firmware| FaultKind::WrongImage { firmware })
                .map_err(|_| "`wrong-image` needs a version, for example `wrong-image app@1.1.0`".to_owned()),
            "flash-full" => written.bare(FaultKind::FlashFull),
            "bad-data" => bad_data(rest),
            "link" => Err("`link` needs the name of a profile, for example `link nb-iot`".to_owned()),
            _ => {
                if let Some(message) = MessageFault::parse(written) {
                    return message.map(FaultKind::Message);
                }
                if let Some(request) = RequestFault::parse(written) {
                    return request.map(FaultKind::Request);
                }
                Err(match closest(word, FaultKind::WORDS.iter().copied()) {
                    Some(known) => format!("unknown fault kind `{word}`: did you mean `{known}`?"),
                    None => format!("unknown fault kind `{word}`"),
                })
            }
        }
    }

    /// What it happens to.
    pub const fn target(&self) -> Target {
        match self {
            FaultKind::PowerCut
            | FaultKind::Reset
            | FaultKind::Freeze
            | FaultKind::AppAbort
            | FaultKind::AppPause
            | FaultKind::UartGarbage
            | FaultKind::LoseRecord(_)
            | FaultKind::BadData { .. } => Target::Device,
            FaultKind::FlashFail { .. } | FaultKind::FlashFlip { .. } | FaultKind::FlashFull => Target::Flash,
            FaultKind::LinkDown | FaultKind::Link { .. } | FaultKind::CertExpiry | FaultKind::WrongClock { .. } => Target::Link,
            FaultKind::Message(_) => Target::Messages,
            FaultKind::Request(_) | FaultKind::WrongImage { .. } => Target::Requests,
        }
    }

    /// How long it lasts where a scenario does not say; `None` is the rest of `duration`.
    pub const fn lasts(&self) -> Option<Duration> {
        match self {
            FaultKind::PowerCut | FaultKind::Reset => Some(SHORT),
            FaultKind::AppAbort | FaultKind::FlashFlip { .. } | FaultKind::LoseRecord(_) | FaultKind::UartGarbage => {
                Some(Duration::ZERO)
            }
            FaultKind::Freeze
            | FaultKind::AppPause
            | FaultKind::FlashFail { .. }
            | FaultKind::LinkDown
            | FaultKind::Link { .. }
            | FaultKind::Message(_)
            | FaultKind::Request(_)
            | FaultKind::BadData { .. }
            | FaultKind::CertExpiry
            | FaultKind::WrongClock { .. }
            | FaultKind::WrongImage { .. }
            | FaultKind::FlashFull => None,
        }
    }

    /// Whether it can come about while a device is in this phase.
    ///
    /// # Errors
    /// Why it cannot.
    pub const fn possible_in(&self, phase: Phase) -> Result<(), &'static str> {
        let downloads = matches!(phase, Phase::Downloading | Phase::Retrying | Phase::Staged);
        match self {
            FaultKind::AppAbort if !downloads => Err("there was no download to abort"),
            FaultKind::AppPause if !downloads && !matches!(phase, Phase::Committing) => Err("there was no update to pause"),
            _ => Ok(()),
        }
    }
}

/// `T behind` or `T ahead`.
fn wrong_clock(text: &str) -> Result<FaultKind, String> {
    const EXAMPLE: &str = "`wrong-clock` needs a time and a direction, for example `wrong-clock 20d behind`";
    let (time, way) = text.rsplit_once(' ').ok_or(EXAMPLE)?;
    let ahead = match way {
        "ahead" => true,
        "behind" => false,
        _ => return Err(EXAMPLE.to_owned()),
    };
    let by = parse_duration(time.trim()).map_err(|error| format!("`wrong-clock`: {error}"))?;
    Ok(FaultKind::WrongClock { by, ahead })
}

/// `crash after T`, or `crash after T, aside after N`.
fn bad_data(text: &str) -> Result<FaultKind, String> {
    const EXAMPLE: &str =
        "`bad-data` needs what it does, for example `bad-data crash after 5s` or `bad-data crash after 5s, aside after 3`";
    let (crash, aside) = text
        .split_once(',')
        .map_or((text, None), |(crash, aside)| (crash, Some(aside)));
    let after = crash.trim().strip_prefix("crash after ").ok_or(EXAMPLE)?;
    let after = parse_duration(after.trim()).map_err(|error| format!("`bad-data`: {error}"))?;
    let number = |text: &str| {
        text.trim()
            .strip_prefix("aside after ")?
            .trim()
            .parse()
            .ok()
            .filter(|&n: &u32| n > 0)
    };
    let aside = match aside {
        None => None,
        Some(text) => Some(number(text).ok_or(EXAMPLE)?),
    };
    Ok(FaultKind::BadData { after, aside })
}

/// A time in the largest unit that holds it exactly.
fn in_units(time: Duration) -> String {
    const UNITS: [(u128, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let (number, unit) = in_largest(time.as_nanos(), &UNITS);
    format!("{number}{unit}")
}

/// The `inject` of a fault: a word, and what stands behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'t> {
    pub(super) word: &'t str,
    pub(super) rest: &'t str,
}

impl<'t> Written<'t> {
    fn split(text: &'t str) -> Written<'t> {
        let text = text.trim();
        let (word, rest) = text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim()));
        Written { word, rest }
    }

    /// A kind with nothing behind its word.
    pub(super) fn bare<T>(self, kind: T) -> Result<T, String> {
        match self.rest {
            "" => Ok(kind),
            rest => Err(format!("`{}` takes no `{rest}`", self.word)),
        }
    }

    /// A number above zero behind the word.
    pub(super) fn number(self, what: &str) -> Result<u64, String> {
        let number = self.rest.parse().ok().filter(|&number| number > 0);
        number.ok_or_else(|| format!("`{0}` needs {what}, for example `{0} 3`", self.word))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::PowerCut => f.write_str("power-cut"),
            FaultKind::Reset => f.write_str("reset"),
            FaultKind::Freeze => f.write_str("freeze"),
            FaultKind::AppAbort => f.write_str("app-abort"),
            FaultKind::AppPause => f.write_str("app-pause"),
            FaultKind::FlashFail { permanent: false } => f.write_str("flash-fail"),
            FaultKind::FlashFail { permanent: true } => f.write_str("flash-fail permanent"),
            FaultKind::FlashFlip { bits } => write!(f, "flash-flip {bits}"),
            FaultKind::LoseRecord(record) => write!(f, "lose-record {record}"),
            FaultKind::UartGarbage => f.write_str("uart-garbage"),
            FaultKind::LinkDown => f.write_str("link-down"),
            FaultKind::Link { profile } => write!(f, "link {profile}"),
            FaultKind::Message(message) => message.fmt(f),
            FaultKind::Request(request) => request.fmt(f),
            FaultKind::CertExpiry => f.write_str("cert-expiry"),
            FaultKind::WrongClock { by, ahead } => {
                let way = if *ahead { "ahead" } else { "behind" };
                write!(f, "wrong-clock {} {way}", in_units(*by))
            }
            FaultKind::WrongImage { firmware } => write!(f, "wrong-image {firmware}"),
            FaultKind::FlashFull => f.write_str("flash-full"),
            FaultKind::BadData { after, aside } => {
                write!(f, "bad-data crash after {}", in_units(*after))?;
                aside.map_or(Ok(()), |times| write!(f, ", aside after {times}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_prints_as_it_parses() {
        let texts = [
            "power-cut",
            "reset",
            "freeze",
            "app-abort",
            "app-pause",
            "flash-fail",
            "flash-fail permanent",
            "flash-flip 3",
            "lose-record attempt",
            "uart-garbage",
            "link-down",
            "link nb-iot",
            "lose",
            "duplicate",
            "delay 250ms",
            "http 503",
            "corrupt 4",
            "truncate",
            "truncate short",
            "stall",
            "slow 64 kbit/s",
            "wrong-range",
            "redirect",
            "bad-tls",
            "cert-expiry",
            "wrong-clock 20d behind",
            "wrong-clock 90m ahead",
            "wrong-image app@1.1.0",
            "flash-full",
            "bad-data crash after 5s",
            "bad-data crash after 1500ms, aside after 3",
        ];
        for text in texts {
            assert_eq!(FaultKind::parse(text).unwrap().to_string(), text);
        }
        let words: std::collections::BTreeSet<_> = texts.iter().map(|text| text.split(' ').next().unwrap()).collect();
        assert_eq!(words, FaultKind::WORDS.iter().copied().collect());
    }

    #[test]
    fn says_what_a_kind_needs() {
        let message = |text: &str| FaultKind::parse(text).unwrap_err();
        assert_eq!(
            message("power-ct"),
            "unknown fault kind `power-ct`: did you mean `power-cut`?"
        );
        assert_eq!(message("http 700"), "`700` is no HTTP status: 100 to 599");
        assert_eq!(
            message("flash-flip"),
            "`flash-flip` needs a number of bits, for example `flash-flip 3`"
        );
        assert_eq!(message("stall 5s"), "`stall` takes no `5s`");
        assert_eq!(
            message("delay 5"),
            "`delay`: needs a unit: found 5, write for example \"500ms\" or \"1h30m\""
        );
        assert_eq!(
            message("lose-record all"),
            "`lose-record` needs one of `attempt`, `probation`, `version`"
        );
        assert!(message("wrong-clock 20d").contains("wrong-clock 20d behind"));
        assert!(message("wrong-image app").contains("wrong-image app@1.1.0"));
        for data in ["bad-data", "bad-data hang", "bad-data crash after 1s, aside after 0"] {
            assert!(message(data).contains("aside after 3"), "{data}");
        }
    }
}
