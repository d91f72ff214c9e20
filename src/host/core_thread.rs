//! The one server core, on a thread of its own.
//!
//! Messages come in through one bounded channel, so that a busy core slows its connections down rather than fills memory. Whatever
//! waits is one batch: inputs first, then one commit of their records, then everything that stands behind the records. Looks at the
//! core's state are answered after the commit too, for they may show what the batch changed. Of everything that is said to a
//! connection the core's thread waits for nothing, so connections may wait for it without a deadlock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::events::EventLog;
use super::judge::{Judge, SeenRequest};
use super::listen::say;
use super::outbox::Outbox;
use super::pressure::Pressure;
use super::store::{Batch, KeyedRequest, Store, StoreError, StoredAnswer};
use super::times::Times;
use crate::model::{AdminAction, DeviceId, Prompt, ServerEvent};
use crate::server::{
    AdminError, ConnectionId, Record, RequestId, Server, ServerInput, ServerOutput, ServerOutputs, Stamp, prompt_of,
};
use crate::time::SimTime;
use crate::wire::Packet;

/// Most messages of one batch, hence of one commit.
const BATCH_MAX: usize = 512;
/// Pause before a commit that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Messages that may wait for the core.
const INBOX_MAX: usize = 4096;

/// What the host's other threads tell the core's.
pub(crate) enum Message {
    /// A connection is up and can be written to.
    Opened {
        /// Its name.
        id: ConnectionId,
        /// Where packets for it go.
        outbox: Arc<Outbox>,
    },
    /// A packet arrived.
    Received {
        /// On which connection.
        from: ConnectionId,
        /// What.
        packet: Packet,
    },
    /// A connection is gone.
    Closed(ConnectionId),
    /// An image request was answered, which the judge wants to know.
    Requested(Box<SeenRequest>),
    /// Somebody asks for a change.
    Admin {
        /// Which.
        action: Box<AdminAction>,
        /// Refuses the change if the state is no longer what its asker saw.
        guard: Option<Guard>,
        /// The key under which it is asked for, which is stored with the change.
        under: Option<KeyedRequest>,
        /// Where the answer goes.
        answer: AnswerTo,
    },
    /// A request with a key was answered.
    Answered {
        /// What is to be remembered.
        answer: Box<StoredAnswer>,
        /// Told when it is.
        remembered: oneshot::Sender<()>,
    },
    /// Somebody wants to look.
    Look(Look),
}

/// A message on its way to the core.
pub(crate) struct Told {
    at: SimTime,
    pub(crate) message: Message,
}

/// Where the answer to a change goes.
type AnswerTo = oneshot::Sender<Result<(), AdminError>>;

/// True if a change may be made; judged right before it.
pub(crate) type Guard = Box<dyn FnOnce(&Server) -> bool + Send>;

/// A look at the core's state.
type Look = Box<dyn FnOnce(&Server) + Send>;

/// The core's thread has ended: the process is about to.
#[derive(Debug)]
pub(crate) struct CoreGone;

/// A way to the core's thread.
#[derive(Clone)]
pub(crate) struct CoreHandle {
    inbox: mpsc::Sender<Told>,
    clock: Clock,
    times: Times,
    judged: bool,
}

impl CoreHandle {
    /// A way to a test's own ears.
    #[cfg(test)]
    pub(crate) fn to_nobody() -> (CoreHandle, mpsc::Receiver<Told>) {
        let (inbox, messages) = mpsc::channel(INBOX_MAX);
        let core = CoreHandle {
            inbox,
            clock: Clock::starting(),
            times: Times::default(),
            judged: false,
        };
        (core, messages)
    }

    /// True if a judge wants to know of image requests.
    pub(crate) fn is_judged(&self) -> bool {
        self.judged
    }

    /// How long the core has taken for what it was told.
    pub(crate) fn times(&self) -> Times {
        self.times.clone()
    }

    /// Hands a message over, when there is room; the wait for that is the core's time too.
    pub(crate) async fn tell(&self, message: Message) -> Result<(), CoreGone> {
        let at = self.clock.now();
        // Room first: what sends as one step keeps the message twice, in each connection that there is.
        let room = self.inbox.reserve().await.map_err(|_| CoreGone)?;
        room.send(Told { at, message });
        Ok(())
    }

    /// Asks for a change and waits for the answer.
    pub(crate) async fn change(
        &self,
        action: AdminAction,
        guard: Option<Guard>,
        under: Option<KeyedRequest>,
    ) -> Result<Result<(), AdminError>, CoreGone> {
        let (answer, answered) = oneshot::channel();
        self.tell(Message::Admin {
            action: Box::new(action),
            guard,
            under,
            answer,
        })
        .await?;
        answered.await.map_err(|_| CoreGone)
    }

    /// Has an answer remembered for as long as the store lasts.
    pub(crate) async fn remember(&self, answer: StoredAnswer) -> Result<(), CoreGone> {
        let (remembered, done) = oneshot::channel();
        let answer = Box::new(answer);
        self.tell(Message::Answered { answer, remembered }).await?;
        done.await.map_err(|_| CoreGone)
    }

    /// Looks at the core's state.
    pub(crate) async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Server) -> T + Send + 'static) -> Result<T, CoreGone> {
        let (answer, answered) = oneshot::channel();
        let look = move |server: &Server| drop(answer.send(look(server)));
        self.tell(Message::Look(Box::new(look))).await?;
        answered.await.map_err(|_| CoreGone)
    }
}

/// The core with everything it speaks to.
pub(crate) struct CoreThread {
    server: Server,
    clock: Clock,
    store: Store,
    events: Arc<EventLog>,
    inbox: mpsc::Receiver<Told>,
    outboxes: BTreeMap<ConnectionId, Arc<Outbox>>,
    questions: BTreeMap<RequestId, AnswerTo>,
    asked: u64,
    pressure: Pressure,
    outputs: ServerOutputs,
    looks: Vec<Look>,
    /// Keys whose requests changed something in this batch.
    keys: Vec<KeyedRequest>,
    /// Answers to be remembered with this batch.
    answers: Vec<StoredAnswer>,
    /// Who waits for that.
    remembering: Vec<oneshot::Sender<()>>,
    /// What is being done, and since when it waits for that.
    under_way: Vec<(SimTime, Prompt)>,
    times: Times,
    /// Watches, if it was asked for.
    judge: Option<Judge>,
    /// Connections cut off because their client reads too slowly; the core hears of it in a round of their own.
    cut: Vec<ConnectionId>,
}

impl CoreThread {
    /// The core's thread, yet to run, and the way to it.
    pub(crate) fn new(
        server: Server,
        clock: Clock,
        store: Store,
        events: Arc<EventLog>,
        judge: Option<Judge>,
        pressure: Pressure,
    ) -> (CoreThread, CoreHandle) {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        if let Some(judge) = &judge {
            judge.begin(&server);
        }
        let judged = judge.is_some();
        let core = CoreThread {
            server,
            clock,
            store,
            events,
            inbox,
            outboxes: BTreeMap::new(),
            questions: BTreeMap::new(),
            asked: 0,
            pressure,
            outputs: Vec::new(),
            looks: Vec::new(),
            keys: Vec::new(),
            answers: Vec::new(),
            remembering: Vec::new(),
            under_way: Vec::new(),
            times: Times::default(),
            judge,
            cut: Vec::new(),
        };
        let handle = CoreHandle {
            inbox: sender,
            clock,
            times: core.times.clone(),
            judged,
        };
        (core, handle)
    }

    /// Serves until nobody can ask any more.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written and that will not pass. Nothing was told that is not stored.
    pub(crate) async fn run(mut self) -> Result<(), StoreError> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            // Where messages take time each is a batch of its own, so that none waits for a later one.
            let most = if self.pressure.is_free() { BATCH_MAX } else { 1 };
            tokio::select! {
                biased;
                () = self.pressure.outage() => self.put_everybody_out(),
                taken = self.inbox.recv_many(&mut batch, most) => if taken == 0 { return Ok(()) },
                () = self.clock.sleep_until(self.server.next_timeout()) => {}
            }
            if most == 1 && matches!(batch.first(), Some(told) if matches!(told.message, Message::Received { .. })) {
                self.pressure.serve(self.clock).await;
            }
            self.play(&mut batch).await?;
        }
    }

    async fn play(&mut self, batch: &mut Vec<Told>) -> Result<(), StoreError> {
        let now = self.clock.now();
        for told in batch.drain(..) {
            self.take_in(told, now);
        }
        if self.server.next_timeout().is_some_and(|due| due <= now) {
            let before = self.outputs.len();
            self.server.handle_timeout(now, &mut self.outputs);
            if let Some(judge) = &self.judge {
                judge.after(now, &self.server, &self.outputs[before..]);
            }
        }
        self.commit_and_carry_out(now).await?;
        while !self.cut.is_empty() {
            for id in std::mem::take(&mut self.cut) {
                self.hand_in(ServerInput::Closed(id), now);
            }
            self.commit_and_carry_out(now).await?;
        }
        for look in self.looks.drain(..) {
            look(&self.server);
        }
        self.times.done(self.clock.now(), self.under_way.drain(..));
        Ok(())
    }

    /// Ends every connection; the core hears of it with the next batch.
    fn put_everybody_out(&mut self) {
        for (id, outbox) in std::mem::take(&mut self.outboxes) {
            outbox.close();
            self.cut.push(id);
        }
    }

    /// What a connection says after the core closed it is not heard.
    fn take_in(&mut self, told: Told, now: SimTime) {
        let input = match told.message {
            Message::Opened { outbox, .. } if self.pressure.lets_nobody_in() => return outbox.close(),
            Message::Opened { id, outbox } => {
                self.outboxes.insert(id, outbox);
                ServerInput::Opened(id)
            }
            Message::Received { from, packet } if self.outboxes.contains_key(&from) => ServerInput::Received { from, packet },
            Message::Closed(id) if self.outboxes.remove(&id).is_some() => ServerInput::Closed(id),
            Message::Received { .. } | Message::Closed(_) => return,
            Message::Requested(request) => {
                if let Some(judge) = &self.judge {
                    judge.fetched(now, &request, &self.server);
                }
                return;
            }
            Message::Admin {
                action,
                guard,
                under,
                answer,
            } => {
                if guard.is_some_and(|guard| !guard(&self.server)) {
                    // Whoever asked may have gone.
                    let _unheard = answer.send(Err(AdminError::Changed));
                    return;
                }
                self.asked += 1;
                let request = RequestId(self.asked);
                self.questions.insert(request, answer);
                self.under_way.push((told.at, Prompt::Management));
                let action = *action;
                let before = self.outputs.len();
                self.hand_in(ServerInput::Admin { request, action }, now);
                let changed = |output: &ServerOutput| matches!(output, ServerOutput::Record { .. });
                if self.outputs[before..].iter().any(changed) {
                    self.keys.extend(under);
                }
                return;
            }
            Message::Answered { answer, remembered } => {
                self.answers.push(*answer);
                self.remembering.push(remembered);
                return;
            }
            Message::Look(look) => {
                self.under_way.push((told.at, Prompt::Management));
                self.looks.push(look);
                return;
            }
        };
        self.under_way.push((told.at, prompt_of(&input)));
        self.hand_in(input, now);
    }

    /// Gives the core an input, before the judge's eyes.
    fn hand_in(&mut self, input: ServerInput, now: SimTime) {
        let Some(judge) = self.judge.clone() else {
            return self.server.handle_input(input, now, &mut self.outputs);
        };
        let shown = self.heard(&input);
        judge.before(now, &input);
        let before = self.outputs.len();
        self.server.handle_input(input, now, &mut self.outputs);
        if let Some((from, device, packet)) = shown {
            // Whose a CONNECT is shows when it has been accepted.
            if let Some(device) = device.or_else(|| self.server.device_on(from)) {
                judge.sent(now, &device, &packet);
            }
        }
        judge.after(now, &self.server, &self.outputs[before..]);
    }

    /// What the judge is shown of an input: the packet, and whose it is, if that is known already.
    fn heard(&self, input: &ServerInput) -> Option<(ConnectionId, Option<DeviceId>, Packet)> {
        match input {
            ServerInput::Received { from, packet } => Some((*from, self.server.device_on(*from), packet.clone())),
            ServerInput::Opened(_) | ServerInput::Closed(_) | ServerInput::Admin { .. } => None,
        }
    }

    async fn commit_and_carry_out(&mut self, now: SimTime) -> Result<(), StoreError> {
        let mut records: Vec<(Stamp, Record)> = Vec::new();
        let mut seen: Vec<ServerEvent> = Vec::new();
        let mut revealing = Vec::with_capacity(self.outputs.len());
        for output in std::mem::take(&mut self.outputs) {
            match output {
                ServerOutput::Record { stamp, record } => records.push((stamp, record)),
                ServerOutput::Observed(event) => seen.push(event),
                ServerOutput::Transmit { .. } | ServerOutput::Close(_) | ServerOutput::Answer { .. } => revealing.push(output),
            }
        }
        seen.extend(self.judge.iter().flat_map(|judge| judge.speak(now)));
        self.commit(now, &records, &seen).await?;
        for remembered in self.remembering.drain(..) {
            // Whoever asked may have gone.
            let _unheard = remembered.send(());
        }
        for output in revealing {
            match output {
                ServerOutput::Transmit { to, packet } => self.transmit(to, packet),
                ServerOutput::Close(id) => {
                    if let Some(outbox) = self.outboxes.remove(&id) {
                        outbox.close();
                    }
                }
                ServerOutput::Answer { request, result } => {
                    if let Some(answer) = self.questions.remove(&request) {
                        // Whoever asked may have gone; the change stands all the same.
                        let _unheard = answer.send(result);
                    }
                }
                ServerOutput::Record { .. } | ServerOutput::Observed(_) => unreachable!("sorted out above"),
            }
        }
        if !seen.is_empty() {
            self.events.append(now, seen);
        }
        Ok(())
    }

    /// Makes a batch durable. While the disk is full or away everybody waits: nothing may be told that is not stored.
    async fn commit(&mut self, at: SimTime, records: &[(Stamp, Record)], events: &[ServerEvent]) -> Result<(), StoreError> {
        let first_event = self.events.newest() + 1;
        let (keys, answers) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.answers));
        let batch = Batch {
            at,
            records,
            first_event,
            events,
            keys: &keys,
            answers: &answers,
        };
        let mut waited = false;
        loop {
            let full = self.pressure.disk_full() && !batch.is_empty();
            let committed = if full {
                Err(StoreError::Full)
            } else {
                self.store.commit(&batch)
            };
            match committed {
                Ok(()) => break,
                Err(error) if error.may_pass() => {
                    if !std::mem::replace(&mut waited, true) {
                        say(&format!("store: {error}; everybody waits until it can be written"));
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        if waited {
            say("store: it can be written again");
        }
        Ok(())
    }

    fn transmit(&mut self, to: ConnectionId, packet: Packet) {
        if let Some(outbox) = self.outboxes.get(&to)
            && !outbox.push(packet)
        {
            self.outboxes.remove(&to);
            self.cut.push(to);
        }
    }
}
