//! Image bytes: our server against a bare one of the same HTTP library, both in processes of their own, by turns.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{Way, fetch};
use super::process::{block_on, cpu};
use super::rig::{Serve, image};

/// Downloads at once.
const CROWD: usize = 32;
/// Rounds of each server, by turns.
const ROUNDS: usize = 6;

pub fn measure() {
    println!("image bytes in plain HTTP, a connection a request, {CROWD} at once, {ROUNDS} rounds by turns");
    for (size, requests) in [(64 * 1024, 3_000), (1024 * 1024, 400), (8 * 1024 * 1024, 60)] {
        let serve = Serve::start(&["--tls", "off"]);
        serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
        serve.done("PUT", "/v1/firmware/app/versions/1.1.0", image("1.1.0", size as u64));
        let body = r#"{"name":"all","cohort":"all","packages":["app@1.1.0"],"main":"app"}"#;
        serve.done("POST", "/v1/deployments", body);
        let way = Way::to(&serve);
        let (path, secret) = block_on(async {
            let mut device = way.online("device").await.expect("a device connects");
            let (_, manifest) = device.manifest().await.expect("a manifest comes");
            let artifact = &manifest.artifacts[0];
            let url = artifact.url.to_string();
            let path = url[serve.ready.images.len()..].to_owned();
            (path, String::from_utf8_lossy(artifact.secret.as_bytes()).into_owned())
        });
        let bare = Bare::start(size);
        let (mut ours, mut theirs) = (Figures::default(), Figures::default());
        for _ in 0..ROUNDS {
            theirs.add(bare.child.id(), bare.address, "/", "none", size, requests);
            ours.add(serve.child.id(), serve.images(), &path, &secret, size, requests);
        }
        println!(
            "{:5} KiB   squall {:6.0} MB/s, {:6.1} us CPU a request   bare hyper {:6.0} MB/s, {:6.1} us   squall moves {:.0} %",
            size / 1024,
            ours.rate(),
            ours.cost(),
            theirs.rate(),
            theirs.cost(),
            100.0 * ours.rate() / theirs.rate()
        );
    }
}

#[derive(Default)]
struct Figures {
    bytes: u64,
    requests: u32,
    time: Duration,
    cpu: Duration,
}

impl Figures {
    fn add(&mut self, pid: u32, to: SocketAddr, path: &str, secret: &str, size: usize, requests: u32) {
        let (began, before) = (Instant::now(), cpu(pid));
        block_on(async {
            let mut crowd = JoinSet::new();
            for _ in 0..requests {
                if crowd.len() == CROWD {
                    crowd.join_next().await.expect("there is one").expect("a download goes well");
                }
                let (path, secret) = (path.to_owned(), secret.to_owned());
                crowd.spawn(async move {
                    let stream = TcpStream::connect(to).await.expect("the server listens");
                    let length = fetch(Box::pin(stream), &path, &secret).await.expect("an image comes");
                    assert_eq!(length, size);
                });
            }
            crowd.join_all().await;
        });
        self.time += began.elapsed();
        self.cpu += cpu(pid) - before;
        self.requests += requests;
        self.bytes += u64::from(requests) * size as u64;
    }

    fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.time.as_secs_f64()
    }

    fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / f64::from(self.requests)
    }
}

/// The bare server, this program in another role.
struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    fn start(size: usize) -> Bare {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .args(["bare-server", &size.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts again");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().parse().expect("an address");
        Bare { child, address }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Serves the same bytes to every request, on as many threads as our server has for images.
pub fn serve_bare(size: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    listener.set_nonblocking(true).expect("a listener can be");
    println!("{}", listener.local_addr().expect("it is bound"));
    let body = Bytes::from(vec![0x5a; size]);
    let serve = |listener: TcpListener, body: Bytes| {
        block_on::<Infallible>(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _best_effort = stream.set_nodelay(true);
                let body = body.clone();
                tokio::spawn(async move {
                    let answer = service_fn(|_| {
                        let answer = Response::new(Full::new(body.clone()));
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ended_by_the_client = http.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        })
    };
    let threads = [(); 2].map(|()| {
        let (listener, body) = (listener.try_clone().expect("a listener"), body.clone());
        std::thread::spawn(move || serve(listener, body))
    });
    threads.into_iter().for_each(|thread| drop(thread.join()));
}
