//! The event stream: the latest events in a bounded ring, from which every reader takes at its own pace. A reader that falls behind
//! the ring is told what it missed, in a last line, and must begin anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::{mpsc, watch};

use crate::model::ServerEvent;
use crate::time::SimTime;
use crate::wire::api::{EventLine, Problem};

/// Events kept for readers: those of 20,000 devices through an update.
pub(crate) const KEPT_MAX: usize = 1 << 17;
/// Lines of one piece of the stream.
const LINES_MAX: usize = 512;
/// Pieces that wait for one reader, besides what its socket holds.
const PIECES_MAX: usize = 4;

/// The latest events, numbered from one.
#[derive(Debug)]
pub(crate) struct EventLog {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
    kept_max: usize,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<EventLine>,
    newest: u64,
}

/// Events behind `after` are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The reader's last event.
    pub(crate) after: u64,
    /// The oldest that is kept.
    pub(crate) oldest: u64,
}

impl Lost {
    /// What the reader is told.
    pub(crate) fn problem(self) -> Problem {
        Problem {
            kind: "events-lost".to_owned(),
            title: "Events are gone".to_owned(),
            status: 410,
            detail: format!(
                "events {} to {} are kept no longer: read the state anew, then follow from `after={}`",
                self.after + 1,
                self.oldest - 1,
                self.oldest - 1
            ),
            field: Some("after".to_owned()),
        }
    }
}

impl EventLog {
    /// An empty log.
    pub(crate) fn new() -> Self {
        EventLog::keeping(KEPT_MAX)
    }

    /// A log that goes on behind events told before a restart, oldest first.
    pub(crate) fn restored(lines: Vec<EventLine>) -> Self {
        let log = EventLog::new();
        let newest = lines.last().map_or(0, |line| line.seq);
        let skipped = lines.len().saturating_sub(KEPT_MAX);
        *log.lock() = Ring {
            lines: lines.into_iter().skip(skipped).collect(),
            newest,
        };
        log.newest.send_replace(newest);
        log
    }

    fn keeping(kept_max: usize) -> Self {
        EventLog {
            ring: Mutex::default(),
            newest: watch::Sender::new(0),
            kept_max,
        }
    }

    /// Adds events of one moment.
    pub(crate) fn append(&self, at: SimTime, events: Vec<ServerEvent>) {
        let mut ring = self.lock();
        for event in events {
            ring.newest += 1;
            let line = EventLine {
                seq: ring.newest,
                at_ns: at.as_nanos(),
                event,
            };
            if ring.lines.len() == self.kept_max {
                ring.lines.pop_front();
            }
            ring.lines.push_back(line);
        }
        let newest = ring.newest;
        drop(ring);
        self.newest.send_replace(newest);
    }

    /// Number of the newest event; zero if there was none.
    pub(crate) fn newest(&self) -> u64 {
        self.lock().newest
    }

    /// At most `limit` events behind `after`.
    pub(crate) fn behind(&self, after: u64, limit: usize) -> Result<Vec<EventLine>, Lost> {
        let ring = self.lock();
        let oldest = ring.newest + 1 - ring.lines.len() as u64;
        let skipped = after
            .checked_add(1)
            .and_then(|next| next.checked_sub(oldest))
            .ok_or(Lost { after, oldest })?;
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        Ok(ring.lines.iter().skip(skipped).take(limit).cloned().collect())
    }

    /// Sends the stream behind `after` into `pieces` until its reader goes, or is too late.
    async fn follow(self: Arc<Self>, mut after: u64, form: Form, pieces: mpsc::Sender<Bytes>) {
        let mut newest = self.newest.subscribe();
        loop {
            newest.mark_unchanged();
            let lines = match self.behind(after, LINES_MAX) {
                Ok(lines) => lines,
                Err(lost) => {
                    let _gone = pieces.send(form.lost(&lost.problem())).await;
                    return;
                }
            };
            let Some(last) = lines.last() else {
                tokio::select! {
                    changed = newest.changed() => match changed { Ok(()) => continue, Err(_) => return },
                    () = pieces.closed() => return,
                }
            };
            after = last.seq;
            if pieces.send(form.text(&lines)).await.is_err() {
                return;
            }
        }
    }

    /// A stream of the events behind `after`; ends when the receiver is dropped.
    pub(crate) fn stream(self: &Arc<Self>, after: u64, form: Form) -> mpsc::Receiver<Bytes> {
        let (pieces, stream) = mpsc::channel(PIECES_MAX);
        tokio::spawn(Arc::clone(self).follow(after, form, pieces));
        stream
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// NDJSON.
    Lines,
    /// Server-sent events (HTML standard, 9.2), numbered.
    ServerSent,
}

impl Form {
    /// Its media type.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Form::Lines => "application/x-ndjson",
            Form::ServerSent => "text/event-stream",
        }
    }

    fn text(self, lines: &[EventLine]) -> Bytes {
        match self {
            Form::Lines => text(lines),
            Form::ServerSent => {
                let mut sent = String::new();
                for line in lines {
                    let json = serde_json::to_string(line).expect("an event has a JSON form");
                    sent.push_str(&format!("id: {}\ndata: {json}\n\n", line.seq));
                }
                sent.into()
            }
        }
    }

    fn lost(self, problem: &Problem) -> Bytes {
        match self {
            Form::Lines => text(std::slice::from_ref(problem)),
            Form::ServerSent => {
                let json = serde_json::to_string(problem).expect("a problem has a JSON form");
                format!("event: error\ndata: {json}\n\n").into()
            }
        }
    }
}

fn text<T: serde::Serialize>(lines: &[T]) -> Bytes {
    let mut text = BytesMut::with_capacity(lines.len() * 200).writer();
    for line in lines {
        serde_json::to_writer(&mut text, line).expect("these types have a JSON form, and memory takes it");
        text.get_mut().put_u8(b'\n');
    }
    text.into_inner().freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(events: u64, kept_max: usize) -> EventLog {
        let log = EventLog::keeping(kept_max);
        for n in 0..events {
            log.append(
                SimTime::from_secs(n),
                vec![ServerEvent::DeviceConnected {
                    device: format!("d-{n}").as_str().into(),
                }],
            );
        }
        log
    }

    #[test]
    fn readers_continue_where_they_were() {
        let log = filled(5, 10);
        assert_eq!(
            log.behind(0, 2).unwrap().iter().map(|line| line.seq).collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(
            log.behind(2, 9).unwrap().iter().map(|line| line.seq).collect::<Vec<_>>(),
            [3, 4, 5]
        );
        assert_eq!(log.behind(5, 9), Ok(vec![]));
        assert_eq!(filled(0, 10).behind(0, 9), Ok(vec![]));
    }

    #[test]
    fn a_restored_log_counts_on() {
        let before = filled(5, 3);
        let log = EventLog::restored(before.behind(2, 9).unwrap());
        assert_eq!((log.newest(), log.behind(3, 9).unwrap().len()), (5, 2));
        log.append(SimTime::ZERO, vec![ServerEvent::DeviceConnected { device: "d".into() }]);
        assert_eq!(log.behind(5, 9).unwrap()[0].seq, 6);
        assert!(log.behind(1, 9).is_err(), "what is gone stays gone");
    }

    #[test]
    fn a_reader_behind_the_ring_is_told_what_it_missed() {
        let log = filled(8, 3);
        assert_eq!(log.behind(5, 9).unwrap().len(), 3);
        let lost = log.behind(4, 9).unwrap_err();
        assert_eq!(lost, Lost { after: 4, oldest: 6 });
        assert!(
            lost.problem().detail.starts_with("events 5 to 5 "),
            "{}",
            lost.problem().detail
        );
    }

    #[test]
    fn server_sent_events_are_numbered_and_end_with_an_empty_line() {
        let sent = Form::ServerSent.text(&filled(2, 3).behind(1, 9).unwrap());
        let text = std::str::from_utf8(&sent).unwrap();
        assert!(
            text.starts_with("id: 2\ndata: {\"seq\":2,") && text.ends_with("}\n\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_lagging_stream_ends_with_an_error_line() {
        let log = Arc::new(filled(2, 3));
        let mut stream = log.stream(0, Form::Lines);
        let first = stream.recv().await.unwrap();
        assert_eq!(first.iter().filter(|byte| **byte == b'\n').count(), 2);
        for n in 0..9 {
            log.append(
                SimTime::ZERO,
                vec![ServerEvent::DeviceRegistered {
                    device: format!("e-{n}").as_str().into(),
                }],
            );
        }
        let last: Problem = serde_json::from_slice(&stream.recv().await.unwrap()).unwrap();
        assert_eq!(last.kind, "events-lost");
        assert!(stream.recv().await.is_none());
    }
}
