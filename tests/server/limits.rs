//! What a connection may cost the core: time to CONNECT, silence, packets.

use std::time::Duration;

use squall::server::{ConnectionId, Refusal, Server, ServerConfig, ServerInput, ServerOutput};
use squall::wire::{Connect, Packet, Publish, topic};

use super::rig::{KEY, Rig, config, connect};

fn refused(rig: &Rig, why: Refusal) -> u64 {
    rig.server.counts().refusals.of(why)
}

fn closed(rig: &mut Rig) -> bool {
    rig.take()
        .iter()
        .any(|output| matches!(output, ServerOutput::Close(ConnectionId(1))))
}

#[test]
fn a_connection_without_a_connect_is_put_out_in_time_whatever_it_trickles() {
    let mut limits = config().limits;
    limits.set("connect-time=3s").unwrap();
    let mut rig = Rig::with(Server::new(ServerConfig { limits, ..config() }));
    rig.input(ServerInput::Opened(ConnectionId(1)));
    rig.pass(Duration::from_millis(2_999));
    assert!(!closed(&mut rig));
    rig.pass(Duration::from_millis(1));
    assert!(closed(&mut rig));
    assert_eq!((refused(&rig, Refusal::NoConnect), refused(&rig, Refusal::Silent)), (1, 0));
}

#[test]
fn silence_ends_a_connection_after_one_and_a_half_keep_alives_and_is_counted() {
    let mut rig = Rig::new();
    rig.connect(1, "d1");
    rig.pass(Duration::from_secs(24 * 3600));
    assert!(closed(&mut rig));
    assert_eq!((refused(&rig, Refusal::Silent), rig.server.counts().connections), (1, 0));
}

#[test]
fn a_client_without_keep_alive_is_kept_as_long_as_one_with_the_longest_and_no_longer() {
    let mut rig = Rig::new();
    rig.input(ServerInput::Opened(ConnectionId(1)));
    let Packet::Connect(with_keep_alive) = connect("d1", KEY) else {
        panic!("no CONNECT")
    };
    let never = Connect {
        keep_alive_s: 0,
        ..with_keep_alive
    };
    rig.received(1, Packet::Connect(never));
    rig.pass(Duration::from_millis(65_535 * 1_500 - 1));
    assert!(!closed(&mut rig));
    rig.pass(Duration::from_millis(1));
    assert!(closed(&mut rig));
}

#[test]
fn no_keep_alive_is_longer_than_the_silence_that_is_allowed() {
    for keep_alive_s in [0, 60] {
        let mut limits = config().limits;
        limits.set("silence=45s").unwrap();
        let mut rig = Rig::with(Server::new(ServerConfig { limits, ..config() }));
        rig.input(ServerInput::Opened(ConnectionId(1)));
        let Packet::Connect(plain) = connect("d1", KEY) else {
            panic!("no CONNECT")
        };
        rig.received(1, Packet::Connect(Connect { keep_alive_s, ..plain }));
        rig.pass(Duration::from_millis(44_999));
        assert!(!closed(&mut rig));
        rig.pass(Duration::from_millis(1));
        assert!(closed(&mut rig), "keep-alive {keep_alive_s}");
    }
}

#[test]
fn a_packet_of_the_longest_length_is_taken_and_one_byte_more_ends_the_connection() {
    // Fixed header, three bytes of length, topic with its length.
    let frame = 1 + 3 + 2 + topic::INGEST.len();
    for (extra, ends) in [(0, false), (1, true)] {
        let mut rig = Rig::new();
        rig.connect(1, "d1");
        rig.take();
        let payload = vec![0; 64 * 1024 - frame + extra];
        rig.received(1, Packet::Publish(Publish::at_most_once(topic::INGEST, payload)));
        assert_eq!((closed(&mut rig), refused(&rig, Refusal::Packet)), (ends, u64::from(ends)));
    }
}

#[test]
fn wrong_credentials_are_counted() {
    let mut rig = Rig::new();
    rig.input(ServerInput::Opened(ConnectionId(1)));
    rig.received(1, connect("d1", "a-wrong-key"));
    assert_eq!(refused(&rig, Refusal::Credentials), 1);
}
