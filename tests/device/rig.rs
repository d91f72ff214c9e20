//! One device, a server that does as it is told, and a clock.
//!
//! The rig holds what every test relies on: each transition is legal, flash is never misused, a report is never ahead of the record.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use squall::device::{Device, DeviceInput, DeviceOutput, LinkLoss, Outputs};
use squall::model::{
    AttemptId, AttemptResult, Cause, DeviceIndex, FailureReason, Manifest, Observation, Phase, RecordKey, Session, Transition,
};
use squall::time::SimTime;
use squall::verdict::{Finding, Referee};
use squall::wire::ota::{CloudMessage, Report, UpdateResults, decode_results, encode_cloud};
use squall::wire::{
    ConnectCode, ContentRange, DownloadError, DownloadEvent, DownloadRequest, ImageHead, Packet, Publish, QoS, topic,
};

use super::setup::{Setup, id};

/// Time for anything between device and server, one way.
pub const HOP: Duration = Duration::from_millis(10);

/// What the server does.
pub struct Cloud {
    pub images: BTreeMap<String, Bytes>,
    /// Sent at every OTA SUBSCRIBE until it is answered in full.
    pub offer: Option<(AttemptId, Manifest)>,
    pub reports: Vec<UpdateResults>,
    pub reachable: bool,
    pub greets: Option<ConnectCode>,
    pub grants: bool,
    pub pongs: bool,
    /// What happens to the next image requests; then they are served.
    pub replies: VecDeque<Reply>,
    pub requests: Vec<u64>,
}

impl Default for Cloud {
    fn default() -> Self {
        Cloud {
            images: BTreeMap::new(),
            offer: None,
            reports: Vec::new(),
            reachable: true,
            greets: Some(ConnectCode::Accepted),
            grants: true,
            pongs: true,
            replies: VecDeque::new(),
            requests: Vec::new(),
        }
    }
}

/// What happens to an image request.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// A status and no body.
    Status(u16),
    /// Served, but broken after so many bytes.
    BreakAfter(usize, DownloadError),
    /// Broken before any answer.
    Break(DownloadError),
    /// Answered with this head.
    Head(ImageHead),
    /// Served, but from this byte on, whatever was asked for.
    From(usize),
    /// Closed without an answer.
    Close,
    /// Never answered.
    Stall,
}

struct Serving {
    body: Bytes,
    breaks: Option<(usize, DownloadError)>,
    open: bool,
}

impl Cloud {
    /// True if the offer has been answered in full.
    pub fn is_answered(&self) -> bool {
        self.offer.as_ref().is_none_or(|(attempt, manifest)| {
            self.reports.iter().any(|report| {
                report.attempt == *attempt
                    && match &report.report {
                        Report::Error(_) => true,
                        Report::Results {
                            succeeded,
                            failed,
                            canceled,
                        } => succeeded.len() + failed.len() + canceled.len() == manifest.artifacts.len(),
                    }
            })
        })
    }
}

pub struct Rig {
    pub device: Device,
    pub now: SimTime,
    pub seen: Vec<(SimTime, DeviceOutput)>,
    pub cloud: Cloud,
    inputs: BTreeMap<(SimTime, u64), DeviceInput>,
    inputs_made: u64,
    serving: Option<Serving>,
    /// Results by position as the attempt record has them, or the error.
    stored: Option<(u64, Stored)>,
    /// A record was lost: that adds transitions of its own (contract, section 3).
    damaged: bool,
    referee: Referee,
    /// No rule may be broken, which is judged when the rig is dropped.
    pub lawful: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stored {
    Results(Vec<u8>),
    Error(u64),
}

impl Rig {
    /// Holds the device to no rule of these numbers: the cloud does what it must not, and they cannot hold then.
    pub fn lift(&mut self, numbers: &[u8]) {
        self.referee.lift(DEVICE, numbers);
    }

    pub fn new(device: Device, cloud: Cloud, referee: Referee, lawful: bool) -> Rig {
        Rig {
            referee,
            lawful,
            device,
            now: SimTime::ZERO,
            seen: Vec::new(),
            cloud,
            inputs: BTreeMap::new(),
            inputs_made: 0,
            serving: None,
            stored: None,
            damaged: false,
        }
    }

    pub fn plain() -> Rig {
        Setup::default().build()
    }

    /// A rig whose device is online and has nothing to do.
    pub fn online(setup: Setup) -> Rig {
        let mut rig = setup.build();
        rig.input(DeviceInput::PowerOn);
        rig.run_for(Duration::from_secs(2));
        assert_eq!(rig.device.session(), Session::Online);
        rig
    }

    /// Hands the device an input at once.
    pub fn input(&mut self, input: DeviceInput) {
        self.hand_over(input);
    }

    /// The rules that were broken so far, if the run ended here. Those that need a server's events are left out.
    pub fn findings(&mut self) -> Vec<Finding> {
        let (mut findings, _) = self.referee.finish(self.now, true);
        findings.retain(|finding| !["no-version-nobody-assigned", "state-equals-truth"].contains(&finding.rule));
        findings
    }

    /// How often each rule was checked so far.
    pub fn checks(&self) -> Vec<(&'static str, u64)> {
        self.referee.checks()
    }

    fn hand_over(&mut self, input: DeviceInput) {
        match &input {
            DeviceInput::Received(packet) => self.referee.delivered(self.now, DEVICE, packet),
            DeviceInput::Download(DownloadEvent::Answered(head)) => self.referee.headed(self.now, DEVICE, head),
            _ => {}
        }
        let mut out = Outputs::new();
        self.device.handle_input(input, self.now, &mut out);
        self.carry_out(out);
    }

    /// The server offers an attempt: as soon as the device is there, and at every SUBSCRIBE.
    pub fn offer(&mut self, attempt: u64, manifest: Manifest) {
        self.run_until(Duration::from_secs(60), |rig| rig.device.session() == Session::Online);
        self.offer_now(attempt, manifest);
    }

    /// The server offers an attempt at once, to whoever is there.
    pub fn offer_now(&mut self, attempt: u64, manifest: Manifest) {
        self.cloud.offer = Some((id(attempt), manifest.clone()));
        self.send(CloudMessage::UpdateArtifacts {
            attempt: id(attempt),
            manifest,
        });
    }

    pub fn cancel(&mut self, attempt: u64) {
        self.send(CloudMessage::CancelUpdate { attempt: id(attempt) });
    }

    pub fn ask_for_report(&mut self, attempt: u64) {
        self.send(CloudMessage::ReportResults { attempt: id(attempt) });
    }

    fn send(&mut self, message: CloudMessage) {
        self.deliver(encode_cloud(&message));
    }

    /// Hands the device a payload on its OTA topic, if it is subscribed.
    pub fn deliver(&mut self, payload: Bytes) {
        if self.device.session() == Session::Online {
            self.input(ota_publish(payload));
        }
    }

    /// Cuts power, and forgets what was on its way.
    pub fn cut_power(&mut self) {
        self.input(DeviceInput::PowerCut { after_flash_ops: 0 });
    }

    /// Does the next thing that is due by `end`; false if there is none.
    pub fn step(&mut self, end: SimTime) -> bool {
        let input = self.inputs.keys().next().copied();
        let timer = self.device.next_timeout().map(|(due, _)| due);
        let next = [input.map(|(at, _)| at), timer].into_iter().flatten().min();
        let Some(at) = next.filter(|&at| at <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(at);
        match input {
            Some(key) if key.0 == at => {
                let input = self.inputs.remove(&key).unwrap();
                self.hand_over(input);
            }
            _ => {
                let mut out = Outputs::new();
                self.device.handle_timeout(self.now, &mut out);
                self.carry_out(out);
            }
        }
        true
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
    }

    /// Runs until `reached`, at most `limit`.
    pub fn run_until(&mut self, limit: Duration, reached: impl Fn(&Rig) -> bool) {
        let end = self.now + limit;
        while !reached(self) {
            assert!(
                self.step(end),
                "not reached within {limit:?}: {:?}, {}",
                self.device.phase(),
                self.device.explain(self.now)
            );
        }
    }

    pub fn run_to(&mut self, phase: Phase) {
        self.run_until(Duration::from_secs(300), |rig| rig.device.phase() == phase);
    }

    /// Runs until the offer has been answered in full.
    pub fn run_to_answer(&mut self) {
        self.run_until(Duration::from_secs(7200), |rig| rig.cloud.is_answered());
    }

    /// The last report of an attempt as (succeeded, failed, canceled).
    pub fn results(&self, attempt: u64) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
        let last = self.cloud.reports.iter().rfind(|report| report.attempt == id(attempt));
        match last.map(|report| report.report.clone()) {
            Some(Report::Results {
                succeeded,
                failed,
                canceled,
            }) => (succeeded.to_vec(), failed.to_vec(), canceled.to_vec()),
            other => panic!("no results of attempt {attempt}: {other:?}"),
        }
    }

    pub fn observations(&self) -> impl Iterator<Item = &Observation> {
        self.seen.iter().filter_map(|(_, output)| match output {
            DeviceOutput::Observed(observation) => Some(observation),
            _ => None,
        })
    }

    pub fn transitions(&self) -> Vec<(Phase, Phase, Cause)> {
        let transition = |observation: &Observation| match observation {
            Observation::Transition { transition, .. } => Some((transition.from, transition.to, transition.cause)),
            _ => None,
        };
        self.observations().filter_map(transition).collect()
    }

    /// The results in the attempt record as it was last written: 0 pending, 1 succeeded, 2 failed, 3 canceled.
    pub fn stored_results(&self) -> Option<&[u8]> {
        match self.stored.as_ref()? {
            (_, Stored::Results(results)) => Some(results),
            (_, Stored::Error(_)) => None,
        }
    }

    /// Phases entered, in order.
    pub fn path(&self) -> Vec<Phase> {
        self.transitions().into_iter().map(|(_, to, _)| to).collect()
    }

    pub fn ends(&self) -> Vec<(u64, AttemptResult, Option<FailureReason>)> {
        let end = |observation: &Observation| match observation {
            Observation::AttemptEnded { attempt, result, reason } => Some((attempt.number(), *result, *reason)),
            _ => None,
        };
        self.observations().filter_map(end).collect()
    }

    /// (attempt, index) of every handler called, in order.
    pub fn handlers(&self) -> Vec<(u64, usize)> {
        let called = |observation: &Observation| match observation {
            Observation::HandlerCalled { attempt, index, .. } => Some((attempt.number(), *index)),
            _ => None,
        };
        self.observations().filter_map(called).collect()
    }

    pub fn count(&self, wanted: impl Fn(&Observation) -> bool) -> usize {
        self.observations().filter(|observation| wanted(observation)).count()
    }

    pub fn transmitted(&self) -> Vec<&Packet> {
        let packet = |output: &'_ DeviceOutput| matches!(output, DeviceOutput::Transmit(_));
        self.seen
            .iter()
            .filter(|(_, output)| packet(output))
            .map(|(_, output)| match output {
                DeviceOutput::Transmit(packet) => packet,
                _ => unreachable!(),
            })
            .collect()
    }

    pub fn forget(&mut self) {
        self.seen.clear();
    }

    fn carry_out(&mut self, out: Outputs) {
        for output in out {
            match &output {
                DeviceOutput::Transmit(packet) => self.referee.sent(self.now, DEVICE, packet),
                DeviceOutput::StartDownload(request) => self.referee.requested(self.now, DEVICE, request),
                DeviceOutput::Observed(observation) => self.referee.observed(self.now, DEVICE, observation),
                _ => {}
            }
            if self.lawful {
                self.judge(&output);
            } else {
                self.keep_report(&output);
            }
            self.answer(&output);
            self.seen.push((self.now, output));
        }
    }

    fn keep_report(&mut self, output: &DeviceOutput) {
        if let DeviceOutput::Transmit(Packet::Publish(publish)) = output
            && publish.topic == topic::OTA_D2C
        {
            self.cloud.reports.extend(decode_results(&publish.payload));
        }
    }

    fn judge(&mut self, output: &DeviceOutput) {
        match output {
            DeviceOutput::Observed(Observation::RecordLost { .. }) => self.damaged = true,
            DeviceOutput::Observed(Observation::Transition { transition, .. }) if !self.damaged => assert_legal(*transition),
            DeviceOutput::Observed(Observation::FlashMisused { what }) => panic!("{what}"),
            DeviceOutput::Observed(Observation::Unbootable) => panic!("unbootable"),
            DeviceOutput::Observed(Observation::RecordWritten { record, content }) => {
                assert!(content.len() <= 192, "{record:?} is {} bytes long", content.len());
                if *record == RecordKey::Attempt {
                    self.stored = Some(read_attempt(content));
                }
            }
            DeviceOutput::Transmit(Packet::Publish(publish)) if publish.topic == topic::OTA_D2C => {
                let results = decode_results(&publish.payload).unwrap();
                self.assert_durable(&results);
                self.cloud.reports.push(results);
            }
            _ => {}
        }
    }

    fn assert_durable(&self, report: &UpdateResults) {
        let (attempt, stored) = self.stored.as_ref().expect("a record precedes a report");
        assert_eq!(report.attempt.number(), *attempt);
        match (&report.report, stored) {
            (Report::Error(error), Stored::Error(stored)) => assert_eq!(error, stored),
            (
                Report::Results {
                    succeeded,
                    failed,
                    canceled,
                },
                Stored::Results(stored),
            ) => {
                for (list, number) in [(succeeded, 1), (failed, 2), (canceled, 3)] {
                    assert!(
                        list.iter().all(|&index| stored[index as usize] == number),
                        "{report:?} is not what is stored: {stored:?}"
                    );
                }
            }
            (report, stored) => panic!("{report:?} reported, {stored:?} stored"),
        }
    }

    fn later(&mut self, input: DeviceInput) {
        self.inputs_made += 1;
        self.inputs.insert((self.now + HOP, self.inputs_made), input);
    }

    fn answer(&mut self, output: &DeviceOutput) {
        match output {
            DeviceOutput::Connect if self.cloud.reachable => self.later(DeviceInput::Connected),
            DeviceOutput::Connect => self.later(DeviceInput::Disconnected(LinkLoss::Refused)),
            DeviceOutput::Disconnect => self.drop_packets(),
            DeviceOutput::FallSilent => {
                self.inputs.clear();
                self.serving = None;
            }
            DeviceOutput::Transmit(packet) => self.answer_packet(packet),
            DeviceOutput::StartDownload(request) => self.serve(request),
            DeviceOutput::StopDownload => self.stop_serving(),
            DeviceOutput::Read { bytes } => self.send_body(*bytes),
            DeviceOutput::Board(_) | DeviceOutput::Observed(_) => {}
        }
    }

    fn drop_packets(&mut self) {
        self.inputs.retain(|_, input| matches!(input, DeviceInput::Download(_)));
    }

    fn stop_serving(&mut self) {
        self.serving = None;
        self.inputs.retain(|_, input| !matches!(input, DeviceInput::Download(_)));
    }

    fn answer_packet(&mut self, packet: &Packet) {
        match packet {
            Packet::Connect(_) => {
                if let Some(code) = self.cloud.greets {
                    self.later(DeviceInput::Received(Packet::ConnAck { code }));
                }
            }
            Packet::Subscribe { id, filters } => {
                let granted = filters.iter().map(|&(_, qos)| self.cloud.grants.then_some(qos)).collect();
                self.later(DeviceInput::Received(Packet::SubAck { id: *id, granted }));
                let offer = self
                    .cloud
                    .offer
                    .clone()
                    .filter(|_| filters[0].0 == topic::OTA_C2D && self.cloud.grants && !self.cloud.is_answered());
                if let Some((attempt, manifest)) = offer {
                    let message = CloudMessage::UpdateArtifacts { attempt, manifest };
                    self.later(ota_publish(encode_cloud(&message)));
                }
            }
            Packet::PingRequest if self.cloud.pongs => self.later(DeviceInput::Received(Packet::PingResponse)),
            _ => {}
        }
    }

    fn serve(&mut self, request: &DownloadRequest) {
        self.cloud.requests.push(request.offset);
        let image = self.cloud.images.get(&request.target.path).cloned();
        let reply = self.cloud.replies.pop_front();
        self.serving = None;
        let head = |status| ImageHead {
            status,
            content_length: Some(0),
            content_range: None,
        };
        match (reply, image) {
            (Some(Reply::Status(status)), _) => self.later(DeviceInput::Download(DownloadEvent::Answered(head(status)))),
            (Some(Reply::Head(head)), _) => self.later(DeviceInput::Download(DownloadEvent::Answered(head))),
            (Some(Reply::Break(error)), _) => self.later(DeviceInput::Download(DownloadEvent::Broken(error))),
            (Some(Reply::Close), _) => self.later(DeviceInput::Download(DownloadEvent::Closed)),
            (Some(Reply::Stall), _) => {}
            (_, None) => self.later(DeviceInput::Download(DownloadEvent::Answered(head(404)))),
            (reply, Some(image)) => {
                let total = image.len() as u64;
                let first = match reply {
                    Some(Reply::From(first)) => first as u64,
                    _ => request.offset,
                };
                let range = ContentRange {
                    first,
                    last: total - 1,
                    total,
                };
                self.later(DeviceInput::Download(DownloadEvent::Answered(ImageHead {
                    status: if request.offset > 0 { 206 } else { 200 },
                    content_length: Some(total - first),
                    content_range: (request.offset > 0).then_some(range),
                })));
                self.serving = Some(Serving {
                    body: image.slice(first as usize..),
                    breaks: match reply {
                        Some(Reply::BreakAfter(bytes, error)) => Some((bytes, error)),
                        _ => None,
                    },
                    open: true,
                });
            }
        }
    }

    fn send_body(&mut self, credit: u32) {
        let Some(serving) = self.serving.as_mut().filter(|serving| serving.open) else {
            return;
        };
        let mut bytes = serving.body.split_to(serving.body.len().min(credit as usize));
        let mut events = Vec::new();
        let mut end = serving.body.is_empty().then_some(DownloadEvent::Finished);
        if let Some((left, error)) = &mut serving.breaks {
            if bytes.len() >= *left {
                bytes.truncate(*left);
                end = Some(DownloadEvent::Broken(*error));
            }
            *left -= bytes.len();
        }
        // Two pieces, as a socket may give them.
        let rest = bytes.split_off(bytes.len() / 2);
        events.extend([bytes, rest].map(DownloadEvent::Body));
        serving.open = end.is_none();
        events.extend(end);
        for event in events {
            self.later(DeviceInput::Download(event));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.lawful && !std::thread::panicking() {
            let findings = self.findings();
            assert!(findings.is_empty(), "{findings:#?}");
        }
    }
}

const DEVICE: DeviceIndex = DeviceIndex(0);

pub fn ota_publish(payload: Bytes) -> DeviceInput {
    DeviceInput::Received(Packet::Publish(Publish {
        topic: "ota-cbor-c2d/rig-00000".into(),
        qos: QoS::AtLeastOnce,
        id: 77,
        dup: false,
        payload,
    }))
}

fn assert_legal(transition: Transition) {
    // An image that is deployed over itself succeeds even where the bootloader refused it or put it back. The contract has pairs for
    // that where main is all there is, and none where other packages are pending or cancelled.
    let over_itself = matches!(
        (transition.from, transition.to),
        (Phase::Reverting | Phase::Swapping, Phase::Waiting | Phase::Cancelled)
    );
    assert!(transition.legal_index().is_some() || over_itself, "{transition} is not legal");
}

/// Reads an attempt record with a reader of its own.
fn read_attempt(content: &[u8]) -> (u64, Stored) {
    let mut reader = minicbor::Decoder::new(content);
    reader.map().unwrap();
    assert_eq!((reader.u8().unwrap(), reader.u8().unwrap()), (0, 1));
    assert_eq!(reader.u8().unwrap(), 1);
    let attempt = reader.u64().unwrap();
    if reader.u8().unwrap() == 2 {
        return (attempt, Stored::Error(reader.u64().unwrap()));
    }
    let count = reader.u8().unwrap();
    assert_eq!(reader.u8().unwrap(), 4);
    reader.bool().unwrap();
    assert_eq!(reader.u8().unwrap(), 5);
    reader.array().unwrap();
    let results = (0..count).map(|_| reader.u8().unwrap()).collect();
    (attempt, Stored::Results(results))
}
