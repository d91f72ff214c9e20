//! When a fault strikes a device: the *moment* grammar of the contract (section 8).

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use crate::model::{GrammarError, Phase, Share, closest, parse_duration, parse_share};

/// A moment, or a range that each device draws its own from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// When the run starts.
    Start,
    /// At a time of the run.
    Time(RangeInclusive<Duration>),
    /// On entering a phase, or a while after.
    Phase {
        /// Which.
        phase: Phase,
        /// How long after.
        after: RangeInclusive<Duration>,
    },
    /// When a step fires, or a while after.
    Step {
        /// Its name.
        step: String,
        /// How long after.
        after: RangeInclusive<Duration>,
    },
    /// When this much of a phase is done: downloading counts bytes, swapping and reverting pages.
    Progress {
        /// Downloading, swapping or reverting.
        phase: Phase,
        /// How much.
        done: RangeInclusive<Share>,
    },
    /// At a flash operation of the attempt, counted on across reboots.
    Flash {
        /// Counts page erases only.
        erase: bool,
        /// Which; `None` is drawn when the attempt is first accepted.
        number: Option<RangeInclusive<u32>>,
    },
}

impl Moment {
    /// Reads a moment.
    ///
    /// # Errors
    /// [`GrammarError`] with the place in `text`.
    pub fn parse(text: &str) -> Result<Moment, GrammarError> {
        let trimmed = text.trim();
        let lead = text.len() - text.trim_start().len();
        let whole = lead..lead + trimmed.len().max(1);
        if trimmed == "start" {
            return Ok(Moment::Start);
        }
        if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
            return times(trimmed, whole).map(Moment::Time);
        }
        if let Some(rest) = trimmed
            .strip_prefix("flash")
            .filter(|rest| rest.starts_with(' ') || rest.is_empty())
        {
            return flash(rest.trim(), whole);
        }
        let (anchor, after) = trimmed
            .split_once('+')
            .map_or((trimmed, None), |(anchor, after)| (anchor.trim(), Some(after)));
        let after = match after {
            Some(after) => times(after.trim(), whole.end - after.len()..whole.end)?,
            None => Duration::ZERO..=Duration::ZERO,
        };
        if let Some(step) = anchor.strip_prefix("step:") {
            return Ok(Moment::Step {
                step: step.to_owned(),
                after,
            });
        }
        let (word, rest) = anchor
            .split_once(' ')
            .map_or((anchor, ""), |(word, rest)| (word, rest.trim()));
        let phase = Phase::from_word(word).ok_or_else(|| {
            let words = Phase::ALL.iter().map(|phase| phase.word()).chain(["flash", "start"]);
            let hint = closest(word, words).map(|near| format!("did you mean `{near}`?"));
            GrammarError::new(
                whole.start..whole.start + word.len().max(1),
                format!("`{word}` is neither a time nor a phase"),
                hint,
            )
        })?;
        if rest.is_empty() {
            return Ok(Moment::Phase { phase, after });
        }
        if !matches!(phase, Phase::Downloading | Phase::Swapping | Phase::Reverting) {
            let hint = Some("progress is known of downloading, swapping and reverting".to_owned());
            return Err(GrammarError::new(whole, format!("`{phase}` has no progress"), hint));
        }
        percents(rest, whole).map(|done| Moment::Progress { phase, done })
    }
}

fn times(text: &str, at: Range<usize>) -> Result<RangeInclusive<Duration>, GrammarError> {
    range(text, at, |text| parse_duration(text).map_err(|error| error.to_string()))
}

fn percents(text: &str, at: Range<usize>) -> Result<RangeInclusive<Share>, GrammarError> {
    range(text, at, |text| match parse_share(text) {
        Ok(share) if share <= Share::WHOLE => Ok(share),
        Ok(_) => Err(format!("`{text}` is more than the whole")),
        Err(error) => Err(error.to_string()),
    })
}

fn flash(text: &str, at: Range<usize>) -> Result<Moment, GrammarError> {
    let (erase, which) = match text.strip_prefix("erase") {
        Some(rest) if rest.is_empty() || rest.starts_with(' ') => (true, rest.trim()),
        _ => (false, text),
    };
    if which == "any" {
        return Ok(Moment::Flash { erase, number: None });
    }
    let number = range(which, at, |text| {
        text.parse()
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| "write `flash any`, `flash 7` or `flash 7..20`".to_owned())
    })?;
    Ok(Moment::Flash {
        erase,
        number: Some(number),
    })
}

fn range<T: PartialOrd + Clone>(
    text: &str,
    at: Range<usize>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<RangeInclusive<T>, GrammarError> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let parse = |text: &str| parse(text.trim()).map_err(|message| GrammarError::new(at.clone(), message, None));
    let (low, high) = (parse(low)?, parse(high)?);
    if low > high {
        let hint = Some("write the smaller end first".to_owned());
        return Err(GrammarError::new(at.clone(), format!("the range `{text}` is empty"), hint));
    }
    Ok(low..=high)
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Start => f.write_str("start"),
            Moment::Time(range) => show(f, range, Duration::as_micros, "us"),
            Moment::Phase { phase, after } => anchored(f, phase.word(), after),
            Moment::Step { step, after } => anchored(f, &format!("step:{step}"), after),
            Moment::Progress { phase, done } => write!(f, "{phase} {}..{}", done.start(), done.end()),
            Moment::Flash { erase, number } => {
                f.write_str(if *erase { "flash erase " } else { "flash " })?;
                match number {
                    None => f.write_str("any"),
                    Some(range) => show(f, range, |&n| u128::from(n), ""),
                }
            }
        }
    }
}

fn anchored(f: &mut fmt::Formatter<'_>, anchor: &str, after: &RangeInclusive<Duration>) -> fmt::Result {
    f.write_str(anchor)?;
    if *after.end() == Duration::ZERO {
        return Ok(());
    }
    f.write_str("+")?;
    show(f, after, Duration::as_micros, "us")
}

fn show<T: PartialEq>(
    f: &mut fmt::Formatter<'_>,
    range: &RangeInclusive<T>,
    number: impl Fn(&T) -> u128,
    unit: &str,
) -> fmt::Result {
    write!(f, "{}{unit}", number(range.start()))?;
    if range.start() == range.end() {
        Ok(())
    } else {
        write!(f, "..{}{unit}", number(range.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(low: u64, high: u64) -> RangeInclusive<Duration> {
        Duration::from_millis(low)..=Duration::from_millis(high)
    }

    #[test]
    fn reads_the_contracts_examples() {
        let parsed = |text: &str| Moment::parse(text).unwrap();
        assert_eq!(parsed("20s"), Moment::Time(millis(20_000, 20_000)));
        assert_eq!(parsed("20s..60s"), Moment::Time(millis(20_000, 60_000)));
        assert_eq!(
            parsed("probation+100ms"),
            Moment::Phase {
                phase: Phase::Probation,
                after: millis(100, 100)
            }
        );
        assert_eq!(
            parsed("step:canary+1s..2s"),
            Moment::Step {
                step: "canary".into(),
                after: millis(1000, 2000)
            }
        );
        let done = Share(300_000)..=Share(600_000);
        assert_eq!(
            parsed("downloading 30 %..60 %"),
            Moment::Progress {
                phase: Phase::Downloading,
                done
            }
        );
        assert_eq!(
            parsed("flash any"),
            Moment::Flash {
                erase: false,
                number: None
            }
        );
        assert_eq!(
            parsed("flash erase any"),
            Moment::Flash {
                erase: true,
                number: None
            }
        );
        assert_eq!(
            parsed("flash 7..20"),
            Moment::Flash {
                erase: false,
                number: Some(7..=20)
            }
        );
        assert_eq!(parsed("start"), Moment::Start);
    }

    #[test]
    fn prints_what_reads_back_the_same() {
        for text in [
            "20s..60s",
            "probation+100ms",
            "downloading 30 %..60 %",
            "flash erase 3",
            "step:a+5s",
            "swapping",
            "start",
        ] {
            let moment = Moment::parse(text).unwrap();
            assert_eq!(Moment::parse(&moment.to_string()).unwrap(), moment, "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let error = Moment::parse("downlading 5 %").unwrap_err();
        assert_eq!(
            (error.at, error.hint.as_deref()),
            (0..10, Some("did you mean `downloading`?"))
        );
        assert_eq!(
            Moment::parse("probation 5 %").unwrap_err().message,
            "`probation` has no progress"
        );
        assert_eq!(
            Moment::parse("60s..20s").unwrap_err().message,
            "the range `60s..20s` is empty"
        );
        assert!(Moment::parse("flash").is_err());
        assert!(Moment::parse("downloading 120 %").is_err());
        assert!(Moment::parse("").is_err());
    }
}
