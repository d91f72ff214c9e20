//! Life as a child of a harness: orders come on standard input, and its end is the end.

use std::io::{self, BufRead, BufReader, Read};

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::sync::oneshot;

use super::HostError;
use crate::wire::api::ChildOrders;

/// Longest line of orders, bytes.
const ORDERS_MAX: u64 = 64 * 1024;

/// Takes the orders, and ties this process to its parent: the receiver resolves when standard input ends, and the kernel sends SIGTERM
/// when the parent dies, which also covers a copy of the pipe that another process keeps open.
///
/// # Errors
/// [`HostError::Orders`] if there is no line of orders.
pub(crate) fn attach() -> Result<(ChildOrders, oneshot::Receiver<()>), HostError> {
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|cause| HostError::System {
        what: "following the parent",
        cause: cause.into(),
    })?;
    let mut input = BufReader::new(io::stdin());
    let orders = read_orders(&mut input)?;
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let _end_or_error = io::copy(&mut input, &mut io::sink());
            let _gone = ended.send(());
        })
        .map_err(|cause| HostError::System {
            what: "starting a thread",
            cause,
        })?;
    Ok((orders, end))
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
                audit: false
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
