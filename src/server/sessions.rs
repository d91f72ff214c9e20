//! The MQTT side: CONNECT to DISCONNECT (protocol 2). What a device says about attempts goes on to [`super::offers`].

use crate::model::{DeviceId, Prompt, ServerEvent, Tags};
use crate::time::SimTime;
use crate::wire::overhead::packet_len;
use crate::wire::{Connect, ConnectCode, Packet, Publish, QoS, Topic, message_type, session, topic};

use super::admission::Refusal;
use super::connections::Wake;
use super::io::{ConnectionId, ServerInput, ServerOutput, ServerOutputs};
use super::record::{DeviceNumber, Record, SessionSeen};
use super::{DEVICES_MAX, Server};

/// Longest device id, bytes.
pub(super) const DEVICE_ID_MAX: usize = 128;

/// Message type of session metadata (protocol 3.1).
const SESSION_METADATA: u64 = 1;

impl Server {
    pub(super) fn opened(&mut self, id: ConnectionId, now: SimTime) {
        self.connections.open(id, now);
    }

    /// Forgets a connection that is gone already.
    pub(super) fn closed(&mut self, id: ConnectionId, out: &mut ServerOutputs) {
        let device = self.connections.remove(id).and_then(|connection| connection.device);
        if let Some(device) = device {
            let device = self.ledger.registry.at(device).id.clone();
            out.push(ServerOutput::Observed(ServerEvent::DeviceDisconnected { device }));
        }
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, id: ConnectionId, out: &mut ServerOutputs) {
        out.push(ServerOutput::Close(id));
        self.closed(id, out);
    }

    /// Ends a connection that a limit puts out.
    fn put_out(&mut self, id: ConnectionId, why: Refusal, out: &mut ServerOutputs) {
        self.refusals.count(why);
        self.close(id, out);
    }

    pub(super) fn received(&mut self, from: ConnectionId, packet: Packet, now: SimTime, out: &mut ServerOutputs) {
        let Some(device) = self.connections.hear(from, now) else {
            return; // The connection was closed while the packet was on its way.
        };
        if packet_len(&packet) > self.packet_max {
            return self.put_out(from, Refusal::Packet, out);
        }
        match (packet, device) {
            (Packet::Connect(connect), None) => self.connect(from, connect, now, out),
            (Packet::Subscribe { id, filters }, Some(device)) if id != 0 && !filters.is_empty() => {
                self.subscribe(from, device, id, &filters, now, out);
            }
            (Packet::Publish(publish), Some(device)) => self.publish(from, device, publish, now, out),
            (Packet::PubAck { id }, Some(_)) => self.connections.acknowledge(from, id),
            (Packet::Unsubscribe { id, filters }, Some(device)) if id != 0 && !filters.is_empty() => {
                if filters.iter().any(|filter| self.names(device, filter, topic::OTA_C2D)) {
                    self.connections.subscribe(from, None);
                }
                transmit(from, Packet::UnsubAck { id }, out);
            }
            (Packet::PingRequest, Some(_)) => transmit(from, Packet::PingResponse, out),
            // A first packet that is no CONNECT, a second CONNECT, an orderly end, packets that only servers send, empty requests.
            (
                Packet::Connect(_)
                | Packet::Subscribe { .. }
                | Packet::Publish(_)
                | Packet::PubAck { .. }
                | Packet::Unsubscribe { .. }
                | Packet::PingRequest
                | Packet::Disconnect
                | Packet::ConnAck { .. }
                | Packet::SubAck { .. }
                | Packet::UnsubAck { .. }
                | Packet::PingResponse,
                _,
            ) => self.close(from, out),
        }
    }

    pub(super) fn wake(&mut self, wake: Wake, now: SimTime, out: &mut ServerOutputs) {
        match wake {
            Wake::Silence(id) => {
                if self.connections.is_silent(id, now) {
                    let known = self.connections.get(id).is_some_and(|connection| connection.device.is_some());
                    self.put_out(id, if known { Refusal::Silent } else { Refusal::NoConnect }, out);
                }
            }
            Wake::Chase(id) => {
                if let Some(device) = self.connections.get(id).and_then(|connection| connection.device) {
                    self.chase(device, now, out);
                }
            }
        }
    }

    fn connect(&mut self, from: ConnectionId, connect: Connect, now: SimTime, out: &mut ServerOutputs) {
        let device = match self.admit(&connect) {
            Ok(device) => device,
            Err(code) => {
                transmit(from, Packet::ConnAck { code }, out);
                let why = match code {
                    ConnectCode::ServerUnavailable => Refusal::Connections,
                    ConnectCode::Accepted
                    | ConnectCode::UnacceptableVersion
                    | ConnectCode::IdentifierRejected
                    | ConnectCode::BadCredentials
                    | ConnectCode::NotAuthorized => Refusal::Credentials,
                };
                return self.put_out(from, why, out);
            }
        };
        let device = match self.ledger.registry.find(&device) {
            Some(known) => known,
            None => self.register(device, Tags::new(), now, out),
        };
        if let Some(former) = self.connections.of(device) {
            self.close(former, out);
        }
        self.connections.authenticate(from, device, connect.keep_alive_s);
        let code = ConnectCode::Accepted;
        transmit(from, Packet::ConnAck { code }, out);
        let device = self.ledger.registry.at(device).id.clone();
        out.push(ServerOutput::Observed(ServerEvent::DeviceConnected { device }));
    }

    /// Who wants to connect, if it may. The client identifier and the session flag are ignored (protocol 2.1).
    fn admit(&self, connect: &Connect) -> Result<DeviceId, ConnectCode> {
        let device = connect
            .user_name
            .as_ref()
            .filter(|id| is_device_id(id))
            .ok_or(ConnectCode::BadCredentials)?;
        let password = connect.password.as_ref().ok_or(ConnectCode::BadCredentials)?;
        if !self.keys.admits(password) {
            return Err(ConnectCode::NotAuthorized);
        }
        if self.ledger.registry.len() >= DEVICES_MAX && self.ledger.registry.find(device).is_none() {
            return Err(ConnectCode::ServerUnavailable);
        }
        Ok(device.clone())
    }

    fn subscribe(
        &mut self,
        from: ConnectionId,
        device: DeviceNumber,
        id: u16,
        filters: &[(Topic, QoS)],
        now: SimTime,
        out: &mut ServerOutputs,
    ) {
        let mut ota = None;
        let grant = |(filter, wanted): &(Topic, QoS)| {
            if self.names(device, filter, topic::OTA_C2D) {
                ota = Some(*wanted);
                Some(*wanted)
            } else {
                self.names(device, filter, topic::CONFIG_C2D).then_some(QoS::AtMostOnce)
            }
        };
        let granted = filters.iter().map(grant).collect();
        transmit(from, Packet::SubAck { id, granted }, out);
        if ota.is_some() {
            self.connections.subscribe(from, ota);
            self.resume(device, now, out);
        }
    }

    /// True if `filter` is the bare name of a topic, or the device's own delivery topic under it (protocol 2.2). Messages are
    /// delivered on the bare name in both cases.
    fn names(&self, device: DeviceNumber, filter: &str, topic: &str) -> bool {
        let own = &self.ledger.registry.at(device).id;
        let suffix = filter.strip_prefix(topic);
        suffix.is_some_and(|suffix| suffix.is_empty() || suffix.strip_prefix('/') == Some(own.as_str()))
    }

    fn publish(&mut self, from: ConnectionId, device: DeviceNumber, publish: Publish, now: SimTime, out: &mut ServerOutputs) {
        if publish.qos == QoS::AtLeastOnce && publish.id == 0 {
            return self.close(from, out);
        }
        let used = match &*publish.topic {
            topic::INGEST => self.ingest(device, &publish.payload, out),
            topic::CONFIG_D2C => true,
            topic::OTA_D2C => self.report(from, device, &publish.payload, now, out),
            _ => false,
        };
        self.ignored += u64::from(!used);
        if publish.qos == QoS::AtLeastOnce {
            transmit(from, Packet::PubAck { id: publish.id }, out);
        }
    }

    /// Takes in what came on the ingest topic; false if it is of no use.
    fn ingest(&mut self, device: DeviceNumber, payload: &[u8], out: &mut ServerOutputs) -> bool {
        match message_type(payload) {
            Some(SESSION_METADATA) => {}
            Some(_) => return true,
            None => return false,
        }
        let Ok(metadata) = session::decode(payload) else {
            return false;
        };
        let session = SessionSeen {
            run_id: metadata.run_id,
            build_id: metadata.build_id,
            last_attempt: metadata.last_attempt,
        };
        if self.ledger.registry.at(device).session != session {
            self.commit(Record::SessionSeen { device, session }, out);
        }
        true
    }

    /// Makes a device known, a member of every cohort whose rule selects it, and engaged in the newest deployment of those.
    pub(super) fn register(&mut self, id: DeviceId, tags: Tags, now: SimTime, out: &mut ServerOutputs) -> DeviceNumber {
        let device = id.clone();
        let number = self.ledger.registry.next();
        self.commit(Record::DeviceRegistered { device: id, tags }, out);
        out.push(ServerOutput::Observed(ServerEvent::DeviceRegistered { device }));
        let (_, mut joins) = self.ledger.cohorts.drift(self.ledger.registry.at(number));
        self.join(number, &joins, out);
        joins.push(super::cohorts::ALL);
        self.follow(number, &joins, now, out);
        number
    }
}

/// What an input is called in the history, and where its time is told.
pub fn prompt_of(input: &ServerInput) -> Prompt {
    match input {
        ServerInput::Admin { .. } => Prompt::Management,
        ServerInput::Opened(_) | ServerInput::Closed(_) => Prompt::Connection,
        ServerInput::Received { packet, .. } => match packet {
            Packet::Connect(_) => Prompt::Connect,
            Packet::Subscribe { .. } | Packet::Unsubscribe { .. } => Prompt::Subscribe,
            Packet::Publish(publish) if publish.topic == topic::INGEST => Prompt::Ingest,
            Packet::Publish(publish) if publish.topic == topic::OTA_D2C => Prompt::Results,
            Packet::Publish(_)
            | Packet::PubAck { .. }
            | Packet::PingRequest
            | Packet::Disconnect
            | Packet::ConnAck { .. }
            | Packet::SubAck { .. }
            | Packet::UnsubAck { .. }
            | Packet::PingResponse => Prompt::Packet,
        },
    }
}

/// True for what may name a device: up to 128 bytes without control characters.
pub(super) fn is_device_id(id: &DeviceId) -> bool {
    let id = id.as_str();
    (1..=DEVICE_ID_MAX).contains(&id.len()) && !id.chars().any(char::is_control)
}

fn transmit(to: ConnectionId, packet: Packet, out: &mut ServerOutputs) {
    out.push(ServerOutput::Transmit { to, packet });
}
