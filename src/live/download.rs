//! One image request on a connection of its own (protocol 5.2): request, head, body within the device's read credit.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HOST, HeaderValue, RANGE};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;

use crate::time::SimTime;
use crate::wire::{ContentRange, DownloadError, DownloadEvent, DownloadRequest, ImageHead};

use super::clock::Clock;
use super::stream::{Dialer, Stream, Target};

/// Largest read from the socket, bytes: an open download holds one. The least that hyper allows.
const READ_MAX: usize = 8 * 1024;

type Connection = http1::Connection<TokioIo<Stream>, Empty<Bytes>>;
type Answering = Pin<Box<dyn Future<Output = Result<Answered, DownloadEvent>>>>;

/// When the stages of a request happen on the modelled path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stages {
    /// The first packet of its connection reaches the server.
    pub first_packet: SimTime,
    /// The request reaches the server, all handshakes included.
    pub request: SimTime,
    /// Time of one message in one direction.
    pub one_way: Duration,
}

/// A download under way.
pub(crate) struct Download {
    state: State,
    one_way: Duration,
    /// The answer's head, on its way to the device; it arrives at a moment that is asked for once it is there.
    head: Option<(Option<SimTime>, ImageHead)>,
    /// Bytes of the body that the device has not had yet; one read at most.
    held: Bytes,
    /// Bytes that the device takes.
    credit: u64,
}

enum State {
    Answering(Answering),
    Streaming(Box<Answered>),
    /// This is told at the end.
    Ended {
        at: SimTime,
        last: DownloadEvent,
    },
    Over,
}

/// A connection whose answer has begun.
struct Answered {
    connection: Option<Connection>,
    /// Kept: a connection without it takes itself for idle.
    _sender: http1::SendRequest<Empty<Bytes>>,
    head: ImageHead,
    body: Incoming,
}

impl Download {
    /// Begins a download for the device whose number in the run is `device`.
    pub fn start(request: DownloadRequest, device: u32, dialer: Rc<Dialer>, clock: Clock, stages: Stages) -> Download {
        Download {
            state: State::Answering(Box::pin(ask(request, device, dialer, clock, stages))),
            one_way: stages.one_way,
            head: None,
            held: Bytes::new(),
            credit: 0,
        }
    }

    /// Lets the device be given `bytes` more of the body.
    pub fn read(&mut self, bytes: u32) {
        self.credit += u64::from(bytes);
    }

    /// When something that is known already is to be told to the device.
    pub fn due(&self) -> Option<SimTime> {
        match (&self.state, &self.head) {
            (_, Some((at, _))) => *at,
            (State::Ended { at, .. }, None) if self.held.is_empty() => Some(*at),
            (State::Answering(_) | State::Streaming(_) | State::Ended { .. } | State::Over, None) => None,
        }
    }

    /// Moves bytes, and gives the next event for the device. `arrives` says when a head that comes from the server at a moment reaches
    /// it; the body follows within the device's read credit.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: SimTime,
        arrives: impl FnOnce(&ImageHead, SimTime) -> SimTime,
    ) -> Poll<DownloadEvent> {
        if let State::Answering(answering) = &mut self.state {
            match answering.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(answered)) => {
                    self.head = Some((None, answered.head));
                    self.state = State::Streaming(Box::new(answered));
                }
                Poll::Ready(Err(last)) => self.end(now + self.one_way, last),
            }
        }
        if let Some((at, head)) = self.head {
            let at = at.unwrap_or_else(|| arrives(&head, now));
            if at > now {
                self.head = Some((Some(at), head));
                return Poll::Pending;
            }
            self.head = None;
            return Poll::Ready(DownloadEvent::Answered(head));
        }
        self.fill(cx, now);
        if !self.held.is_empty() {
            return self.hand_over();
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Ended { at, last } if at <= now => Poll::Ready(last),
            other => {
                self.state = other;
                Poll::Pending
            }
        }
    }

    fn end(&mut self, at: SimTime, last: DownloadEvent) {
        self.state = State::Ended { at, last };
    }

    /// Takes the next piece of the body from the connection, unless one is held already.
    fn fill(&mut self, cx: &mut Context<'_>, now: SimTime) {
        while self.held.is_empty()
            && let State::Streaming(answered) = &mut self.state
        {
            match answered.poll_body(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(piece))) => {
                    let last = answered.body.is_end_stream();
                    self.held = piece;
                    if last {
                        self.end(now, DownloadEvent::Finished);
                    }
                }
                Poll::Ready(Some(Err(error))) => self.end(now + self.one_way, DownloadEvent::Broken(error)),
                Poll::Ready(None) => self.end(now, DownloadEvent::Finished),
            }
        }
    }

    /// Gives the device as much as its credit covers.
    fn hand_over(&mut self) -> Poll<DownloadEvent> {
        let covered = usize::try_from(self.credit).unwrap_or(usize::MAX).min(self.held.len());
        if covered == 0 {
            return Poll::Pending;
        }
        self.credit -= covered as u64;
        Poll::Ready(DownloadEvent::Body(self.held.split_to(covered)))
    }
}

impl Answered {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, DownloadError>>> {
        if let Poll::Ready(piece) = self.next_piece(cx) {
            return Poll::Ready(piece);
        }
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.connection = None;
        }
        // The connection may just have put a piece there, and nothing else would wake the task for it.
        self.next_piece(cx)
    }

    fn next_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, DownloadError>>> {
        Pin::new(&mut self.body).poll_frame(cx).map(|frame| match frame? {
            // Trailers become an empty piece.
            Ok(frame) => Some(Ok(frame.into_data().unwrap_or_default())),
            Err(error) => Some(Err(judged(&error))),
        })
    }
}

/// Connects, asks, and waits for the head of the answer.
async fn ask(
    request: DownloadRequest,
    device: u32,
    dialer: Rc<Dialer>,
    clock: Clock,
    stages: Stages,
) -> Result<Answered, DownloadEvent> {
    let asked = asking(&request).ok_or(DownloadEvent::Broken(DownloadError::Malformed))?;
    let target = Target {
        host: request.target.host,
        port: request.target.port,
        tls: request.target.tls,
    };
    tokio::time::sleep_until(clock.instant(stages.first_packet)).await;
    let tls = target.tls;
    let opened = dialer.open(&target, device).await;
    let stream = opened.map_err(|error| DownloadEvent::Broken(error.into()))?;
    tokio::time::sleep_until(clock.instant(stages.request)).await;
    let mut builder = http1::Builder::new();
    builder.title_case_headers(true).max_buf_size(READ_MAX);
    let (mut sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unanswered(&error, tls))?;
    let mut connection = Some(connection);
    let response = {
        let mut answer = std::pin::pin!(sender.send_request(asked));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                return Poll::Ready(answered);
            }
            if let Some(driven) = &mut connection
                && Pin::new(driven).poll(cx).is_ready()
            {
                connection = None;
            }
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(|error| unanswered(&error, tls))?
    };
    Ok(Answered {
        connection,
        _sender: sender,
        head: head_of(&response),
        body: response.into_body(),
    })
}

/// The request as protocol 5.2 has it; `None` where path or secret cannot stand in one.
fn asking(request: &DownloadRequest) -> Option<Request<Empty<Bytes>>> {
    let uri: Uri = request.target.path.parse().ok()?;
    let mut secret = HeaderValue::from_bytes(&[b"OtaSecret ", request.secret.as_bytes()].concat()).ok()?;
    secret.set_sensitive(true);
    let mut asked = Request::get(uri)
        .header(HOST, &request.target.host)
        .header(AUTHORIZATION, secret);
    if request.offset > 0 {
        asked = asked.header(RANGE, format!("bytes={}-", request.offset));
    }
    asked.body(Empty::new()).ok()
}

fn head_of(response: &Response<Incoming>) -> ImageHead {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    ImageHead {
        status: response.status().as_u16(),
        content_length: header(CONTENT_LENGTH).and_then(|length| length.trim().parse().ok()),
        content_range: header(CONTENT_RANGE).and_then(ContentRange::parse),
    }
}

/// How a request ended that got no answer. Over TLS the end of the stream is read as such only where the server said goodbye in good
/// order (protocol 5.3); without TLS, or without a goodbye, it is a reset.
fn unanswered(error: &hyper::Error, tls: bool) -> DownloadEvent {
    if tls && error.is_incomplete_message() {
        return DownloadEvent::Closed;
    }
    DownloadEvent::Broken(judged(error))
}

/// The classes of protocol 5.4.
fn judged(error: &hyper::Error) -> DownloadError {
    if error.is_parse() {
        return DownloadError::Malformed;
    }
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(error) = found.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::TimedOut => DownloadError::TimedOut,
                io::ErrorKind::ConnectionAborted => DownloadError::Aborted,
                io::ErrorKind::InvalidData if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                    DownloadError::Tls
                }
                _ => DownloadError::Reset,
            };
        }
        cause = found.source();
    }
    DownloadError::Reset
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;

    use crate::model::Secret;
    use crate::wire::ImageUrl;

    /// A server for one request: it sends `answer` and closes. Gives its port, and what it was asked.
    fn serve(answer: Vec<u8>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let asked = lines
                .by_ref()
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            stream.write_all(&answer).unwrap();
            asked
        });
        (port, served)
    }

    fn request(port: u16, offset: u64) -> DownloadRequest {
        DownloadRequest {
            target: ImageUrl {
                tls: false,
                host: "127.0.0.1".to_owned(),
                port,
                path: "/a/7/0".to_owned(),
            },
            secret: Secret::new("q7Zk2mXw9RtB4nVc8LdY1pHs").unwrap(),
            offset,
        }
    }

    /// Takes events until the last one; every piece of the body gives credit for as many bytes again.
    fn events(port: u16, offset: u64, credit: u32) -> Vec<DownloadEvent> {
        events_of(request(port, offset), Dialer::new(None, 1, 1, Arc::default()), credit)
    }

    fn events_of(request: DownloadRequest, dialer: Dialer, credit: u32) -> Vec<DownloadEvent> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clock = Clock::starting_in(Duration::ZERO);
        let dialer = Rc::new(dialer);
        let stages = Stages {
            first_packet: SimTime::ZERO,
            request: SimTime::ZERO,
            one_way: Duration::ZERO,
        };
        runtime.block_on(async {
            let mut download = Download::start(request, 0, dialer, clock, stages);
            download.read(credit);
            let mut events = Vec::new();
            loop {
                let next = std::future::poll_fn(|cx| download.poll(cx, clock.now(), |_, now| now));
                let event = tokio::time::timeout(Duration::from_secs(10), next)
                    .await
                    .expect("an event comes");
                let last = matches!(
                    event,
                    DownloadEvent::Finished | DownloadEvent::Closed | DownloadEvent::Broken(_)
                );
                if let DownloadEvent::Body(bytes) = &event {
                    assert!(
                        bytes.len() <= credit as usize,
                        "{} bytes for a credit of {credit}",
                        bytes.len()
                    );
                    download.read(bytes.len() as u32);
                }
                events.push(event);
                if last {
                    return events;
                }
            }
        })
    }

    fn body(events: &[DownloadEvent]) -> Vec<u8> {
        let pieces = events.iter().filter_map(|event| match event {
            DownloadEvent::Body(bytes) => Some(bytes.to_vec()),
            DownloadEvent::Answered(_) | DownloadEvent::Finished | DownloadEvent::Closed | DownloadEvent::Broken(_) => None,
        });
        pieces.flatten().collect()
    }

    #[test]
    fn a_request_has_the_headers_of_the_protocol_and_no_others() {
        let answer = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nContent-Range: bytes 2-4/5\r\n\r\ncde";
        let (port, served) = serve(answer.to_vec());
        let events = events(port, 2, 512);
        let head = ImageHead {
            status: 206,
            content_length: Some(3),
            content_range: Some(ContentRange {
                first: 2,
                last: 4,
                total: 5,
            }),
        };
        let whole = Bytes::from_static(b"cde");
        assert_eq!(
            events,
            [
                DownloadEvent::Answered(head),
                DownloadEvent::Body(whole),
                DownloadEvent::Finished
            ]
        );
        let asked = [
            "GET /a/7/0 HTTP/1.1",
            "Host: 127.0.0.1",
            "Authorization: OtaSecret q7Zk2mXw9RtB4nVc8LdY1pHs",
            "Range: bytes=2-",
        ];
        assert_eq!(served.join().unwrap(), asked);
    }

    #[test]
    fn bytes_come_within_the_read_credit() {
        let image: Vec<u8> = (0..70_000u32).map(|n| n as u8).collect();
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n".to_vec();
        answer.extend_from_slice(&image);
        let (port, _served) = serve(answer);
        let events = events(port, 0, 512);
        assert_eq!(body(&events), image);
        assert_eq!(events.last(), Some(&DownloadEvent::Finished));
    }

    #[test]
    fn a_connection_cut_in_the_middle_is_a_reset_after_its_bytes() {
        let (port, _served) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd".to_vec());
        let events = events(port, 0, 512);
        assert_eq!(body(&events), b"abcd");
        assert_eq!(events.last(), Some(&DownloadEvent::Broken(DownloadError::Reset)));
    }

    #[test]
    fn an_answer_that_never_begins_is_a_reset_and_nonsense_is_malformed() {
        let (port, _served) = serve(Vec::new());
        assert_eq!(events(port, 0, 512), [DownloadEvent::Broken(DownloadError::Reset)]);
        let (port, _served) = serve(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec());
        assert_eq!(events(port, 0, 512), [DownloadEvent::Broken(DownloadError::Malformed)]);
    }

    /// A TLS server for one request, which ends the stream with a goodbye or without one; gives its port and what trusts it.
    fn serve_tls(goodbye: bool) -> (u16, rustls::ClientConfig) {
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let own = own.self_signed(&key).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], key)
            .unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(own.der().clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut session = rustls::ServerConnection::new(Arc::new(server)).unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                session.complete_io(&mut stream).unwrap();
                let mut piece = [0; 1024];
                if let Ok(length) = std::io::Read::read(&mut session.reader(), &mut piece) {
                    asked.extend_from_slice(&piece[..length]);
                }
            }
            if goodbye {
                session.send_close_notify();
                session.write_tls(&mut stream).unwrap();
            }
            // Without unread bytes the connection ends in good order below TLS.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        (port, client)
    }

    #[test]
    fn a_goodbye_of_tls_before_any_answer_is_told_from_a_stream_that_breaks_off() {
        for (goodbye, last) in [
            (true, DownloadEvent::Closed),
            (false, DownloadEvent::Broken(DownloadError::Reset)),
        ] {
            let (port, client) = serve_tls(goodbye);
            let mut asked = request(port, 0);
            asked.target.tls = true;
            let dialer = Dialer::new(Some(Arc::new(client)), 1, 1, Arc::default());
            assert_eq!(events_of(asked, dialer, 512), [last], "goodbye: {goodbye}");
        }
    }

    #[test]
    fn an_empty_body_is_finished_without_credit() {
        let (port, _served) = serve(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
        let events = events(port, 0, 0);
        assert_eq!(events.len(), 2);
        assert_eq!(events.last(), Some(&DownloadEvent::Finished));
    }
}
