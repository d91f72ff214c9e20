//! What a connection costs the server that is refused at the door, against one that is let in.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::Way;
use super::process::{block_on, cpu};
use super::rig::Serve;

const ACCEPTED: u32 = 3_000;
const REFUSED: u32 = 20_000;
/// Connections at once.
const CROWD: usize = 64;

pub fn measure() {
    let tls = accepted(&[]);
    let plain = accepted(&["--tls", "off"]);
    let by_count = refused("connections=1");
    let by_rate = refused("connects=1/h");
    let us = |cost: Duration| cost.as_nanos() as f64 / 1_000.0;
    let share = |cost: Duration, of: Duration| 100.0 * cost.as_secs_f64() / of.as_secs_f64();
    println!("server CPU for a connection, TCP to CONNACK to close, {ACCEPTED} each; refused ones {REFUSED} each");
    println!("accepted over TLS     {:8.1} us", us(tls));
    println!("accepted in plain     {:8.1} us", us(plain));
    for (what, cost) in [("refused by count ", by_count), ("refused by rate  ", by_rate)] {
        println!(
            "{what}     {:8.1} us   {:5.1} % of one over TLS, {:5.1} % of a plain one",
            us(cost),
            share(cost, tls),
            share(cost, plain)
        );
    }
}

fn accepted(flags: &[&str]) -> Duration {
    let serve = Serve::start(flags);
    let way = Way::to(&serve);
    let connect = |number: u32| {
        let way = way.clone();
        async move {
            way.connect(&format!("device-{}", number % 1_000))
                .await
                .map(drop)
                .expect("it is let in")
        }
    };
    costs(&serve, ACCEPTED, connect)
}

fn refused(limit: &str) -> Duration {
    let serve = Serve::start(&["--limit", limit]);
    let to = serve.mqtt();
    let _inside = std::net::TcpStream::connect(to).expect("the first one is let in");
    block_on(async { while !is_refused(to).await {} });
    costs(
        &serve,
        REFUSED,
        |_| async move { assert!(is_refused(to).await, "it was let in") },
    )
}

async fn is_refused(to: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(to).await else {
        return true;
    };
    let read = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut [0])).await;
    read.is_ok_and(|read| read.map_or(true, |read| read == 0))
}

/// The server's CPU for each of `count` visits, of which [`CROWD`] go on at once.
fn costs<F: Future<Output = ()> + Send + 'static>(serve: &Serve, count: u32, visit: impl Fn(u32) -> F) -> Duration {
    let pid = serve.child.id();
    let before = cpu(pid);
    block_on(async {
        let mut crowd = JoinSet::new();
        for number in 0..count {
            if crowd.len() == CROWD {
                crowd.join_next().await.expect("there is one").expect("a visit goes well");
            }
            crowd.spawn(visit(number));
        }
        crowd.join_all().await;
        // What the server still does about the last ones.
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    (cpu(pid) - before) / count
}
