//! How full descriptor tables and ports are, as the system tells it in /proc.

use std::fs;
use std::time::Duration;

use crate::play::Filled;

/// How long the kernel keeps the port of a connection that has ended (TIME-WAIT, fixed on Linux).
pub(super) const PORT_WAITS: Duration = Duration::from_secs(60);

/// Most of a thing that was taken so far, and how much of it there is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    most: Option<u64>,
    of: Option<u64>,
}

impl Level {
    /// Of so much; `None` is without limit.
    pub fn of(of: Option<u64>) -> Level {
        Level { most: None, of }
    }

    /// So much is taken now; `None` where that cannot be told.
    pub fn note(&mut self, taken: Option<u64>) {
        self.most = self.most.max(taken);
    }

    /// For a report.
    pub fn filled(self) -> Option<Filled> {
        Some(Filled {
            most: self.most?,
            of: self.of,
        })
    }
}

/// Open descriptors in the fullest table of a process, whose threads may have tables of their own. `None` before Linux 6.2, where it
/// would take a walk through all of them.
pub(super) fn fullest_table(process: &str) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    // A thread may end between the two looks.
    let open = threads.filter_map(|thread| fs::metadata(thread.ok()?.path().join("fd")).ok());
    open.map(|folder| folder.len()).max().filter(|open| *open > 0)
}

/// Ports of this machine that wait out their minute after a connection (proc_net(5), TIME-WAIT).
pub(super) fn waiting_ports() -> Option<u64> {
    waiting_in(&fs::read_to_string("/proc/net/sockstat").ok()?)
}

fn waiting_in(sockstat: &str) -> Option<u64> {
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = tcp.split_ascii_whitespace().skip_while(|word| *word != "tw");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_kept_with_its_limit() {
        let mut level = Level::of(Some(20));
        assert_eq!(level.filled(), None, "nobody has looked");
        [Some(3), Some(9), None, Some(4)]
            .into_iter()
            .for_each(|taken| level.note(taken));
        assert_eq!(level.filled(), Some(Filled { most: 9, of: Some(20) }));
    }

    #[test]
    fn ports_that_wait_are_read() {
        let text = "sockets: used 23\nTCP: inuse 11 orphan 1 tw 308 alloc 12 mem 122\nUDP: inuse 0 mem 0\n";
        assert_eq!(waiting_in(text), Some(308));
        assert_eq!(waiting_in("UDP: inuse 0\n"), None);
        assert!(waiting_ports().is_some());
    }

    #[test]
    fn a_file_more_is_a_descriptor_more() {
        // Before Linux 6.2 nothing is told.
        let Some(before) = fullest_table("self") else { return };
        let files: Vec<_> = (0..2_000).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = fullest_table("self").unwrap();
        assert!(after >= before.max(files.len() as u64), "{before}, then {after}");
    }
}
