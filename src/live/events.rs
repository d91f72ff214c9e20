//! The server's event stream: lines of JSON to events, from the first one on.

use std::time::Duration;

use reqwest::Response;
use tokio::sync::mpsc::UnboundedSender;

use crate::wire::api::{EventLine, Problem};

use super::admin::{Admin, chain};

/// Longest line of the stream, bytes.
const LINE_MAX: usize = 64 * 1024;

/// How long a server that is to be restarted may be away.
const AWAY_MAX: Duration = Duration::from_secs(600);
/// Pause before it is looked for again.
const AWAY_PAUSE: Duration = Duration::from_millis(100);

/// Follows the stream until it ends, and says why it did: one that has `begun`, or from the first event on. It is opened again, behind
/// the last event seen, only where the server is one that `comes_back`: one that runs keeps it open.
pub(crate) async fn follow(
    admin: Admin,
    events: UnboundedSender<Vec<EventLine>>,
    mut begun: Option<Response>,
    comes_back: bool,
) -> String {
    let mut after = 0;
    let mut away = Duration::ZERO;
    loop {
        let before = after;
        let opened = match begun.take() {
            Some(stream) => Ok(stream),
            None => admin.events(Some(after)).await,
        };
        let why = match opened {
            Ok(stream) => follow_once(stream, &events, &mut after).await,
            Err(problem) => problem,
        };
        if after != before {
            away = Duration::ZERO;
        }
        if !comes_back || events.is_closed() || away > AWAY_MAX {
            return why;
        }
        tokio::time::sleep(AWAY_PAUSE).await;
        away += AWAY_PAUSE;
    }
}

/// Follows the stream to its end; `after` is the number of the last event seen.
async fn follow_once(mut stream: Response, events: &UnboundedSender<Vec<EventLine>>, after: &mut u64) -> String {
    let mut lines = Lines::default();
    loop {
        match stream.chunk().await {
            Ok(Some(chunk)) => match lines.take(&chunk) {
                Ok(batch) if batch.is_empty() => {}
                Ok(batch) => {
                    *after = batch.last().map_or(*after, |line| line.seq);
                    if events.send(batch).is_err() {
                        return "the run is over".to_owned();
                    }
                }
                Err(problem) => return problem,
            },
            Ok(None) => return "the event stream ended".to_owned(),
            Err(error) => return format!("the event stream broke: {}", chain(&error)),
        }
    }
}

/// Cuts the stream into lines.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The events that end in `chunk`.
    fn take(&mut self, chunk: &[u8]) -> Result<Vec<EventLine>, String> {
        let mut events = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if self.rest.len() > LINE_MAX {
                return Err(format!("the event stream has a line of more than {LINE_MAX} bytes"));
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.rest);
                if !line.trim_ascii().is_empty() {
                    events.push(event(&line)?);
                }
            }
        }
        Ok(events)
    }
}

fn event(line: &[u8]) -> Result<EventLine, String> {
    serde_json::from_slice(line).map_err(|error| match serde_json::from_slice::<Problem>(line) {
        Ok(problem) => format!("the event stream ended: {}", problem.detail),
        Err(_) => format!("the event stream has a line that is no event: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerEvent;

    fn line(seq: u64) -> String {
        let event = ServerEvent::DeviceConnected { device: "d-1".into() };
        serde_json::to_string(&EventLine { seq, at_ns: 5, event }).unwrap() + "\n"
    }

    #[test]
    fn events_come_out_of_any_cut_of_the_stream() {
        let stream = [line(1), "\n".to_owned(), line(2), line(3)].concat();
        for cut in 0..stream.len() {
            let mut lines = Lines::default();
            let (first, second) = stream.as_bytes().split_at(cut);
            let mut events = lines.take(first).unwrap();
            events.extend(lines.take(second).unwrap());
            assert_eq!(
                events.iter().map(|line| line.seq).collect::<Vec<_>>(),
                [1, 2, 3],
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_problem_in_the_stream_is_told() {
        let problem = r#"{"type":"events-lost","title":"Events are gone","status":410,"detail":"events 1 to 5 are gone"}"#;
        let told = Lines::default().take(format!("{problem}\n").as_bytes()).unwrap_err();
        assert_eq!(told, "the event stream ended: events 1 to 5 are gone");
        assert!(Lines::default().take(b"{}\n").is_err());
    }

    #[test]
    fn a_line_without_end_is_refused() {
        assert!(Lines::default().take(&vec![b'x'; LINE_MAX + 1]).is_err());
    }
}
