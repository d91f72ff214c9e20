//! Quantities with their units: reading and showing them.
//!
//! Every quantity in a scenario carries its unit (contract, section 1). A bare number is an error that says which units fit.

use std::fmt;
use std::time::Duration;

/// Why a text is not a quantity of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number at the start.
    #[error("`{found}` is not a {kind}: write for example {example}")]
    NotANumber {
        /// What stood there.
        found: String,
        /// The kind wanted: `time`, `size`, `rate`.
        kind: &'static str,
        /// Quantities of that kind.
        example: &'static str,
    },
    /// A number without a unit.
    #[error("needs a unit: found {found}, write for example {example}")]
    NoUnit {
        /// What stood there.
        found: String,
        /// Quantities of that kind.
        example: &'static str,
    },
    /// A unit that this kind does not have.
    #[error("unknown unit `{unit}`: {kind} is given in {units}")]
    UnknownUnit {
        /// What stood there.
        unit: String,
        /// The kind wanted.
        kind: &'static str,
        /// The units that fit.
        units: &'static str,
    },
    /// Larger than can be held.
    #[error("`{found}` is too large")]
    TooLarge {
        /// What stood there.
        found: String,
    },
}

/// A kind of quantity: its name, its units with their factors in the smallest one, and an example.
struct Kind {
    name: &'static str,
    units: &'static [(&'static str, u128)],
    list: &'static str,
    example: &'static str,
}

const TIME: Kind = Kind {
    name: "time",
    units: &[
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
    ],
    list: "ns, us, ms, s, m, h, d",
    example: "\"500ms\" or \"1h30m\"",
};
const SIZE: Kind = Kind {
    name: "size",
    units: &[
        ("B", 1),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ],
    list: "B, kB, MB, GB, KiB, MiB, GiB",
    example: "\"64 KiB\"",
};
/// In bits a second, so that every listed unit is a whole number.
const DATA_RATE: Kind = Kind {
    name: "data rate",
    units: &[
        ("bit/s", 1),
        ("kbit/s", 1_000),
        ("Mbit/s", 1_000_000),
        ("Gbit/s", 1_000_000_000),
        ("B/s", 8),
        ("KiB/s", 8 << 10),
        ("MiB/s", 8 << 20),
    ],
    list: "bit/s, kbit/s, Mbit/s, Gbit/s, B/s, KiB/s, MiB/s",
    example: "\"2 Mbit/s\"",
};
/// In millionths of one, so that `0.01 %` is exact.
const SHARE: Kind = Kind {
    name: "share",
    units: &[("%", 10_000)],
    list: "%",
    example: "\"5 %\"",
};
/// In events a day times 1000.
const EVENT_RATE: Kind = Kind {
    name: "rate",
    units: &[("/s", 86_400_000), ("/m", 1_440_000), ("/h", 60_000)],
    list: "/s, /m, /h",
    example: "\"200/s\"",
};

/// Reads a time such as `1h30m`, `250ms`, `1.5 s`. Compound times are summed.
///
/// # Errors
/// [`QuantityError`] if it is not a time with a unit.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    TIME.parse(text).and_then(|nanos| {
        u64::try_from(nanos)
            .map(Duration::from_nanos)
            .map_err(|_| QuantityError::TooLarge { found: text.to_owned() })
    })
}

/// Reads a size such as `64 KiB`, in bytes.
///
/// # Errors
/// [`QuantityError`] if it is not a size with a unit.
pub fn parse_size(text: &str) -> Result<u64, QuantityError> {
    SIZE.parse_u64(text)
}

/// Reads a data rate such as `2 Mbit/s`, in bits a second.
///
/// # Errors
/// [`QuantityError`] if it is not a data rate with a unit.
pub fn parse_data_rate(text: &str) -> Result<u64, QuantityError> {
    DATA_RATE.parse_u64(text)
}

/// Reads a share such as `5 %`, in parts per million; above 100 % is left to the caller to judge.
///
/// # Errors
/// [`QuantityError`] if it is not a number with `%`.
pub fn parse_share(text: &str) -> Result<Share, QuantityError> {
    SHARE.parse_u64(text).map(Share)
}

/// Reads a rate of events such as `200/s`, `0.5/s`, `6/m`.
///
/// # Errors
/// [`QuantityError`] if it is not a rate with a unit.
pub fn parse_event_rate(text: &str) -> Result<EventRate, QuantityError> {
    EVENT_RATE.parse_u64(text).map(EventRate)
}

/// A part of a whole, in parts per million: exact for four decimals of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(pub u64);

impl Share {
    /// 100 %.
    pub const WHOLE: Share = Share(1_000_000);

    /// How many of `count` this is, rounded half up.
    pub const fn of(self, count: u64) -> u64 {
        ((count as u128 * self.0 as u128 + 500_000) / 1_000_000) as u64
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0 as f64 / 10_000.0)
    }
}

/// Events in time, in thousandths of an event a day: exact for `/s`, `/m` and `/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventRate(pub u64);

impl EventRate {
    /// When the event number `n` (from zero) is due after the start of an even stream; `None` at rate zero.
    pub fn due(self, n: u64) -> Option<Duration> {
        let nanos = (u128::from(n) * 86_400_000_000_000_000).checked_div(u128::from(self.0))?;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Events a second.
    pub fn per_second(self) -> f64 {
        self.0 as f64 / 86_400_000.0
    }
}

impl fmt::Display for EventRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.per_second())
    }
}

impl Kind {
    fn parse_u64(&self, text: &str) -> Result<u64, QuantityError> {
        u64::try_from(self.parse(text)?).map_err(|_| QuantityError::TooLarge { found: text.to_owned() })
    }

    /// Sums `number unit` pairs; the number may have a decimal fraction.
    fn parse(&self, text: &str) -> Result<u128, QuantityError> {
        let mut rest = text.trim();
        let mut sum = 0u128;
        loop {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let tail = tail.trim_start();
            let unit_len = tail
                .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
                .unwrap_or(tail.len());
            let (unit, next) = tail.split_at(unit_len);
            sum = self
                .term(text, number, unit)?
                .checked_add(sum)
                .ok_or_else(|| QuantityError::TooLarge { found: text.to_owned() })?;
            rest = next.trim_start();
            if rest.is_empty() {
                return Ok(sum);
            }
        }
    }

    fn term(&self, whole: &str, number: &str, unit: &str) -> Result<u128, QuantityError> {
        let malformed = || QuantityError::NotANumber {
            found: whole.to_owned(),
            kind: self.name,
            example: self.example,
        };
        let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
        if integer.is_empty() || fraction.contains('.') || number.ends_with('.') {
            return Err(malformed());
        }
        if unit.is_empty() {
            return Err(QuantityError::NoUnit {
                found: whole.to_owned(),
                example: self.example,
            });
        }
        let factor = self
            .units
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|&(_, factor)| factor)
            .ok_or_else(|| QuantityError::UnknownUnit {
                unit: unit.to_owned(),
                kind: self.name,
                units: self.list,
            })?;
        let too_large = || QuantityError::TooLarge { found: whole.to_owned() };
        let scale = u32::try_from(fraction.len())
            .ok()
            .and_then(|len| 10u128.checked_pow(len))
            .ok_or_else(too_large)?;
        let digits: u128 = format!("{integer}{fraction}").parse().map_err(|_| too_large())?;
        Ok(digits.checked_mul(factor).ok_or_else(too_large)? / scale)
    }
}

/// Shows a duration the way the contract's summary does: three significant digits below a minute (`0.12 s`, `7.10 s`, `33.6 s`),
/// minutes with tenths of a second from there (`2m39.8s`), hours with minutes (`6h02m`), days with hours (`7d03h`).
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 9.995 => format!("{s:.2} s"),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3599.95 => format!("{}m{:04.1}s", (s + 0.05) as u64 / 60, ((s * 10.0).round() % 600.0) / 10.0),
        s if s < 86_370.0 => format!("{}h{:02}m", (s + 30.0) as u64 / 3600, (s + 30.0) as u64 / 60 % 60),
        s => format!("{}d{:02}h", s as u64 / 86_400, s as u64 / 3600 % 24),
    }
}

/// Shows a number of bytes with a binary unit: `512 B`, `32.0 KiB`, `512.2 MiB`.
pub fn show_size(bytes: f64) -> String {
    match bytes {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 1048576.0 => format!("{:.1} KiB", b / 1024.0),
        b if b < 1073741824.0 => format!("{:.1} MiB", b / 1048576.0),
        b => format!("{:.2} GiB", b / 1073741824.0),
    }
}

/// Shows a count with separators in thousands: `1,204,338`.
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_compound_times() {
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse_duration("1.5 s").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_duration("2d").unwrap(), Duration::from_secs(172_800));
        assert_eq!(parse_size("64 KiB").unwrap(), 65_536);
        assert_eq!(parse_size("1.5MB").unwrap(), 1_500_000);
        assert_eq!(parse_data_rate("2 Mbit/s").unwrap(), 2_000_000);
        assert_eq!(parse_share("0.01 %").unwrap(), Share(100));
        assert_eq!(parse_event_rate("6/m").unwrap().due(1), Some(Duration::from_secs(10)));
        assert_eq!(parse_event_rate("200/s").unwrap().due(200), Some(Duration::from_secs(1)));
    }

    #[test]
    fn says_what_is_wrong_and_what_would_be_right() {
        let message = |result: Result<Duration, QuantityError>| result.unwrap_err().to_string();
        assert_eq!(
            message(parse_duration("500")),
            "needs a unit: found 500, write for example \"500ms\" or \"1h30m\""
        );
        assert_eq!(
            message(parse_duration("5 parsecs")),
            "unknown unit `parsecs`: time is given in ns, us, ms, s, m, h, d"
        );
        assert_eq!(
            message(parse_duration("soon")),
            "`soon` is not a time: write for example \"500ms\" or \"1h30m\""
        );
        assert!(parse_duration("1..2s").is_err());
        assert!(parse_duration("").is_err());
        assert!(matches!(
            parse_duration("99999999999999d"),
            Err(QuantityError::TooLarge { .. })
        ));
        assert!(parse_size("99999999999999999999999999999999999999999 GiB").is_err());
    }

    #[test]
    fn shows_three_digits_and_a_unit() {
        let shown = |millis| show_duration(Duration::from_millis(millis));
        assert_eq!([shown(120), shown(7100), shown(33_600)], ["0.12 s", "7.10 s", "33.6 s"]);
        assert_eq!(
            [shown(159_800), shown(308_100), shown(119_960)],
            ["2m39.8s", "5m08.1s", "2m00.0s"]
        );
        assert_eq!([shown(6 * 3_600_000 + 120_000), shown(86_400_000 * 7)], ["6h02m", "7d00h"]);
        assert_eq!(show_size(512.2 * 1048576.0), "512.2 MiB");
        assert_eq!([show_count(12), show_count(1_204_338)], ["12", "1,204,338"]);
        assert_eq!(Share(30_000).of(2000), 60);
    }
}
