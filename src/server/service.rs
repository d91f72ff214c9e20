//! What a message of a device costs the server, by its load: a capacity curve. A server that gets slower the more is asked of it is one
//! that a herd keeps down.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{EventRate, parse_duration, parse_event_rate};
use crate::time::SimTime;

/// Events a second, in the parts that an [`EventRate`] counts in.
const PER_SECOND: u64 = 86_400_000;

/// Service time of a message by how many come in a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTime {
    /// From this rate on it is this; rates rise, and the first one is zero. Empty where it is nothing.
    steps: Vec<(EventRate, Duration)>,
}

impl ServiceTime {
    /// The same whatever the load.
    pub fn constant(time: Duration) -> ServiceTime {
        ServiceTime {
            steps: if time.is_zero() {
                Vec::new()
            } else {
                vec![(EventRate(0), time)]
            },
        }
    }

    /// A curve: from each rate on, its time.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn curve(mut steps: Vec<(EventRate, Duration)>) -> Result<ServiceTime, String> {
        steps.sort_unstable();
        match steps.first() {
            Some((EventRate(0), _)) => Ok(ServiceTime { steps }),
            _ => Err("the lowest load is \"0/s\"".to_owned()),
        }
    }

    /// True if no message takes any time.
    pub fn is_zero(&self) -> bool {
        self.steps.iter().all(|(_, time)| time.is_zero())
    }

    /// Each rate with the time from there on.
    pub fn steps(&self) -> &[(EventRate, Duration)] {
        &self.steps
    }

    /// What a message takes of an idle server.
    pub fn idle(&self) -> Duration {
        self.at(0)
    }

    fn at(&self, messages: u64) -> Duration {
        let reached = |(rate, _): &&(EventRate, Duration)| rate.0 <= messages.saturating_mul(PER_SECOND);
        self.steps
            .iter()
            .rev()
            .find(reached)
            .map_or(Duration::ZERO, |&(_, time)| time)
    }
}

/// `1ms`, or `0/s=1ms,200/s=20ms`: as one process tells the other.
impl FromStr for ServiceTime {
    type Err = String;

    fn from_str(text: &str) -> Result<ServiceTime, String> {
        if !text.contains('=') {
            return parse_duration(text)
                .map(ServiceTime::constant)
                .map_err(|error| error.to_string());
        }
        let step = |part: &str| {
            let (rate, time) = part.split_once('=').ok_or_else(|| format!("`{part}` is no RATE=TIME"))?;
            let rate = parse_event_rate(rate).map_err(|error| error.to_string())?;
            Ok::<_, String>((rate, parse_duration(time).map_err(|error| error.to_string())?))
        };
        ServiceTime::curve(text.split(',').map(step).collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for ServiceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = |time: Duration| format!("{}ns", time.as_nanos());
        match self.steps.as_slice() {
            [] => f.write_str("0ns"),
            [(_, time)] => f.write_str(&nanos(*time)),
            steps => {
                let written = |(rate, time): &(EventRate, Duration)| format!("{rate}={}", nanos(*time));
                f.write_str(&steps.iter().map(written).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// Counts messages, and says what each one takes: the load is that of the last second that was over, or of the present one if that is
/// higher already.
#[derive(Debug, Default)]
pub struct Load {
    times: ServiceTime,
    second: u64,
    before: u64,
    now: u64,
}

impl Load {
    /// No message has come yet.
    pub fn new(times: ServiceTime) -> Load {
        Load {
            times,
            ..Load::default()
        }
    }

    /// True if no message takes any time.
    pub fn is_free(&self) -> bool {
        self.times.is_zero()
    }

    /// A message comes at `at`: what it takes.
    pub fn take(&mut self, at: SimTime) -> Duration {
        let second = at.as_nanos() / 1_000_000_000;
        if second != self.second {
            self.before = if second == self.second + 1 { self.now } else { 0 };
            (self.second, self.now) = (second, 0);
        }
        self.now += 1;
        self.times.at(self.before.max(self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_what_the_load_says() {
        let times: ServiceTime = "0/s=1ms,3/s=20ms,5/s=1s".parse().unwrap();
        assert_eq!(times.to_string().parse(), Ok(times.clone()));
        let mut load = Load::new(times);
        let mut take = |ms: u64| load.take(SimTime::from_millis(ms)).as_millis();
        assert_eq!([0, 100, 200, 300, 400].map(&mut take), [1, 1, 20, 20, 1_000]);
        assert_eq!(take(1_000), 1_000, "the second before was as busy");
        assert_eq!(take(2_000), 1);
        assert_eq!(take(9_000), 1);
    }

    #[test]
    fn a_constant_is_a_curve_without_a_rise_and_a_curve_begins_at_nothing() {
        let constant: ServiceTime = "2ms".parse().unwrap();
        assert_eq!(constant, ServiceTime::constant(Duration::from_millis(2)));
        assert_eq!(constant.to_string().parse(), Ok(constant));
        assert!(ServiceTime::default().is_zero() && "0s".parse::<ServiceTime>().unwrap().is_zero());
        assert_eq!("5/s=1ms".parse::<ServiceTime>(), Err("the lowest load is \"0/s\"".to_owned()));
        assert!("0/s=1".parse::<ServiceTime>().is_err());
    }
}
