//! Life as a child of a harness: orders come on standard input, then how the server is to stand, and its end is the end. A server that
//! a person starts has no such channel.

use std::io::{self, BufRead, BufReader, Read};

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::sync::{oneshot, watch};

use super::HostError;
use super::listen::say;
use crate::wire::api::{ChildCondition, ChildOrders};

/// Longest line of orders, bytes.
const ORDERS_MAX: u64 = 64 * 1024;

/// What ties a child to its parent.
pub(crate) struct Parent {
    /// The first line.
    pub(crate) orders: ChildOrders,
    /// How the server is to stand.
    pub(crate) condition: watch::Receiver<ChildCondition>,
    /// Resolves when standard input ends.
    pub(crate) end: oneshot::Receiver<()>,
}

/// Takes the orders, and ties this process to its parent: beside the end of standard input, the kernel sends SIGTERM when the parent
/// dies, which also covers a copy of the pipe that another process keeps open.
///
/// # Errors
/// [`HostError::Orders`] if there is no line of orders.
pub(crate) fn attach() -> Result<Parent, HostError> {
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|cause| HostError::System {
        what: "following the parent",
        cause: cause.into(),
    })?;
    let mut input = BufReader::new(io::stdin());
    let orders = read_orders(&mut input)?;
    let (ended, end) = oneshot::channel();
    let (stand, condition) = watch::channel(ChildCondition::default());
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            for line in input.lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(condition) => drop(stand.send_replace(condition)),
                    Err(error) => say(&format!("a line of standard input is no condition: {error}")),
                }
            }
            let _gone = ended.send(());
        })
        .map_err(|cause| HostError::System {
            what: "starting a thread",
            cause,
        })?;
    Ok(Parent { orders, condition, end })
}

fn read_orders(input: &mut impl BufRead) -> Result<ChildOrders, HostError> {
    let mut line = String::new();
    input
        .take(ORDERS_MAX)
        .read_line(&mut line)
        .map_err(|error| HostError::Orders(error.to_string()))?;
    if line.is_empty() {
        return Err(HostError::Orders("it ended before they came".to_owned()));
    }
    serde_json::from_str(&line).map_err(|error| HostError::Orders(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_one_line() {
        let mut input = &b"{\"epoch_monotonic_ns\":12}\nrest"[..];
        assert_eq!(
            read_orders(&mut input).unwrap(),
            ChildOrders {
                epoch_monotonic_ns: 12,
                audit: false,
                devices: 0,
                defect: None,
            }
        );
        assert_eq!(input, b"rest");
        assert_eq!(
            read_orders(&mut &b""[..]).unwrap_err().to_string(),
            "orders on standard input: it ended before they came"
        );
        assert!(
            read_orders(&mut &b"{}\n"[..])
                .unwrap_err()
                .to_string()
                .contains("epoch_monotonic_ns")
        );
    }
}
