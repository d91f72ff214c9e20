//! An external server as it is planned: its address, where its credentials are held, and who carries out steps there.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Where something is reached: a scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `mqtt`, `mqtts`, `http` or `https`.
    pub scheme: String,
    /// A name or an address, IPv6 without its brackets.
    pub host: String,
    /// The port, never zero.
    pub port: u16,
}

impl Address {
    /// Takes `scheme://host:port` apart; `None` where it is anything else.
    pub fn parse(text: &str) -> Option<Address> {
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':')?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let known = match bracketed {
            Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            }
        };
        let port: u16 = port.parse().ok()?;
        (known && port != 0).then(|| Address {
            scheme: scheme.to_owned(),
            host: bracketed.unwrap_or(host).to_owned(),
            port,
        })
    }

    /// Whether nobody else's machine is reached by it. A name other than `localhost` may be anybody's.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { scheme, host, port } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// Where a credential is held; its value is read when the run begins, and never before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// In this variable of the environment.
    Environment(String),
    /// In this file.
    File(PathBuf),
}

impl Held {
    /// The same, a file taken as relative to `folder`.
    pub(super) fn within(&self, folder: &Path) -> Held {
        match self {
            Held::Environment(name) => Held::Environment(name.clone()),
            Held::File(path) => Held::File(folder.join(path)),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Held::Environment(name) => write!(f, "env:{name}"),
            Held::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A server that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPlan {
    /// Where devices connect.
    pub address: Address,
    /// The devices' MQTT password, or the credentials file of a `squall serve`.
    pub key: Option<Held>,
    /// Who signs its certificate; `None` trusts whom the machine trusts.
    pub ca: Option<Held>,
    /// Certificate of the devices, and its key.
    pub identity: Option<(Held, Held)>,
    /// Any certificate is believed.
    pub insecure: bool,
    /// Who carries out steps.
    pub admin: AdminPlan,
}

/// Who carries out steps on an external server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminPlan {
    /// Nobody: there are none.
    Nobody,
    /// A program, once for each change, which stands as JSON on its standard input.
    Program(PathBuf),
    /// The management API of a `squall serve`.
    Api(Address),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_written() {
        for text in ["mqtts://127.0.0.1:8883", "mqtt://broker.example:1883", "https://[::1]:443"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "mqtts://127.0.0.1",
            "127.0.0.1:8883",
            "mqtt://:1883",
            "mqtt://a b:1",
            "mqtt://user:word@host:1",
            "mqtt://host:0",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_loopback_is_nobody_elses() {
        let is_loopback = |text: &str| Address::parse(text).unwrap().is_loopback();
        assert!(is_loopback("mqtt://127.9.9.9:1883") && is_loopback("mqtt://localhost:1883") && is_loopback("mqtt://[::1]:1883"));
        assert!(!is_loopback("mqtt://10.0.0.1:1883") && !is_loopback("mqtt://localhost.example:1883"));
    }
}
