//! Image requests over plain sockets, with the manifest that names them.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use squall::wire::ota::{CloudMessage, decode_cloud};

use super::mqtt::Client;
use super::rig::{Serve, address, open_request, request};

/// Path and `Authorization` of the image that a device is offered.
pub fn offered(serve: &Serve, device: &str) -> (String, String) {
    let mut client = Client::connect(serve, device);
    client.subscribe("ota-cbor-c2d");
    let manifest = manifest(&client.publish_received());
    let artifact = &manifest.artifacts[0];
    let url = artifact.url.to_string();
    let path = url
        .strip_prefix(&serve.ready.images)
        .expect("images are where the ready line says")
        .to_owned();
    (path, format!("OtaSecret {}", squall_secret(&artifact.secret)))
}

fn squall_secret(secret: &squall::model::Secret) -> String {
    String::from_utf8(secret.as_bytes().to_vec()).unwrap()
}

pub fn manifest(payload: &Bytes) -> squall::model::Manifest {
    match decode_cloud(payload, 4) {
        Ok(CloudMessage::UpdateArtifacts { manifest, .. }) => manifest,
        other => panic!("no manifest: {other:?}"),
    }
}

#[test]
fn an_image_is_served_whole_or_in_part_to_who_has_the_secret() {
    let serve = Serve::start(&["--tls", "off"]);
    let image = serve.deploy_to_all("d");
    let (path, secret) = offered(&serve, "meter-1");
    let get = |headers: &[(&str, &str)]| request(serve.images(), "GET", &path, headers, b"");

    let whole = get(&[("Authorization", &secret)]);
    assert_eq!((whole.status, whole.body == image), (200, true));
    let part = get(&[("Authorization", &secret), ("Range", "bytes=100-199")]);
    assert_eq!(
        (part.status, part.header("content-range"), part.body.as_slice()),
        (206, Some("bytes 100-199/40000"), &image[100..200])
    );
    let rest = get(&[("Authorization", &secret), ("Range", "bytes=39990-")]);
    assert_eq!(
        (rest.status, rest.header("content-range"), rest.body.as_slice()),
        (206, Some("bytes 39990-39999/40000"), &image[39_990..])
    );
    let beyond = get(&[("Authorization", &secret), ("Range", "bytes=40000-")]);
    assert_eq!(
        (beyond.status, beyond.header("content-range"), beyond.body.len()),
        (416, Some("bytes */40000"), 0)
    );

    let stranger = get(&[]);
    assert_eq!(
        (stranger.status, stranger.header("www-authenticate"), stranger.body.len()),
        (401, Some("OtaSecret"), 0)
    );
    assert_eq!(get(&[("Authorization", "OtaSecret AAAAAAAAAAAAAAAAAAAAAAAA")]).status, 403);
    assert_eq!(
        request(serve.images(), "GET", "/a/1/9", &[("Authorization", &secret)], b"").status / 100,
        4
    );
    assert_eq!(
        request(serve.images(), "POST", &path, &[("Authorization", &secret)], b"").status,
        405
    );
    let head = request(serve.images(), "HEAD", &path, &[("Authorization", &secret)], b"");
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, Some("40000"), 0)
    );
}

#[test]
fn a_download_cut_in_the_middle_resumes_by_range() {
    let serve = Serve::start(&["--tls", "off"]);
    let image = serve.deploy_to_all("d");
    let (path, secret) = offered(&serve, "meter-1");
    let mut got = Vec::new();
    let mut requests = 0;
    while got.len() < image.len() {
        requests += 1;
        let range = format!("bytes={}-", got.len());
        let mut stream = open_request(
            serve.images(),
            "GET",
            &path,
            &[("Authorization", &secret), ("Range", &range)],
            b"",
        );
        let mut bytes = vec![0; 9_000];
        let mut filled = 0;
        while filled < bytes.len() {
            match stream.read(&mut bytes[filled..]).unwrap() {
                0 => break,
                read => filled += read,
            }
        }
        let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert!(bytes.starts_with(b"HTTP/1.1 206 "));
        got.extend_from_slice(&bytes[head_end..filled]);
    }
    assert!(requests >= 5, "only {requests} requests, nothing was cut");
    assert!(got == image);
}

/// What a process holds in memory of its own, bytes; what it has mapped of files is the kernel's to take back.
fn own_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn an_image_of_64_mib_is_received_kept_and_served_without_being_held() {
    const SIZE: usize = 64 << 20;
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let stored = ["--tls", "off", "--store", store.to_str().unwrap()];
    let image: Vec<u8> = (0..SIZE as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let digest = Sha256::digest(&image);
    let promised = format!("sha-256=:{}:", BASE64_STANDARD.encode(digest));
    for flags in [&stored[..], &stored[..2]] {
        let serve = Serve::start(flags);
        let before = own_memory(serve.child.id());
        let over = AtomicBool::new(false);
        let peak = std::thread::scope(|scope| {
            let peak = scope.spawn(|| {
                let mut peak = 0;
                while !over.load(Ordering::Relaxed) {
                    peak = peak.max(own_memory(serve.child.id()));
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                peak
            });
            serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
            let upload = |digest: &str, image: &[u8]| {
                let bearer = format!("Bearer {}", serve.credentials.token);
                let headers = [("Authorization", bearer.as_str()), ("Content-Digest", digest)];
                request(
                    address(&serve.ready.admin),
                    "PUT",
                    "/v1/firmware/app/versions/1.1.0",
                    &headers,
                    image,
                )
            };
            assert_eq!(upload(&promised, &image[1..]).status, 422);
            let kept = upload(&promised, &image);
            assert_eq!(kept.status, 201, "{}", kept.text());
            let deploy = r#"{"name":"d","cohort":"all","packages":["app@1.1.0"],"main":"app"}"#;
            serve.done("POST", "/v1/deployments", deploy);
            let (path, secret) = offered(&serve, "meter-1");
            let whole = request(serve.images(), "GET", &path, &[("Authorization", &secret)], b"");
            assert!(whole.body == image, "{} bytes", whole.body.len());
            over.store(true, Ordering::Relaxed);
            peak.join().unwrap()
        });
        assert!(peak < before + (16 << 20), "{peak} bytes, {before} before");
    }
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut files: Vec<_> = ["images", "uploads"]
        .iter()
        .flat_map(|folder| store.join(folder).read_dir().unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, [hex]);
    // A server that finds it there looks at every byte and holds none.
    let again = Serve::start(&stored);
    assert!(
        own_memory(again.child.id()) < 48 << 20,
        "{} bytes",
        own_memory(again.child.id())
    );
    let (path, secret) = offered(&again, "meter-2");
    let part = request(
        again.images(),
        "GET",
        &path,
        &[("Authorization", &secret), ("Range", "bytes=67108000-")],
        b"",
    );
    assert_eq!((part.status, part.body.as_slice()), (206, &image[67_108_000..]));
}
