//! How much a server takes on: limits with their defaults, and how they are written on a command line.

use std::fmt;
use std::time::Duration;

use crate::model::{EventRate, parse_data_rate, parse_duration, parse_event_rate, parse_size};

/// What a server refuses beyond. Counts hold for each listener on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: Option<u64>,
    /// New connections in time; a second's worth may come at once.
    pub connects: Option<EventRate>,
    /// Downloads at once, above which a request is answered 503.
    pub downloads: Option<u64>,
    /// Image bytes in time, bits a second: counted when an answer begins, and answered 503 while more than a second's worth is owed.
    pub egress: Option<u64>,
    /// First offers of attempts in time, one after the other.
    pub offers: Option<EventRate>,
    /// Longest MQTT packet, bytes with its header. The SDK's transmit buffer holds 4096 (protocol 2.1).
    pub packet: u64,
    /// How long a connection may take from its opening to its CONNECT.
    pub connect_time: Duration,
    /// How long a client may take for its TLS handshake; devices on slow links need seconds.
    pub handshake: Duration,
    /// How long an MQTT client may leave what is written unread.
    pub unread: Duration,
    /// How long a client may leave an HTTP answer unread.
    pub answer: Duration,
    /// Packets that may wait for one client.
    pub queue: u64,
    /// Longest head of an HTTP request, bytes.
    pub header: u64,
    /// Longest body of a management request but an image, bytes.
    pub body: u64,
    /// Longest image that is taken, bytes.
    pub image: u64,
    /// How long a client may pause within a body.
    pub pause: Duration,
    /// Connections to the management API at once.
    pub management: u64,
    /// How long a client may be silent at most, whatever keep-alive its CONNECT names; one that names none may be silent so long.
    pub silence: Duration,
}

const HOUR: Duration = Duration::from_secs(3600);
/// Most connections to the management API, well within the descriptors that are kept for it.
const MANAGEMENT_MAX: u64 = 128;
/// One and a half times the longest keep-alive that a CONNECT can name. MQTT 3.1.1, 3.1.2.10 lets a server end a connection that it
/// finds unused.
const SILENCE_MAX: Duration = Duration::from_millis(u16::MAX as u64 * 1_500);

/// What a limit may be written as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// No `=`.
    #[error("`{0}` is not KEY=VALUE")]
    Form(String),
    /// No such limit.
    #[error("unknown limit `{0}`: limits are {keys}", keys = Limits::KEYS.join(", "))]
    Unknown(String),
    /// A value of the wrong kind.
    #[error("{key}: {message}")]
    Value {
        /// Which limit.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
}

impl Default for Limits {
    /// Protective: far above what an honest fleet on one machine reaches, and bounded.
    fn default() -> Self {
        Limits {
            connections: Some(1_000_000),
            connects: Some(EventRate(20_000 * 86_400_000)),
            downloads: Some(16_384),
            egress: Some(80_000_000_000),
            offers: None,
            packet: 64 * 1024,
            connect_time: Duration::from_secs(10),
            handshake: Duration::from_secs(30),
            unread: Duration::from_secs(30),
            // Longer than the 120 s after which a device gives up by itself (protocol 5.4).
            answer: Duration::from_secs(150),
            queue: 256,
            header: 16 * 1024,
            body: 16 << 20,
            image: 64 << 20,
            pause: Duration::from_secs(30),
            management: MANAGEMENT_MAX,
            silence: SILENCE_MAX,
        }
    }
}

impl Limits {
    /// Names of the limits on a command line.
    pub const KEYS: [&'static str; 17] = [
        "connections",
        "connects",
        "downloads",
        "egress",
        "offers",
        "packet",
        "connect-time",
        "handshake",
        "unread",
        "answer",
        "queue",
        "header",
        "body",
        "image",
        "pause",
        "management",
        "silence",
    ];

    /// As the default, with nothing counted: what a scenario without `limits` plays against.
    pub fn open() -> Limits {
        Limits {
            connections: None,
            connects: None,
            downloads: None,
            egress: None,
            offers: None,
            ..Limits::default()
        }
    }

    /// True if what one device gets may be at the cost of another.
    pub fn are_shared(&self) -> bool {
        let counted = [self.connections, self.downloads, self.egress];
        counted.iter().any(Option::is_some) || self.connects.is_some() || self.offers.is_some()
    }

    /// Takes in `KEY=VALUE`; `none` lifts a limit that counts.
    ///
    /// # Errors
    /// [`LimitError`] naming key and value.
    pub fn set(&mut self, written: &str) -> Result<(), LimitError> {
        let (name, value) = written.split_once('=').ok_or_else(|| LimitError::Form(written.to_owned()))?;
        let key = Limits::KEYS
            .into_iter()
            .find(|key| *key == name)
            .ok_or_else(|| LimitError::Unknown(name.to_owned()))?;
        let wrong = |message: String| LimitError::Value { key, message };
        match key {
            "connections" => self.connections = counted(value, count).map_err(wrong)?,
            "connects" => self.connects = counted(value, rate).map_err(wrong)?,
            "downloads" => self.downloads = counted(value, count).map_err(wrong)?,
            "egress" => self.egress = counted(value, data_rate).map_err(wrong)?,
            "offers" => self.offers = counted(value, rate).map_err(wrong)?,
            "packet" => self.packet = sized(value, 256..=256 << 20).map_err(wrong)?,
            "connect-time" => self.connect_time = timed(value, HOUR).map_err(wrong)?,
            "handshake" => self.handshake = timed(value, HOUR).map_err(wrong)?,
            "unread" => self.unread = timed(value, HOUR).map_err(wrong)?,
            "answer" => self.answer = timed(value, HOUR).map_err(wrong)?,
            "queue" => self.queue = count(value).map_err(wrong)?,
            "header" => self.header = sized(value, 8 << 10..=1 << 20).map_err(wrong)?,
            "body" => self.body = sized(value, 1 << 10..=1 << 30).map_err(wrong)?,
            "image" => self.image = sized(value, 1 << 10..=4 << 30).map_err(wrong)?,
            "pause" => self.pause = timed(value, HOUR).map_err(wrong)?,
            "management" => self.management = few(value, MANAGEMENT_MAX).map_err(wrong)?,
            _ => self.silence = timed(value, SILENCE_MAX).map_err(wrong)?,
        }
        Ok(())
    }

    /// What [`Limits::set`] reads to these limits from any others.
    pub fn written(&self) -> Vec<String> {
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        let values = [
            or_none(self.connections.map(|count| count.to_string())),
            or_none(self.connects.map(written_rate)),
            or_none(self.downloads.map(|count| count.to_string())),
            or_none(self.egress.map(|bits| format!("{bits}bit/s"))),
            or_none(self.offers.map(written_rate)),
            format!("{}B", self.packet),
            format!("{}ns", self.connect_time.as_nanos()),
            format!("{}ns", self.handshake.as_nanos()),
            format!("{}ns", self.unread.as_nanos()),
            format!("{}ns", self.answer.as_nanos()),
            self.queue.to_string(),
            format!("{}B", self.header),
            format!("{}B", self.body),
            format!("{}B", self.image),
            format!("{}ns", self.pause.as_nanos()),
            self.management.to_string(),
            format!("{}ns", self.silence.as_nanos()),
        ];
        Limits::KEYS
            .iter()
            .zip(values)
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written().join(" "))
    }
}

/// A rate in the largest unit that holds it exactly.
fn written_rate(rate: EventRate) -> String {
    let EventRate(thousandths_a_day) = rate;
    let (unit, factor) = [("/s", 86_400_000), ("/m", 1_440_000), ("/h", 60_000)]
        .into_iter()
        .find(|(_, factor)| thousandths_a_day % factor == 0)
        .unwrap_or(("/s", 86_400_000));
    if thousandths_a_day % factor == 0 {
        format!("{}{unit}", thousandths_a_day / factor)
    } else {
        format!("{}{unit}", rate.per_second())
    }
}

fn counted<T>(value: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if value == "none" {
        return Ok(None);
    }
    read(value).map(Some)
}

fn count(value: &str) -> Result<u64, String> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{value}` is not a count above zero"))
}

fn rate(value: &str) -> Result<EventRate, String> {
    let rate = parse_event_rate(value).map_err(|error| error.to_string())?;
    match rate {
        EventRate(0) => Err("a rate of zero lets nobody in".to_owned()),
        EventRate(_) => Ok(rate),
    }
}

fn data_rate(value: &str) -> Result<u64, String> {
    let bits = parse_data_rate(value).map_err(|error| error.to_string())?;
    (bits > 0)
        .then_some(bits)
        .ok_or_else(|| "a rate of zero lets nothing out".to_owned())
}

fn sized(value: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    let bytes = parse_size(value).map_err(|error| error.to_string())?;
    let (least, most) = (range.start(), range.end());
    range
        .contains(&bytes)
        .then_some(bytes)
        .ok_or_else(|| format!("`{value}` is not within {least} and {most} bytes"))
}

fn timed(value: &str, most: Duration) -> Result<Duration, String> {
    let time = parse_duration(value).map_err(|error| error.to_string())?;
    (!time.is_zero() && time <= most)
        .then_some(time)
        .ok_or_else(|| format!("`{value}` is not within 1ns and {} s", most.as_secs()))
}

/// A count above zero that descriptors are kept for.
fn few(value: &str, most: u64) -> Result<u64, String> {
    let number = count(value)?;
    (number <= most)
        .then_some(number)
        .ok_or_else(|| format!("`{value}` is above {most}, for which descriptors are kept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut strict = Limits::open();
        for written in [
            "connections=7",
            "connects=90/m",
            "downloads=2",
            "egress=2 Mbit/s",
            "packet=4 KiB",
            "connect-time=500ms",
            "queue=9",
            "body=1 MiB",
            "image=1 GiB",
            "management=5",
            "silence=90s",
        ] {
            strict.set(written).unwrap();
        }
        assert_eq!(
            (strict.connections, strict.egress, strict.packet),
            (Some(7), Some(2_000_000), 4096)
        );
        for limits in [Limits::default(), Limits::open(), strict] {
            let mut other = Limits {
                queue: 1,
                ..Limits::default()
            };
            limits.written().iter().for_each(|written| other.set(written).unwrap());
            assert_eq!(other, limits);
        }
    }

    #[test]
    fn a_wrong_limit_is_told_what_would_be_right() {
        let said = |written: &str| Limits::default().set(written).unwrap_err().to_string();
        assert_eq!(said("connections"), "`connections` is not KEY=VALUE");
        assert!(said("conections=5").starts_with("unknown limit `conections`: limits are connections, connects"));
        assert_eq!(said("connections=0"), "connections: `0` is not a count above zero");
        assert!(
            said("connects=5").starts_with("connects: needs a unit"),
            "{}",
            said("connects=5")
        );
        assert!(said("packet=1 B").contains("256"), "{}", said("packet=1 B"));
        assert!(said("egress=none of it").starts_with("egress: "));
    }
}
