//! What the cores cost, and how that grows over four sizes: `cargo bench --bench cores [PART]`.
//!
//! Parts: `wire` (a manifest coded and read), `device` (one update, flash and boots), `server` (a deployment to a fleet), `queue` (an hour
//! of keep-alives, by the reference and by the fast queue), `histogram` (values taken, quantiles told), `link` (a download over a slow
//! path). All of it in virtual time, on one thread, without a socket.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use squall::measure::Trend;
use squall::model::{AdminAction, Artifact, AttemptId, CohortName, IngestKey, Manifest, NewDevice, Secret, Url};
use squall::scenario::{Overrides, Plan, Source, load};
use squall::server::{Limits, RequestId, Server, ServerConfig, ServerInput};
use squall::sim::{QueueKind, play, play_with};
use squall::time::SimTime;
use squall::wire::ota::{CloudMessage, decode_cloud, encode_cloud};

fn plan(text: &str) -> Arc<Plan> {
    Arc::new(load(Source::Stdin(text.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}")))
}

fn wire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    for artifacts in [1, 4, 16, 32_u64] {
        let artifact = |number: u64| Artifact {
            slug: format!("app-{number}").parse().expect("a slug"),
            main: number == 0,
            url: Url::new(format!("https://127.0.0.1:8443/a/7/{number}")).expect("a short URL"),
            secret: Secret::new("q7Zk2mXw9RtB4nVc8LdY1pHs").expect("24 characters"),
            version: "1.1.0".parse().expect("a version"),
        };
        let manifest = CloudMessage::UpdateArtifacts {
            attempt: AttemptId::FIRST,
            manifest: Manifest {
                canceled: false,
                artifacts: (0..artifacts).map(artifact).collect(),
            },
        };
        group.throughput(Throughput::Elements(artifacts));
        group.bench_with_input(BenchmarkId::new("manifest", artifacts), &manifest, |bencher, manifest| {
            bencher.iter(|| decode_cloud(&encode_cloud(black_box(manifest)), 32));
        });
    }
    group.finish();
}

/// One device that updates over this link.
fn update(kib: u64, link: &str) -> Arc<Plan> {
    plan(&format!(
        r#"
scenario = {{ duration = "2h", trace = "off" }}
firmware.app = {{ "1.0.0" = {{}}, "1.1.0" = {{ size = "{kib} KiB" }} }}
fleet.one = {{ count = 1, runs = "app@1.0.0", link = "{link}", connack_timeout = "10s", flash = {{ like = "nrf52840", size = "8 MiB", slot = "3 MiB", page = "32 KiB" }} }}
step = [{{ at = "1s", deploy = "app@1.1.0", to = "all" }}]
"#
    ))
}

fn updates(criterion: &mut Criterion, name: &str, link: &str) {
    let mut group = criterion.benchmark_group(name);
    for kib in [16, 64, 256, 1_024] {
        let plan = update(kib, link);
        group.throughput(Throughput::Bytes(kib << 10));
        group.bench_with_input(BenchmarkId::new("update", format!("{kib} KiB")), &plan, |bencher, plan| {
            bencher.iter(|| play(Arc::clone(plan)).elapsed);
        });
    }
    group.finish();
}

fn device(criterion: &mut Criterion) {
    updates(criterion, "device", "lan");
}

fn link(criterion: &mut Criterion) {
    updates(criterion, "link", "nb-iot");
}

/// A server that knows so many devices and one version.
fn server_of(devices: u32) -> Server {
    let mut server = Server::new(ServerConfig {
        ingest_keys: vec![IngestKey::new("a-key").hash()],
        artifact_key: [7; 32],
        image_base: "https://images.test".into(),
        chase: Duration::from_secs(30),
        first_attempt: AttemptId::FIRST,
        limits: Limits::default(),
        deadline: None,
        epoch_ms: 0,
        keep_history: false,
    });
    let registered = (0..devices).map(|number| NewDevice {
        id: format!("meter-{number:06}").as_str().into(),
        tags: [].into(),
    });
    let setup = [
        AdminAction::CreateFirmware {
            slug: "app".parse().expect("a slug"),
        },
        AdminAction::CreateVersion {
            firmware: "app@1.1.0".parse().expect("a version"),
            image: bytes::Bytes::from_static(b"an image").into(),
        },
        AdminAction::RegisterDevices {
            devices: registered.collect(),
        },
    ];
    setup.into_iter().for_each(|action| ask(&mut server, action));
    server
}

fn ask(server: &mut Server, action: AdminAction) {
    let request = RequestId(0);
    let mut outputs = Vec::new();
    server.handle_input(ServerInput::Admin { request, action }, SimTime::ZERO, &mut outputs);
    black_box(outputs);
}

fn server(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("server");
    group.sample_size(10);
    for devices in [100, 1_000, 10_000, 100_000] {
        group.throughput(Throughput::Elements(devices.into()));
        group.bench_function(BenchmarkId::new("deploy", devices), |bencher| {
            let deploy = |mut server: Server| {
                ask(
                    &mut server,
                    AdminAction::Deploy {
                        deployment: "one".into(),
                        cohort: CohortName::all(),
                        packages: vec!["app@1.1.0".parse().expect("a version")],
                        main: None,
                    },
                );
                server
            };
            bencher.iter_batched(|| server_of(devices), deploy, criterion::BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    group.sample_size(10);
    for devices in [10, 100, 1_000, 10_000_u64] {
        let plan = plan(&format!(
            r#"
scenario = {{ duration = "1h", ends = "duration", trace = "off" }}
firmware.app = ["1.0.0"]
fleet.quiet = {{ count = {devices}, runs = "app@1.0.0", arrive = "over 1m" }}
"#
        ));
        group.throughput(Throughput::Elements(devices));
        for (name, kind) in [("heap", QueueKind::Heap), ("wheel", QueueKind::Wheel)] {
            group.bench_with_input(BenchmarkId::new(name, devices), &plan, |bencher, plan| {
                bencher.iter(|| play_with(Arc::clone(plan), kind).elapsed);
            });
        }
    }
    group.finish();
}

fn histogram(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("histogram");
    for values in [100, 1_000, 10_000, 100_000_u64] {
        group.throughput(Throughput::Elements(values));
        group.bench_function(BenchmarkId::new("take", values), |bencher| {
            bencher.iter(|| Trend::of_counts((0..values).map(|value| (value * 997 % 60_000_000, 1))));
        });
        let trend = Trend::of_counts((0..values).map(|value| (value * 997 % 60_000_000, 1)));
        group.bench_with_input(BenchmarkId::new("quantiles", values), &trend, |bencher, trend| {
            bencher.iter(|| trend.percentiles([50.0, 90.0, 95.0, 99.0, 99.9]));
        });
    }
    group.finish();
}

criterion_group!(cores, wire, device, server, queue, histogram, link);
criterion_main!(cores);
