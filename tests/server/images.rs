//! Images over HTTP: what a request with or without the right secret and range is answered.

use squall::model::{AdminAction, Manifest};
use squall::server::Server;
use squall::wire::{ContentRange, ImageAnswer, ImageRequest};

use super::rig::{Rig, config, deploy_action, firmware, image};

/// A server with a two-package attempt, and its manifest as the device got it.
fn offered() -> (Rig, Manifest) {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.must(deploy_action("two", "all", &["modem@2.0.0", "app@1.1.0"], Some("app")));
    let (_, manifest) = rig.manifest();
    (rig, manifest)
}

fn header(manifest: &Manifest, index: usize) -> String {
    let secret = manifest.artifacts[index].secret.as_bytes();
    format!("OtaSecret {}", std::str::from_utf8(secret).unwrap())
}

fn request(server: &Server, path: &str, authorization: Option<&str>, range: Option<&str>) -> ImageAnswer {
    server.serve_image(&ImageRequest {
        path,
        authorization,
        range,
    })
}

fn status(server: &Server, path: &str, authorization: Option<&str>) -> u16 {
    request(server, path, authorization, None).status
}

#[test]
fn the_manifest_opens_exactly_its_images() {
    let (rig, manifest) = offered();
    for (index, version) in ["modem@2.0.0", "app@1.1.0"].into_iter().enumerate() {
        let url = manifest.artifacts[index].url.to_string();
        let path = url.strip_prefix("https://images.test:8443").unwrap();
        let answer = request(&rig.server, path, Some(&header(&manifest, index)), None);
        assert_eq!(
            (answer.status, answer.content_range, answer.body),
            (200, None, image(version))
        );
    }
}

#[test]
fn a_range_is_answered_with_its_part() {
    let (rig, manifest) = offered();
    let total = image("modem@2.0.0").len() as u64;
    let answer = request(&rig.server, "/a/1001/0", Some(&header(&manifest, 0)), Some("bytes=300-"));
    let content_range = Some(ContentRange {
        first: 300,
        last: total - 1,
        total,
    });
    assert_eq!((answer.status, answer.content_range), (206, content_range));
    assert_eq!(answer.body, image("modem@2.0.0").slice(300..));
    let beyond = request(&rig.server, "/a/1001/0", Some(&header(&manifest, 0)), Some("bytes=1100-"));
    assert_eq!(
        (beyond.status, beyond.unsatisfied_total, beyond.body.len()),
        (416, Some(total), 0)
    );
}

#[test]
fn a_missing_secret_is_401_and_a_wrong_one_403() {
    let (mut rig, manifest) = offered();
    let good = header(&manifest, 0);
    for missing in [None, Some(""), Some("OtaSecret"), Some("Bearer x"), Some("otasecret x")] {
        assert_eq!(status(&rig.server, "/a/1001/0", missing), 401, "{missing:?}");
    }
    let shorter = &good[.."OtaSecret ".len() + 4];
    let longer = format!("{good}A");
    for wrong in [
        "OtaSecret ",
        "OtaSecret x",
        shorter,
        &longer,
        &header(&manifest, 1),
        &good.replace("OtaSecret ", "OtaSecret  "),
    ] {
        assert_eq!(status(&rig.server, "/a/1001/0", Some(wrong)), 403, "{wrong}");
    }
    rig.online(2, "d2");
    rig.deploy("next", "all", "app@1.1.0");
    assert_eq!(
        status(&rig.server, "/a/1003/0", Some(&good)),
        403,
        "the secret of another device's attempt"
    );
}

#[test]
fn what_names_no_artifact_is_404() {
    let (rig, manifest) = offered();
    let good = header(&manifest, 0);
    for path in ["/a/1001/2", "/a/1002/0", "/a/1001", "/a/1001/0/x", "/", "/a/x/0"] {
        assert_eq!(status(&rig.server, path, Some(&good)), 404, "{path}");
    }
}

#[test]
fn a_secret_outlives_its_attempt_and_its_server() {
    let (mut rig, manifest) = offered();
    rig.results(1, 1001, &[0, 1], &[], &[]);
    let good = header(&manifest, 0);
    assert_eq!(status(&rig.server, "/a/1001/0", Some(&good)), 200);
    let restored = Server::restore(config(), rig.records);
    assert_eq!(status(&restored, "/a/1001/0", Some(&good)), 200);
}

#[test]
fn urls_stay_within_the_protocols_limit() {
    let mut config = config();
    config.image_base = format!("https://{}", "x".repeat(squall::server::ServerConfig::IMAGE_BASE_MAX - 8));
    config.first_attempt = super::rig::id(u64::MAX);
    let mut rig = Rig::with(Server::new(config));
    let slug = "app".parse().unwrap();
    rig.must(AdminAction::CreateFirmware { slug });
    rig.must(AdminAction::CreateVersion {
        firmware: firmware("app@1.1.0"),
        image: image("x").into(),
    });
    rig.online(1, "d1");
    rig.deploy("up", "all", "app@1.1.0");
    let (_, manifest) = rig.manifest();
    assert_eq!(
        manifest.artifacts[0].url.as_bytes().len(),
        127,
        "one digit of the index is spare"
    );
}

#[test]
fn a_configuration_shows_no_secret() {
    let shown = format!("{:?}", config());
    assert!(!shown.contains(super::rig::KEY) && !shown.contains("7, 7"), "{shown}");
}
