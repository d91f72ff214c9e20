//! The MQTT session: connecting, subscribing, keeping alive, acknowledging (protocol, section 2).

use std::borrow::Cow;
use std::time::Duration;

use super::Device;
use super::boot::Power;
use super::defect::{Defect, garble};
use super::io::{DeviceOutput, LinkLoss, Outputs};
use crate::luck::Purpose;
use crate::model::{AttemptId, BootReason, ConnectResult, Few, Observation, Session};
use crate::time::SimTime;
use crate::wire::config::{self, CONFIG_RECEIVE_LIMIT, ReportedConfiguration, Severity};
use crate::wire::ota::encode_results;
use crate::wire::session::SessionMetadata;
use crate::wire::telemetry::{Metric, ResetReason};
use crate::wire::{Connect, ConnectCode, Packet, Publish, QoS, session, telemetry, topic};

/// The least severity that the simulated firmware is compiled to log.
const COMPILED_SEVERITY: Severity = Severity::DEBUG;

/// How long the OTA SUBACK may take. The SDK sets no limit of its own; without one a lost SUBACK would leave a device connecting for
/// ever.
const SUBACK_LIMIT: Duration = Duration::from_secs(60);

/// The session's state, in RAM.
#[derive(Debug)]
pub(super) struct Line {
    /// What the connection is doing.
    pub(super) link: Link,
    /// When a connection was first wanted since the last one.
    wanted_at: SimTime,
    /// When the try under way began.
    tried_at: SimTime,
    /// Tries in a row that failed, and the loss before them.
    failures: u32,
}

/// What the connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing: no power, in the bootloader, or silent.
    Down,
    /// Waits before it tries again.
    Waiting {
        /// Until then.
        until: SimTime,
    },
    /// TCP and TLS are being made.
    Opening,
    /// CONNECT was sent.
    Greeting {
        /// The CONNACK has to be there by then.
        until: SimTime,
    },
    /// CONNACK came.
    Open(Subscriptions),
}

/// An open session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subscriptions {
    /// Packet identifier of the SUBSCRIBE to the configuration topic.
    config: u16,
    /// Packet identifier of the SUBSCRIBE to the OTA topic.
    ota: u16,
    /// The OTA SUBACK has to be there by then; `None` once it is.
    due: Option<SimTime>,
    /// When a packet was last sent.
    sent_at: SimTime,
    /// The PINGRESP has to be there by then.
    ping_by: Option<SimTime>,
}

impl Line {
    /// No connection, and none wanted.
    pub(super) const fn down() -> Line {
        Line {
            link: Link::Down,
            wanted_at: SimTime::ZERO,
            tried_at: SimTime::ZERO,
            failures: 0,
        }
    }

    /// When the OTA SUBACK is overdue.
    pub(super) fn suback_due(&self) -> Option<SimTime> {
        self.open().and_then(|open| open.due)
    }

    /// When a PINGREQ is due.
    pub(super) fn ping_due(&self, keep_alive: Duration) -> Option<SimTime> {
        let open = self.open().filter(|open| open.ping_by.is_none() && !keep_alive.is_zero())?;
        Some(open.sent_at + keep_alive)
    }

    /// When the PINGRESP is overdue.
    pub(super) fn pong_due(&self) -> Option<SimTime> {
        self.open().and_then(|open| open.ping_by)
    }

    /// A PINGREQ was sent at `at`.
    pub(super) fn pinged(&mut self, at: SimTime, keep_alive: Duration) {
        if let Some(open) = self.open_mut() {
            (open.sent_at, open.ping_by) = (at, Some(at + keep_alive));
        }
    }

    /// A PINGRESP came.
    pub(super) fn ponged(&mut self) {
        if let Some(open) = self.open_mut() {
            open.ping_by = None;
        }
    }

    fn open(&self) -> Option<&Subscriptions> {
        match &self.link {
            Link::Open(open) => Some(open),
            Link::Down | Link::Waiting { .. } | Link::Opening | Link::Greeting { .. } => None,
        }
    }

    fn open_mut(&mut self) -> Option<&mut Subscriptions> {
        match &mut self.link {
            Link::Open(open) => Some(open),
            Link::Down | Link::Waiting { .. } | Link::Opening | Link::Greeting { .. } => None,
        }
    }

    /// True once a session is open.
    pub(super) fn is_open(&self) -> bool {
        self.open().is_some()
    }

    fn is_online(&self) -> bool {
        self.open().is_some_and(|open| open.due.is_none())
    }
}

impl Device {
    /// The application has started and wants a connection.
    pub(super) fn want_connection(&mut self, now: SimTime, out: &mut Outputs) {
        self.memory.line.wanted_at = now;
        self.connect(now, out);
    }

    /// Opens a connection.
    pub(super) fn connect(&mut self, now: SimTime, out: &mut Outputs) {
        self.memory.line.link = Link::Opening;
        self.memory.line.tried_at = now;
        self.show_session(Session::Connecting, out);
        out.push(DeviceOutput::Connect);
    }

    pub(super) fn on_connected(&mut self, now: SimTime, out: &mut Outputs) {
        if self.memory.line.link != Link::Opening {
            return;
        }
        let connect = Connect {
            client_id: String::new(),
            user_name: Some(self.identity.id.clone()),
            password: Some(self.config.ingest_key.clone()),
            keep_alive_s: u16::try_from(self.config.keep_alive.as_secs()).unwrap_or(u16::MAX),
            clean_session: true,
        };
        self.memory.line.link = Link::Greeting {
            until: now + self.config.connack_timeout,
        };
        out.push(DeviceOutput::Transmit(Packet::Connect(connect)));
    }

    pub(super) fn on_disconnected(&mut self, loss: LinkLoss, now: SimTime, out: &mut Outputs) {
        let result = match loss {
            LinkLoss::Refused => ConnectResult::Refused,
            LinkLoss::Timeout => ConnectResult::Timeout,
            LinkLoss::Tls => ConnectResult::Tls,
            LinkLoss::Closed => ConnectResult::Reset,
        };
        match self.memory.line.link {
            Link::Down | Link::Waiting { .. } => {}
            Link::Opening | Link::Greeting { .. } | Link::Open(_) => self.on_lost(result, now, out),
        }
    }

    /// Gives the connection up.
    pub(super) fn hang_up(&mut self, result: ConnectResult, now: SimTime, out: &mut Outputs) {
        out.push(DeviceOutput::Disconnect);
        self.on_lost(result, now, out);
    }

    fn on_lost(&mut self, result: ConnectResult, now: SimTime, out: &mut Outputs) {
        let line = &mut self.memory.line;
        if line.is_online() {
            line.wanted_at = now;
            line.failures = 0;
        } else {
            out.push(DeviceOutput::Observed(Observation::ConnectTried {
                result,
                wanted_at: line.wanted_at,
                tried_at: line.tried_at,
            }));
        }
        line.failures = line.failures.saturating_add(1);
        let ordinal = self.ordinals.reconnects;
        self.ordinals.reconnects = ordinal.wrapping_add(1);
        let wait = self
            .config
            .reconnect
            .delay(line.failures, self.luck, Purpose::ReconnectDelay, self.identity.key, ordinal);
        line.link = Link::Waiting { until: now + wait };
        self.show_session(Session::Offline, out);
    }

    pub(super) fn on_packet(&mut self, packet: &Packet, now: SimTime, out: &mut Outputs) {
        match packet {
            Packet::ConnAck { code } => self.on_connack(*code, now, out),
            Packet::SubAck { id, granted } => self.on_suback(*id, granted, now, out),
            Packet::Publish(publish) => self.on_publish(publish, now, out),
            Packet::PingResponse => self.memory.line.ponged(),
            // Nothing that a server may send, or nothing that a device acts upon.
            Packet::Connect(_)
            | Packet::Subscribe { .. }
            | Packet::PubAck { .. }
            | Packet::Unsubscribe { .. }
            | Packet::UnsubAck { .. }
            | Packet::PingRequest
            | Packet::Disconnect => {}
        }
    }

    fn on_connack(&mut self, code: ConnectCode, now: SimTime, out: &mut Outputs) {
        if !matches!(self.memory.line.link, Link::Greeting { .. }) {
            return;
        }
        match code {
            ConnectCode::Accepted => self.start_session(now, out),
            ConnectCode::UnacceptableVersion | ConnectCode::IdentifierRejected | ConnectCode::ServerUnavailable => {
                self.hang_up(ConnectResult::Refused, now, out);
            }
            ConnectCode::BadCredentials | ConnectCode::NotAuthorized => self.hang_up(ConnectResult::Auth, now, out),
        }
    }

    /// The order is fixed: metadata, configuration, OTA; whatever waits comes behind (protocol 2.3).
    fn start_session(&mut self, now: SimTime, out: &mut Outputs) {
        let config = self.draw_packet_id();
        let ota = match self.draw_packet_id() {
            same if same == config => same % u16::MAX + 1,
            other => other,
        };
        self.memory.line.link = Link::Open(Subscriptions {
            config,
            ota,
            due: Some(now + SUBACK_LIMIT),
            sent_at: now,
            ping_by: None,
        });
        let metadata = session::encode(&self.session_metadata());
        let late = self.has(Defect::MetadataLate).then(|| metadata.clone());
        if late.is_none() {
            self.publish(topic::INGEST, metadata, now, out);
        }
        self.subscribe(config, topic::CONFIG_C2D, QoS::AtMostOnce, now, out);
        self.subscribe(ota, topic::OTA_C2D, QoS::AtLeastOnce, now, out);
        if let Some(metadata) = late {
            self.publish(topic::INGEST, metadata, now, out);
        }
        self.publish_outbox(now, out);
        let reported = ReportedConfiguration {
            severity: Some((self.severity, COMPILED_SEVERITY)),
            acknowledged: None,
        };
        self.publish(topic::CONFIG_D2C, config::encode_reported(&reported), now, out);
        self.announce_boot(now, out);
        self.publish_heartbeat(now, out);
        self.log(Severity::INFO, "network", || "session started".into(), now, out);
    }

    fn session_metadata(&self) -> SessionMetadata {
        let (run_id, build_id, again) = match &self.power {
            Power::On(app) => (app.run_id, app.build_id.as_deref().copied(), app.announced),
            Power::Off | Power::Boot { .. } => (0, None, false),
        };
        let forgets = self.has(Defect::ForgetStoredId) || (again && self.has(Defect::ForgetLargestId));
        let stored = self.flash.records.attempt(self.config.max_artifacts).filter(|_| !forgets);
        let largest = self.memory.largest.filter(|_| !(again && self.has(Defect::ForgetLargestId)));
        SessionMetadata {
            run_id,
            labels: Vec::new(),
            build_id,
            last_attempt: largest.max(stored.map(|record| record.attempt)),
        }
    }

    /// `boot_reset`, once per boot (protocol 4.4).
    fn announce_boot(&mut self, now: SimTime, out: &mut Outputs) {
        let unconfirmed = !self.flash.primary.is_confirmed();
        let Power::On(app) = &mut self.power else {
            return;
        };
        if std::mem::replace(&mut app.announced, true) {
            return;
        }
        let reason = match app.why {
            BootReason::PowerOn => ResetReason::PowerOn,
            BootReason::Watchdog => ResetReason::Watchdog,
            BootReason::Software | BootReason::Crash => ResetReason::Software,
        };
        let uptime_ms = i64::try_from(now.since(app.started_at).as_millis()).unwrap_or(i64::MAX);
        let metric = Metric::boot_reset(uptime_ms, &[reason], unconfirmed);
        self.publish(topic::INGEST, telemetry::encode_metric(&metric), now, out);
    }

    fn on_suback(&mut self, id: u16, granted: &[Option<QoS>], now: SimTime, out: &mut Outputs) {
        let Some(open) = self.memory.line.open_mut().filter(|open| id == open.config || id == open.ota) else {
            return;
        };
        if !matches!(granted.first(), Some(Some(_))) && self.config.sdk.minds_subacks() {
            self.hang_up(ConnectResult::Refused, now, out);
            return;
        }
        if id != open.ota || open.due.take().is_none() {
            return;
        }
        let line = &mut self.memory.line;
        line.failures = 0;
        out.push(DeviceOutput::Observed(Observation::ConnectTried {
            result: ConnectResult::Ok,
            wanted_at: line.wanted_at,
            tried_at: line.tried_at,
        }));
        self.show_session(Session::Online, out);
        self.on_online(now, out);
    }

    /// A QoS 1 message is acknowledged once it was read and handled, also when it was too long or made no sense (protocol 2.4).
    fn on_publish(&mut self, publish: &Publish, now: SimTime, out: &mut Outputs) {
        if self.memory.line.open().is_none() {
            return;
        }
        let payload = &publish.payload;
        let mut answer = None;
        if topic::belongs_to(&publish.topic, topic::CONFIG_C2D) && payload.len() <= CONFIG_RECEIVE_LIMIT {
            answer = self.on_configuration(payload);
        } else if topic::belongs_to(&publish.topic, topic::OTA_C2D) {
            self.on_cloud_message(payload, now, out);
        }
        if publish.qos == QoS::AtLeastOnce {
            self.transmit(Packet::PubAck { id: publish.id }, now, out);
        }
        if let Some(reported) = answer {
            self.publish(topic::CONFIG_D2C, config::encode_reported(&reported), now, out);
        }
        self.work_on(now, out);
    }

    fn on_configuration(&mut self, payload: &[u8]) -> Option<ReportedConfiguration> {
        let desired = config::decode_desired(payload).ok()?;
        self.severity = desired.severity.unwrap_or(self.severity);
        Some(ReportedConfiguration {
            severity: desired.severity.map(|severity| (severity, COMPILED_SEVERITY)),
            acknowledged: Some(desired.version),
        })
    }

    pub(super) fn send_ping(&mut self, now: SimTime, out: &mut Outputs) {
        self.transmit(Packet::PingRequest, now, out);
        self.pinged(now);
    }

    /// Publishes the report that waits, if there is a connection.
    pub(super) fn publish_outbox(&mut self, now: SimTime, out: &mut Outputs) {
        if self.memory.line.open().is_none() {
            return;
        }
        if let Some((mut results, complete)) = self.memory.outbox.take() {
            if self.has(Defect::ReportUnknownId) {
                results.attempt = AttemptId::new(results.attempt.number() + 1).expect("it is above one");
            }
            let payload = garble(self.behaviors.defect, encode_results(&results));
            self.publish(topic::OTA_D2C, payload, now, out);
            out.push(DeviceOutput::Observed(Observation::ResultPublished {
                attempt: results.attempt,
                complete,
            }));
            self.on_published(out);
        }
    }

    /// Tells of a change of the session.
    pub(super) fn show_session(&mut self, session: Session, out: &mut Outputs) {
        if std::mem::replace(&mut self.shown.session, session) != session {
            out.push(DeviceOutput::Observed(Observation::Session(session)));
        }
    }

    fn subscribe(&mut self, id: u16, filter: &'static str, qos: QoS, now: SimTime, out: &mut Outputs) {
        let filters = Few::One((Cow::Borrowed(filter), qos));
        self.transmit(Packet::Subscribe { id, filters }, now, out);
    }

    pub(super) fn publish(&mut self, topic: &'static str, payload: bytes::Bytes, now: SimTime, out: &mut Outputs) {
        self.transmit(Packet::Publish(Publish::at_most_once(topic, payload)), now, out);
    }

    fn transmit(&mut self, packet: Packet, now: SimTime, out: &mut Outputs) {
        if let Some(open) = self.memory.line.open_mut() {
            open.sent_at = now;
            out.push(DeviceOutput::Transmit(packet));
        }
    }

    fn draw_packet_id(&mut self) -> u16 {
        let ordinal = self.ordinals.packets;
        self.ordinals.packets = ordinal.wrapping_add(1);
        let drawn = self
            .luck
            .below(Purpose::PacketId, self.identity.key, ordinal.into(), u64::from(u16::MAX));
        drawn as u16 + 1
    }
}
