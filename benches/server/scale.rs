//! Many devices at once: memory of a connected one, time to offer, time of pages.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::client::{Device, Way};
use super::process::{block_on, resident};
use super::rig::{Serve, image};

/// Devices that are connected.
const CONNECTED: u32 = 15_000;
/// Devices that are registered, those among them.
const REGISTERED: u32 = 100_000;
/// Devices of one registration request.
const REGISTER_AT_ONCE: u32 = 10_000;
/// Connections that are being opened at once.
const CROWD: usize = 64;

pub fn memory() {
    println!("server memory of a connected device, {CONNECTED} subscribed to both topics, registration included");
    for (what, flags, goal) in [("plain", ["--tls", "off"], 6.0), ("TLS", ["--tls", "auto"], 16.0)] {
        let serve = Serve::start(&flags);
        let way = Way::to(&serve);
        // The first ones bring what does not grow with their number.
        let warm = block_on(async { connect(&way, "warm", 100).await.len() });
        let before = resident(serve.child.id());
        let after = block_on(async {
            let devices = connect(&way, "device", CONNECTED).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let after = resident(serve.child.id());
            let metrics = serve.ask("GET", "/metrics", "").text();
            let online = format!("squall_devices_online {CONNECTED}\n");
            assert!(metrics.contains(&online), "not every device is online: {metrics}");
            drop(devices);
            after
        });
        let kib = (after - before) as f64 / 1024.0 / f64::from(CONNECTED);
        println!(
            "{what:6} {kib:6.2} KiB a device ({:.0} % of {goal} KiB); {:.1} MiB with {warm} before, {:.1} MiB after",
            100.0 * kib / goal,
            before as f64 / 1048576.0,
            after as f64 / 1048576.0,
        );
    }
}

pub fn offers_and_pages() {
    let serve = Serve::start(&["--tls", "off"]);
    let way = Way::to(&serve);
    let began = Instant::now();
    for first in (0..REGISTERED).step_by(REGISTER_AT_ONCE as usize) {
        let devices: Vec<String> = (first..first + REGISTER_AT_ONCE)
            .map(|number| format!(r#"{{"id":"device-{number:06}","tags":{{"region":"r{}"}}}}"#, number % 7))
            .collect();
        serve.done("POST", "/v1/devices", format!(r#"{{"devices":[{}]}}"#, devices.join(",")));
    }
    println!("{REGISTERED} devices registered in {:.2} s", began.elapsed().as_secs_f64());
    serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
    serve.done("PUT", "/v1/firmware/app/versions/1.1.0", image("1.1.0", 40_000));
    block_on(async {
        let began = Instant::now();
        let devices = connect(&way, "device", CONNECTED).await;
        let connecting = began.elapsed();
        let mut waiting = JoinSet::new();
        for mut device in devices {
            waiting.spawn(async move {
                device.manifest().await.expect("a manifest comes");
                device
            });
        }
        let began = Instant::now();
        let deploying = tokio::task::spawn_blocking(move || {
            let body = r#"{"name":"all","cohort":"all","packages":["app@1.1.0"],"main":"app"}"#;
            serve.done("POST", "/v1/deployments", body);
            (serve, began.elapsed())
        });
        let mut devices = Vec::new();
        while let Some(device) = waiting.join_next().await {
            devices.push(device.expect("it got its manifest"));
        }
        let offering = began.elapsed();
        let (serve, answered) = deploying.await.expect("the deployment was made");
        println!(
            "{CONNECTED} connected in {:.2} s, of {REGISTERED} registered; memory {:.1} MiB",
            connecting.as_secs_f64(),
            resident(serve.child.id()) as f64 / 1048576.0
        );
        println!(
            "deployment to all of them answered after {:.2} s; offers to all {CONNECTED} connected out and received after {:.2} s ({:.0} % of 5 s)",
            answered.as_secs_f64(),
            offering.as_secs_f64(),
            100.0 * offering.as_secs_f64() / 5.0
        );
        tokio::task::spawn_blocking(move || pages(&serve)).await.expect("pages come");
        drop(devices);
    });
}

fn pages(serve: &Serve) {
    for path in [
        "/v1/devices?limit=100",
        "/v1/devices?limit=100&after=device-050000",
        "/v1/devices/device-000001",
        "/v1/deployments",
        "/v1/deployments/all",
        "/v1/deployments/all/attempts?limit=100",
        "/v1/deployments/all/attempts?limit=100&after=50000",
        "/v1/cohorts/all/members?limit=100",
        "/v1/cohorts",
        "/v1/devices?limit=100&tag=region:r3",
        "/v1/devices?limit=100&state=succeeded",
        "/v1/devices?limit=100&version=app@9.9.9",
        "/v1/devices?limit=100&cohort=none",
    ] {
        let mut times: Vec<Duration> = (0..30)
            .map(|_| {
                let began = Instant::now();
                serve.done("GET", path, "");
                began.elapsed()
            })
            .collect();
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        println!("{:7.1} ms median, {:7.1} ms most   {path}", ms(times[15]), ms(times[29]));
    }
}

/// Devices `PREFIX-000000` and so on, online.
async fn connect(way: &Way, prefix: &str, count: u32) -> Vec<Device> {
    let mut crowd = JoinSet::new();
    let mut devices = Vec::with_capacity(count as usize);
    for number in 0..count {
        if crowd.len() == CROWD {
            devices.push(crowd.join_next().await.expect("there is one").expect("it does not panic"));
        }
        let (way, name) = (way.clone(), format!("{prefix}-{number:06}"));
        crowd.spawn(async move { way.online(&name).await.expect("a device connects") });
    }
    devices.extend(crowd.join_all().await);
    devices
}
