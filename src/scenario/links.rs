//! The named links, embedded in the binary; each figure stands there with its source.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::Deserialize;

use crate::faults::{Drops, Latency, LinkProfile};
use crate::model::{parse_data_rate, parse_duration, parse_share};

use super::chips::Figure;

/// The link of a fleet that names none.
pub(super) const DEFAULT: &str = "lan";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkFigures {
    rtt_median: Figure,
    rtt_p99: Figure,
    down: Figure,
    up: Figure,
    loss: Figure,
    drops: Option<Figure>,
    join: Figure,
}

impl LinkFigures {
    fn profile(&self, name: &str) -> LinkProfile {
        let rate = |figure: &Figure| Some(parse_data_rate(figure.text()).expect("profiles hold rates with units"));
        LinkProfile {
            name: name.to_owned(),
            latency: Latency::lognormal(self.rtt_median.time() / 2, self.rtt_p99.time() / 2),
            down: rate(&self.down),
            up: rate(&self.up),
            loss: parse_share(self.loss.text()).expect("profiles hold shares"),
            drops: self
                .drops
                .as_ref()
                .map(|figure| drops(figure.text()).expect("profiles hold drops")),
            quota: None,
            join: times(self.join.text()).expect("profiles hold times"),
        }
    }
}

/// Reads `every T for T..T`.
pub(super) fn drops(text: &str) -> Option<Drops> {
    let (every, lasting) = text.strip_prefix("every ")?.split_once(" for ")?;
    Some(Drops {
        every: parse_duration(every.trim()).ok().filter(|every| !every.is_zero())?,
        lasting: times(lasting.trim())?,
    })
}

/// Reads `T` or `T..T`.
pub(super) fn times(text: &str) -> Option<RangeInclusive<Duration>> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let range = parse_duration(low.trim()).ok()?..=parse_duration(high.trim()).ok()?;
    (!range.is_empty()).then_some(range)
}

static LINKS: LazyLock<BTreeMap<String, Arc<LinkProfile>>> = LazyLock::new(|| {
    let profiles: BTreeMap<String, LinkFigures> =
        toml::from_str(include_str!("../../profiles/links.toml")).expect("the embedded profiles are valid");
    profiles
        .into_iter()
        .map(|(name, figures)| {
            let profile = Arc::new(figures.profile(&name));
            (name, profile)
        })
        .collect()
});

/// The links there are.
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    LINKS.keys().map(String::as_str)
}

/// The link called `name`.
pub(super) fn link(name: &str) -> Option<Arc<LinkProfile>> {
    LINKS.get(name).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Share;

    #[test]
    fn the_links_of_the_contract_are_there() {
        let names: Vec<_> = names().collect();
        assert_eq!(
            names,
            [
                "ble",
                "gprs",
                "lan",
                "lte",
                "lte-m",
                "nb-iot",
                "nb-iot-edge",
                "proxy",
                "rural",
                "satellite",
                "thread",
                "wifi",
                "wifi-crowded"
            ]
        );
        let rural = link("rural").unwrap();
        assert_eq!(
            (rural.down, rural.up, rural.loss),
            (Some(40_000), Some(25_000), Share(30_000))
        );
        assert_eq!(rural.latency.median(), Duration::from_millis(200));
        assert_eq!(rural.drops.as_ref().unwrap().every, Duration::from_secs(7200));
    }

    #[test]
    fn drops_and_times_are_read_as_the_contract_writes_them() {
        let read = drops("every 3m for 5s..60s").unwrap();
        assert_eq!(read.every, Duration::from_secs(180));
        assert_eq!(read.lasting, Duration::from_secs(5)..=Duration::from_secs(60));
        assert_eq!(times("5s"), Some(Duration::from_secs(5)..=Duration::from_secs(5)));
        for wrong in ["every 0s for 1s", "3m for 5s", "every 3m", "every 3m for 6s..5s"] {
            assert!(drops(wrong).is_none(), "{wrong}");
        }
    }
}
