//! Image requests over plain sockets, with the manifest that names them.

use std::io::Read;

use bytes::Bytes;
use squall::wire::ota::{CloudMessage, decode_cloud};

use super::mqtt::Client;
use super::rig::{Serve, open_request, request};

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
