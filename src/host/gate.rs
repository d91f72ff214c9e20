//! The gate between the listeners and what serves them: the core's [`Admission`], shared by every shard.
//!
//! It is asked before a byte is read and before TLS, so that a connection that is refused costs an accept and a close.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::clock::Clock;
use super::{listen, pressure};
use crate::server::{Admission, Door, Limits, Refusal};
use crate::wire::ImageAnswer;
use crate::wire::api::ChildCondition;

/// Descriptors that are kept for the management API, its event streams and the server's own files.
const DESCRIPTORS_KEPT: u64 = 256;
/// How often it is looked whether everything that was under way has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long the last bytes of answers may take, once the server is ending.
const LAST_BYTES_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of an image handed over at once. A body lives until its last piece is taken, and with it the download is counted.
const PIECE_BYTES: usize = 256 * 1024;
/// The last piece, which is taken when nearly all before it is written.
const LAST_PIECE_BYTES: usize = 16 * 1024;

/// The gate; clones are the same one.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Shared>);

struct Shared {
    admission: Mutex<Admission>,
    limits: Limits,
    clock: Clock,
    /// A parent may want nobody let in.
    condition: watch::Receiver<ChildCondition>,
    /// Connections of the management API.
    managers: Arc<Semaphore>,
    /// The person at the terminal knows that descriptors have run out.
    told_full: AtomicBool,
    /// Nobody is let in any more: the server is ending.
    closed: AtomicBool,
    /// Management requests that are being answered.
    requests: AtomicU64,
}

/// A connection that was let in; dropped when it is gone.
pub(crate) struct Pass {
    gate: Gate,
    door: Door,
}

/// A management request under way; dropped when it is answered.
pub(crate) struct Request(Gate);

/// A download under way; dropped when it is over.
struct Download(Gate);

/// The body of an image answer.
pub(crate) struct ImageBody {
    rest: Bytes,
    _download: Option<Download>,
}

impl Gate {
    /// A gate with these limits in a process that may open `descriptors`.
    pub(crate) fn new(limits: Limits, descriptors: u64, clock: Clock, condition: watch::Receiver<ChildCondition>) -> Gate {
        let kept = DESCRIPTORS_KEPT.min(descriptors / 2);
        let managers = usize::try_from(limits.management).unwrap_or(usize::MAX);
        Gate(Arc::new(Shared {
            admission: Mutex::new(Admission::new(limits.clone(), descriptors - kept)),
            limits,
            clock,
            condition,
            managers: Arc::new(Semaphore::new(managers)),
            told_full: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            requests: AtomicU64::new(0),
        }))
    }

    /// What is refused beyond.
    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Lets a connection to the management API in, or not.
    pub(crate) fn enter_management(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.0.managers).try_acquire_owned().ok();
        if permit.is_none() {
            self.put_out(Refusal::Management);
        }
        permit
    }

    /// Counts a management request until what is given here is dropped.
    pub(crate) fn begin_request(&self) -> Request {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        Request(self.clone())
    }

    /// Lets nobody in from here on.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    /// Waits until no download and no management request is under way, and then a moment for what was answered to be read.
    pub(crate) async fn idle(&self) {
        while self.look(Admission::downloads) > 0 || self.0.requests.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let read = async {
            while self.look(|admission| admission.inside(Door::Images)) > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _keeps_its_connection = tokio::time::timeout(LAST_BYTES_TIMEOUT, read).await;
    }

    /// Lets a connection in, or not.
    pub(crate) fn enter(&self, door: Door) -> Option<Pass> {
        if self.0.condition.borrow().outage || self.0.closed.load(Ordering::Relaxed) {
            return None;
        }
        let now = self.0.clock.now();
        let entered = self.lock().enter(door, now);
        if entered == Err(Refusal::Descriptors) && !self.0.told_full.swap(true, Ordering::Relaxed) {
            listen::say("the limit of open files is reached, new connections are refused: raise it with `ulimit -n`");
        }
        entered.is_ok().then(|| Pass {
            gate: self.clone(),
            door,
        })
    }

    /// Waits until every connection is to end, because a parent lets nobody in from here on.
    pub(crate) async fn outage(&self) {
        let mut condition = self.0.condition.clone();
        pressure::outage(&mut condition).await;
    }

    /// Counts a connection that is put out.
    pub(crate) fn put_out(&self, why: Refusal) {
        self.lock().put_out(why);
    }

    /// Passes an image answer on, or has it answered 503; gives the answer and its body.
    pub(crate) fn answer(&self, answer: ImageAnswer) -> (ImageAnswer, ImageBody) {
        let now = self.0.clock.now();
        let (mut answer, begins) = self.lock().answer(answer, now);
        let body = ImageBody {
            rest: std::mem::take(&mut answer.body),
            _download: begins.then(|| Download(self.clone())),
        };
        (answer, body)
    }

    /// Looks at the counts.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Admission) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Admission> {
        self.0.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// The gate that it was given at.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What is refused beyond.
    pub(crate) fn limits(&self) -> &Limits {
        self.gate.limits()
    }

    /// Counts why this connection is put out.
    pub(crate) fn put_out(&self, why: Refusal) {
        self.gate.put_out(why);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().leave(self.door);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.0.lock().download_over();
    }
}

impl ImageBody {
    /// These bytes, counted nowhere.
    pub(crate) fn whole(bytes: Bytes) -> ImageBody {
        ImageBody {
            rest: bytes,
            _download: None,
        }
    }
}

impl Body for ImageBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let rest = self.rest.len();
        let piece = match rest {
            0 => return Poll::Ready(None),
            rest if rest <= LAST_PIECE_BYTES => rest,
            rest => PIECE_BYTES.min(rest - LAST_PIECE_BYTES),
        };
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn gate(written: &str) -> Gate {
        let mut limits = Limits::open();
        limits.set(written).unwrap();
        Gate::new(limits, 1_000, Clock::starting(), watch::channel(ChildCondition::default()).1)
    }

    fn image(bytes: usize) -> ImageAnswer {
        ImageAnswer {
            status: 200,
            content_range: None,
            unsatisfied_total: None,
            body: (0..bytes).map(|at| at as u8).collect(),
        }
    }

    #[test]
    fn a_connection_is_counted_until_it_is_dropped() {
        let gate = gate("connections=1");
        let inside = gate.enter(Door::Mqtt);
        assert!(inside.is_some() && gate.enter(Door::Mqtt).is_none());
        drop(inside);
        assert!(gate.enter(Door::Mqtt).is_some());
    }

    #[tokio::test]
    async fn a_body_is_whole_and_counted_until_its_last_piece_is_taken() {
        let gate = gate("downloads=1");
        let whole = image(3 * PIECE_BYTES + 5);
        let (_, mut body) = gate.answer(whole.clone());
        let mut taken = Vec::new();
        while body.size_hint().exact() != Some(LAST_PIECE_BYTES as u64) {
            taken.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
            assert_eq!(gate.answer(image(1)).0.status, 503);
        }
        taken.extend_from_slice(&body.collect().await.unwrap().to_bytes());
        assert!(taken == whole.body, "{} bytes", taken.len());
        assert_eq!(gate.answer(image(1)).0.status, 200);
    }
}
