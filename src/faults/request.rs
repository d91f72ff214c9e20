//! What can go wrong with single image requests: their answers are rewritten on the way to the device.

use std::fmt;

use crate::model::parse_data_rate;

use super::kind::Written;
use super::message::in_largest;

/// A fault of image requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// The image host answers with this status.
    Http {
        /// 100 to 599.
        status: u16,
    },
    /// Bytes of an image are changed on their way.
    Corrupt {
        /// How many.
        bytes: u64,
    },
    /// An image answer ends early.
    Truncate {
        /// The short length is announced.
        short: bool,
    },
    /// An image answer stops coming.
    Stall,
    /// Image bytes come at this rate.
    Slow {
        /// Bits a second.
        rate: u64,
    },
    /// A ranged request is answered with another offset, or another total.
    WrongRange,
    /// An image request is answered with a redirection.
    Redirect,
    /// The device does not trust the image host's chain.
    BadTls,
}

impl RequestFault {
    /// Reads a kind; `None` where the word is none of these.
    pub(super) fn parse(written: Written<'_>) -> Option<Result<RequestFault, String>> {
        Some(match written.word {
            "http" => written.number("a status").and_then(|status| match u16::try_from(status) {
                Ok(status @ 100..600) => Ok(RequestFault::Http { status }),
                Ok(_) | Err(_) => Err(format!("`{status}` is no HTTP status: 100 to 599")),
            }),
            "corrupt" => written
                .number("a number of bytes")
                .map(|bytes| RequestFault::Corrupt { bytes }),
            "truncate" => match written.rest {
                "" => Ok(RequestFault::Truncate { short: false }),
                "short" => Ok(RequestFault::Truncate { short: true }),
                rest => Err(format!("`truncate` takes nothing or `short`, not `{rest}`")),
            },
            "stall" => written.bare(RequestFault::Stall),
            "slow" => match parse_data_rate(written.rest) {
                Ok(rate) => Ok(RequestFault::Slow { rate }),
                Err(error) => Err(format!("`slow`: {error}")),
            },
            "wrong-range" => written.bare(RequestFault::WrongRange),
            "redirect" => written.bare(RequestFault::Redirect),
            "bad-tls" => written.bare(RequestFault::BadTls),
            _ => return None,
        })
    }

    /// True where an answer that is on its way is struck too.
    pub(super) const fn strikes_bodies(self) -> bool {
        match self {
            RequestFault::Corrupt { .. } | RequestFault::Truncate { .. } | RequestFault::Stall | RequestFault::Slow { .. } => true,
            RequestFault::Http { .. } | RequestFault::WrongRange | RequestFault::Redirect | RequestFault::BadTls => false,
        }
    }
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestFault::Http { status } => write!(f, "http {status}"),
            RequestFault::Corrupt { bytes } => write!(f, "corrupt {bytes}"),
            RequestFault::Truncate { short: false } => f.write_str("truncate"),
            RequestFault::Truncate { short: true } => f.write_str("truncate short"),
            RequestFault::Stall => f.write_str("stall"),
            RequestFault::Slow { rate } => {
                let units = [(1_000_000, "Mbit/s"), (1_000, "kbit/s"), (1, "bit/s")];
                let (number, unit) = in_largest(u128::from(*rate), &units);
                write!(f, "slow {number} {unit}")
            }
            RequestFault::WrongRange => f.write_str("wrong-range"),
            RequestFault::Redirect => f.write_str("redirect"),
            RequestFault::BadTls => f.write_str("bad-tls"),
        }
    }
}
