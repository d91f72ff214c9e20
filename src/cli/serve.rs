//! `squall serve`: the reference server for whatever device connects.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::server::ServiceTime;
use clap::Args;

use crate::cli::{BAD_INPUT, INTERNAL};
use crate::host::{Ended, HostConfig, HostError, TlsChoice, serve};
use crate::model::{AttemptId, parse_duration};
use crate::server::{LimitError, Limits};

/// Exit code when an invariant broke.
const BROKEN: u8 = 100;
/// Exit code of an interrupted command.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  squall serve                                       free ports on loopback, TLS with an own CA
  squall serve --listen 127.0.0.1:8883 --tls auto+rsa
  squall serve --tls off --first-attempt 1001        without TLS; attempts count from 1001
  squall serve --judge                               finds what devices do wrong (docs/judge.md)
  squall serve --limit connections=500 --limit connects=20/s
  squall serve --store fleet                         goes on where it was when it is started again
The first line on standard output is JSON with the addresses, the CA file and the name of a file with the
token and the ingest key.";

/// Flags of `squall serve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Address where devices connect by MQTT
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address where images are downloaded; it becomes part of their URLs
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    images: SocketAddr,
    /// Address of the management API: loopback, or anywhere with TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// Certificate: `auto` makes an own authority, `auto+rsa` adds an RSA chain for old devices, `off` is plain text
    #[arg(long, value_name = "auto|auto+rsa|off|CERT,KEY", default_value = "auto", value_parser = parse_tls)]
    tls: TlsChoice,
    /// Keep everything in this folder, and go on from what is there; without it everything goes with the process
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Ask for missing results after this long; 0s never asks
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = |text: &str| parse_duration(text).map_err(|error| error.to_string()))]
    chase: Duration,
    /// Close an attempt as failed that has no end this long after it was made [default: wait for ever]
    #[arg(long, value_name = "TIME", value_parser = |text: &str| parse_duration(text).map_err(|error| error.to_string()))]
    deadline: Option<Duration>,
    /// Service time of each message of a device, by load
    #[arg(long, hide = true, default_value = "0s")]
    delay: ServiceTime,
    /// Id of the first attempt
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_attempt)]
    first_attempt: AttemptId,
    /// What is refused beyond: connections, connects, downloads, egress, packet, connect-time, handshake, unread, queue, header; `none`
    /// lifts one of the first four
    #[arg(long = "limit", value_name = "KEY=VALUE", value_parser = parse_limit)]
    limits: Vec<String>,
    /// Hold every device against the invariants that can be seen from the server; findings go to standard error, the exit code is 100
    /// when one broke
    #[arg(long)]
    judge: bool,
    /// Take orders on standard input and end with it
    #[arg(long, hide = true)]
    child: bool,
}

/// Serves until it is told to end; gives the exit code.
pub fn run(args: ServeArgs) -> u8 {
    let mut limits = Limits::default();
    for written in &args.limits {
        limits.set(written).expect("every limit was read before");
    }
    let config = HostConfig {
        listen: args.listen,
        images: args.images,
        admin: args.admin,
        tls: args.tls,
        store: args.store,
        chase: args.chase,
        deadline: args.deadline,
        delay: args.delay,
        first_attempt: args.first_attempt,
        limits,
        judge: args.judge,
        child: args.child,
    };
    let ended = serve(&config, |line| {
        let text = serde_json::to_string(line).expect("a ready line has a JSON form");
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{text}")?;
        stdout.flush()
    });
    match ended {
        Ok(served) => {
            let broken = served.verdict.as_ref().is_some_and(|verdict| verdict.broken);
            if let Some(verdict) = served.verdict {
                // Whoever started it may have gone.
                let _nobody_reads = writeln!(std::io::stdout(), "{}", verdict.line);
            }
            match served.ended {
                Ended::Terminated | Ended::ParentGone | Ended::Interrupted if broken => BROKEN,
                Ended::Terminated | Ended::ParentGone => 0,
                Ended::Interrupted => INTERRUPTED,
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                HostError::Address { .. } | HostError::Certificate(_) => BAD_INPUT,
                HostError::Listen { .. }
                | HostError::File { .. }
                | HostError::Store(_)
                | HostError::Descriptors { .. }
                | HostError::Orders(_)
                | HostError::System { .. }
                | HostError::Defect(_) => INTERNAL,
            }
        }
    }
}

fn parse_tls(text: &str) -> Result<TlsChoice, String> {
    match text {
        "auto" => Ok(TlsChoice::Auto { rsa: false }),
        "auto+rsa" => Ok(TlsChoice::Auto { rsa: true }),
        "off" => Ok(TlsChoice::Off),
        files => match files.split_once(',') {
            Some((chain, key)) if !chain.is_empty() && !key.is_empty() => Ok(TlsChoice::Files {
                chain: PathBuf::from(chain),
                key: PathBuf::from(key),
            }),
            Some(_) | None => Err("neither `auto`, `auto+rsa`, `off` nor two files CERT,KEY".to_owned()),
        },
    }
}

/// Checks a limit; all of them are put together later.
fn parse_limit(text: &str) -> Result<String, LimitError> {
    Limits::default().set(text).map(|()| text.to_owned())
}

fn parse_attempt(text: &str) -> Result<AttemptId, String> {
    text.parse()
        .ok()
        .and_then(AttemptId::new)
        .ok_or_else(|| "attempt ids are 1 to 2^64-1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_a_word_or_two_files() {
        assert_eq!(parse_tls("auto+rsa"), Ok(TlsChoice::Auto { rsa: true }));
        assert_eq!(
            parse_tls("a.pem,b.pem"),
            Ok(TlsChoice::Files {
                chain: "a.pem".into(),
                key: "b.pem".into()
            })
        );
        assert!(parse_tls("of").is_err() && parse_tls("a.pem,").is_err());
    }
}
