//! MQTT 3.1.1 control packets as device and server exchange them. Sessions, topics and acknowledgements are protocol, hence the
//! cores'; how a packet looks as bytes is the transports' business.

use std::borrow::Cow;

use bytes::Bytes;

use crate::model::{DeviceId, Few, IngestKey};

/// A topic name or filter.
pub type Topic = Cow<'static, str>;

/// A control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// First packet of a client.
    Connect(Connect),
    /// Answer to it.
    ConnAck {
        /// Accepted, or why not.
        code: ConnectCode,
    },
    /// Asks for messages.
    Subscribe {
        /// Packet identifier, nonzero.
        id: u16,
        /// Filters with the highest quality of service wanted; a device sends one.
        filters: Few<(Topic, QoS)>,
    },
    /// Answer to it, one code a filter.
    SubAck {
        /// The SUBSCRIBE's identifier.
        id: u16,
        /// Granted quality of service, or `None` for refused (0x80).
        granted: Few<Option<QoS>>,
    },
    /// A message.
    Publish(Publish),
    /// Acknowledges a QoS 1 message.
    PubAck {
        /// The PUBLISH's identifier.
        id: u16,
    },
    /// Withdraws subscriptions.
    Unsubscribe {
        /// Packet identifier, nonzero.
        id: u16,
        /// Filters withdrawn.
        filters: Vec<Topic>,
    },
    /// Answer to it.
    UnsubAck {
        /// The UNSUBSCRIBE's identifier.
        id: u16,
    },
    /// Keeps the connection alive.
    PingRequest,
    /// Answer to it.
    PingResponse,
    /// Orderly end.
    Disconnect,
}

/// Who wants to connect, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Client identifier; the SDK sends an empty one and the server ignores it (protocol 2.1).
    pub client_id: String,
    /// The device's id.
    pub user_name: Option<DeviceId>,
    /// The ingest key.
    pub password: Option<IngestKey>,
    /// Seconds; zero turns the mechanism off. The server waits one and a half times as long (MQTT 3.1.1, 3.1.2.10).
    pub keep_alive_s: u16,
    /// Always set by the SDK.
    pub clean_session: bool,
}

/// Return code of a CONNACK (MQTT 3.1.1, 3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectCode {
    /// 0.
    Accepted,
    /// 1: protocol version not supported.
    UnacceptableVersion,
    /// 2: client identifier not allowed.
    IdentifierRejected,
    /// 3: the server is not available.
    ServerUnavailable,
    /// 4: malformed user name or password.
    BadCredentials,
    /// 5: not authorized.
    NotAuthorized,
}

/// Quality of service; the protocol uses no QoS 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QoS {
    /// 0.
    AtMostOnce,
    /// 1.
    AtLeastOnce,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Topic name.
    pub topic: Topic,
    /// Quality of service.
    pub qos: QoS,
    /// Packet identifier; zero at QoS 0.
    pub id: u16,
    /// Sent before without acknowledgement.
    pub dup: bool,
    /// Content: CBOR on every topic of the protocol.
    pub payload: Bytes,
}

impl Publish {
    /// A QoS 0 message, as devices send them.
    pub fn at_most_once(topic: &'static str, payload: impl Into<Bytes>) -> Self {
        Publish {
            topic: Cow::Borrowed(topic),
            qos: QoS::AtMostOnce,
            id: 0,
            dup: false,
            payload: payload.into(),
        }
    }
}
