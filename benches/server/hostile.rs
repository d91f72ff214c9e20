//! How long honest devices take for an update, undisturbed and among hostile clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::client::Way;
use super::process::{block_on, resident};
use super::rig::Serve;

/// Honest devices, and how many of them at once.
const HONEST: u32 = 1_000;
const CROWD: usize = 50;

pub fn measure() {
    println!("{HONEST} honest devices over TLS, {CROWD} at once: connect, manifest, image of 40 kB, report");
    let quiet = honest(&[]);
    let flags = ["--limit", "handshake=2s", "--limit", "connect-time=2s"];
    let disturbed = honest(&flags);
    println!("undisturbed {:6.2} s", quiet.0.as_secs_f64());
    println!(
        "disturbed   {:6.2} s   {:.2} times as long; {} hostile acts meanwhile; server memory {:.1} MiB against {:.1} MiB",
        disturbed.0.as_secs_f64(),
        disturbed.0.as_secs_f64() / quiet.0.as_secs_f64(),
        disturbed.1,
        disturbed.2 as f64 / 1048576.0,
        quiet.2 as f64 / 1048576.0,
    );
}

/// Time of all honest devices, number of hostile acts meanwhile, memory of the server at the end. Flags call the hostile crew in.
fn honest(flags: &[&str]) -> (Duration, u64, u64) {
    let serve = Serve::start(flags);
    serve.deploy_to_all("all");
    let way = Way::to(&serve);
    let crew = (!flags.is_empty()).then(|| Crew::start(&serve));
    let began = Instant::now();
    block_on(async {
        let mut crowd = JoinSet::new();
        for number in 0..HONEST {
            if crowd.len() == CROWD {
                crowd.join_next().await.expect("there is one").expect("an update goes well");
            }
            let way = way.clone();
            crowd.spawn(async move { way.update(&format!("honest-{number}")).await.expect("an honest device ends") });
        }
        crowd.join_all().await;
    });
    let time = began.elapsed();
    let acts = crew.map_or(0, Crew::end);
    (time, acts, resident(serve.child.id()))
}

/// Hostile clients, one thread a kind.
struct Crew {
    stop: Arc<AtomicBool>,
    acts: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Crew {
    fn start(serve: &Serve) -> Crew {
        let (stop, acts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let kinds: [fn(SocketAddr); 3] = [half_open, garbage, dribble];
        let mut threads = Vec::new();
        for (kind, to) in kinds
            .into_iter()
            .flat_map(|kind| [(kind, serve.mqtt()), (kind, serve.images())])
        {
            let (stop, acts) = (Arc::clone(&stop), Arc::clone(&acts));
            threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    kind(to);
                    acts.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        Crew { stop, acts, threads }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
        self.acts.load(Ordering::Relaxed)
    }
}

/// Twenty connections that begin a handshake and hold it for a moment.
fn half_open(to: SocketAddr) {
    let held: Vec<_> = (0..20).filter_map(|_| TcpStream::connect(to).ok()).collect();
    held.iter().for_each(|mut stream| {
        let _refused = stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]);
    });
    std::thread::sleep(Duration::from_millis(100));
}

/// What is no TLS at all.
fn garbage(to: SocketAddr) {
    if let Ok(mut stream) = TcpStream::connect(to) {
        let _refused = stream.write_all(&[0xff; 4096]);
        let _closed = stream.set_read_timeout(Some(Duration::from_millis(100)));
        let _answer = stream.read(&mut [0; 64]);
    }
    std::thread::sleep(Duration::from_millis(5));
}

/// A byte at a time.
fn dribble(to: SocketAddr) {
    if let Ok(mut stream) = TcpStream::connect(to) {
        for byte in [0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3] {
            let _refused = stream.write_all(&[byte]);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
