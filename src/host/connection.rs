//! One MQTT connection: bytes in become packets for the core, packets from the core become bytes out. Knows nothing of sessions.
//!
//! An idle connection holds its socket, an empty buffer and its outbox: bytes are read through a scratch buffer of the thread, and
//! what happens seldom (a write that has to wait) is boxed, because a task is as large as its largest moment.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::codec::{self, Malformed};
use super::core_thread::{CoreGone, CoreHandle, Message};
use super::gate::Pass;
use super::outbox::{End, Outbox, Waiting};
use crate::server::{ConnectionId, Limits, Refusal};
use crate::wire::{ConnectCode, Packet};

/// How long saying goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes read at once.
const SCRATCH_BYTES: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8; SCRATCH_BYTES]>> = RefCell::new(Box::new([0; SCRATCH_BYTES]));
}

/// Talks with one client until either side ends it.
pub(crate) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, id: ConnectionId, core: CoreHandle, pass: Pass) {
    let outbox = Arc::new(Outbox::new(pass.limits().queue));
    if core
        .tell(Message::Opened {
            id,
            outbox: Arc::clone(&outbox),
        })
        .await
        .is_err()
    {
        return;
    }
    // However it ended, the core learns one thing: this connection is gone. A DISCONNECT it has seen before.
    match talk(&mut stream, id, &outbox, &core, pass.limits()).await {
        Ok(()) | Err(Over::Disconnected | Over::Broken | Over::Closed) => {}
        Err(Over::PutOut(why)) => pass.put_out(why),
    }
    if core.tell(Message::Closed(id)).await.is_ok() {
        let _best_effort = Box::pin(tokio::time::timeout(GOODBYE_TIMEOUT, stream.shutdown())).await;
    }
}

/// Why a conversation was over.
#[derive(Debug)]
enum Over {
    /// The client said DISCONNECT.
    Disconnected,
    /// The stream ended or broke.
    Broken,
    /// We closed it.
    Closed,
    /// The client does not speak MQTT 3.1.1, says too much, or reads too little.
    PutOut(Refusal),
}

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Over::Broken
    }
}

impl From<CoreGone> for Over {
    fn from(_: CoreGone) -> Self {
        Over::Closed
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    id: ConnectionId,
    outbox: &Outbox,
    core: &CoreHandle,
    limits: &Limits,
) -> Result<(), Over> {
    let mut partial = BytesMut::new();
    loop {
        let Waiting { packets, end } = outbox.take();
        if end == Some(End::Aborted) {
            return Err(Over::PutOut(Refusal::Unread));
        }
        if !packets.is_empty() {
            send(stream, packets, outbox, limits.unread).await?;
            continue;
        }
        if end.is_some() {
            return Err(Over::Closed);
        }
        tokio::select! {
            () = outbox.changed() => {}
            read = read_some(stream, &mut partial) => {
                if read? == 0 {
                    return Err(Over::Broken);
                }
                hand_over(stream, &mut partial, id, core, limits.packet).await?;
            }
        }
    }
}

/// Gives every whole packet of `partial` to the core.
async fn hand_over<S: AsyncWrite + Unpin>(
    stream: &mut S,
    partial: &mut BytesMut,
    id: ConnectionId,
    core: &CoreHandle,
    longest: u64,
) -> Result<(), Over> {
    let longest = usize::try_from(longest).unwrap_or(usize::MAX);
    loop {
        match codec::decode(partial, longest) {
            Ok(Some(packet)) => {
                let last = packet == Packet::Disconnect;
                core.tell(Message::Received { from: id, packet }).await?;
                if last {
                    return Err(Over::Disconnected);
                }
            }
            Ok(None) => break,
            Err(Malformed::Level(_)) => {
                Box::pin(refuse_version(stream)).await?;
                return Err(Over::PutOut(Refusal::Malformed));
            }
            Err(Malformed::TooLong) => return Err(Over::PutOut(Refusal::Packet)),
            Err(Malformed::Packet(_)) => return Err(Over::PutOut(Refusal::Malformed)),
        }
    }
    if partial.is_empty() {
        *partial = BytesMut::new();
    }
    Ok(())
}

async fn refuse_version<S: AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    codec::encode(
        Packet::ConnAck {
            code: ConnectCode::UnacceptableVersion,
        },
        &mut bytes,
    );
    tokio::time::timeout(GOODBYE_TIMEOUT, stream.write_all(&bytes)).await?
}

/// Appends what has arrived to `partial`; gives the number of bytes, zero at the end of the stream. Nothing is lost when it is dropped.
async fn read_some<S: AsyncRead + Unpin>(stream: &mut S, partial: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch[..]);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            partial.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    })
    .await
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, packets: Vec<Packet>, outbox: &Outbox, unread: Duration) -> Result<(), Over> {
    let mut bytes = BytesMut::new();
    for packet in packets {
        codec::encode(packet, &mut bytes);
    }
    // Nearly always the socket takes all of it at once. TLS may take bytes and still hold them, hence the flush.
    let done = poll_fn(|context| {
        let written = match Pin::new(&mut *stream).poll_write(context, &bytes) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        bytes.advance(written);
        let flushed = match Pin::new(&mut *stream).poll_flush(context) {
            Poll::Ready(flushed) => flushed.map(|()| true)?,
            Poll::Pending => false,
        };
        Poll::Ready(io::Result::Ok(bytes.is_empty() && flushed))
    })
    .await?;
    if done {
        return Ok(());
    }
    Box::pin(send_rest(stream, bytes, outbox, unread)).await
}

/// Writes what the socket did not take at once, and flushes, which TLS needs.
async fn send_rest<S: AsyncWrite + Unpin>(stream: &mut S, bytes: BytesMut, outbox: &Outbox, unread: Duration) -> Result<(), Over> {
    let all = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    tokio::select! {
        written = tokio::time::timeout(unread, all) => Ok(written.map_err(|_| Over::PutOut(Refusal::Unread))??),
        () = outbox.aborted() => Err(Over::PutOut(Refusal::Unread)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::Clock;
    use crate::host::core_thread::Told;
    use crate::host::gate::Gate;
    use crate::server::Door;
    use crate::wire::api::ChildCondition;
    use rumqttc::mqttbytes::v4;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::sync::{mpsc, watch};

    const ID: ConnectionId = ConnectionId(1);

    fn pass() -> Pass {
        let gate = Gate::new(
            Limits::default(),
            1_000,
            Clock::starting(),
            watch::channel(ChildCondition::default()).1,
        );
        gate.enter(Door::Mqtt).unwrap()
    }

    fn conversing(buffer: usize) -> (DuplexStream, mpsc::Receiver<Told>) {
        let (client, server) = duplex(buffer);
        let (core, messages) = CoreHandle::to_nobody();
        tokio::spawn(converse(server, ID, core, pass()));
        (client, messages)
    }

    async fn opened(messages: &mut mpsc::Receiver<Told>) -> Arc<Outbox> {
        match messages.recv().await.map(|told| told.message) {
            Some(Message::Opened { id: ID, outbox }) => outbox,
            _ => panic!("a connection opens first"),
        }
    }

    /// What the core hears until the connection is gone.
    async fn heard(messages: &mut mpsc::Receiver<Told>) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            match messages.recv().await.map(|told| told.message) {
                Some(Message::Received { from: ID, packet }) => packets.push(packet),
                Some(Message::Closed(ID)) => return packets,
                _ => panic!("packets, then the end"),
            }
        }
    }

    #[tokio::test]
    async fn an_orderly_end_is_told_from_a_broken_stream() {
        for (last, expected) in [
            (&[0xe0, 0][..], vec![Packet::PingRequest, Packet::Disconnect]),
            (&[], vec![Packet::PingRequest]),
        ] {
            let (mut client, mut messages) = conversing(64);
            let _outbox = opened(&mut messages).await;
            client.write_all(&[0xc0, 0]).await.unwrap();
            client.write_all(last).await.unwrap();
            drop(client);
            assert_eq!(heard(&mut messages).await, expected);
        }
    }

    #[tokio::test]
    async fn what_waits_is_sent_before_the_core_closes() {
        let (mut client, mut messages) = conversing(64);
        let outbox = opened(&mut messages).await;
        assert!(outbox.push(Packet::ConnAck {
            code: ConnectCode::BadCredentials
        }));
        outbox.close();
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, [0x20, 2, 0, 4]);
    }

    #[tokio::test]
    async fn another_protocol_version_is_refused_with_its_code() {
        let (mut client, mut messages) = conversing(64);
        let _outbox = opened(&mut messages).await;
        let mut connect = BytesMut::new();
        v4::Packet::Connect(v4::Connect::new("x"))
            .write(&mut connect, usize::MAX)
            .unwrap();
        connect[8] = 5;
        client.write_all(&connect).await.unwrap();
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).await.unwrap();
        assert_eq!((bytes, heard(&mut messages).await), (vec![0x20, 2, 0, 1], vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_closed() {
        let (_client, mut messages) = conversing(4);
        let outbox = opened(&mut messages).await;
        for _ in 0..9 {
            assert!(outbox.push(Packet::PingResponse));
        }
        let early = tokio::time::timeout(Limits::default().unread - Duration::from_secs(1), messages.recv()).await;
        assert!(early.is_err(), "closed before its time");
        let in_time = tokio::time::timeout(Duration::from_secs(2), heard(&mut messages)).await;
        assert_eq!(in_time, Ok(vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_outbox_ends_even_a_write_under_way() {
        let (_client, mut messages) = conversing(4);
        let outbox = opened(&mut messages).await;
        while outbox.push(Packet::PingResponse) {
            tokio::task::yield_now().await;
        }
        let at_once = tokio::time::timeout(Limits::default().unread / 2, heard(&mut messages)).await;
        assert_eq!(at_once, Ok(vec![]));
    }

    #[tokio::test]
    async fn an_idle_connection_is_small() {
        let (core, _messages) = CoreHandle::to_nobody();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let bytes = std::mem::size_of_val(&converse(stream, ID, core, pass()));
        assert!(bytes <= 1024, "the future of a connection takes {bytes} bytes");
    }
}
