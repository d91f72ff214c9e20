//! Changes that are refused, and what reads show.

use squall::mcuboot::{ImageSpec, Pattern, build_image};
use squall::model::{AdminAction, CohortRule, NewDevice, Selector, Tags};
use squall::server::AdminError;

use super::rig::{Rig, deploy_action, firmware, id, image, tag_action, tags};

fn refused(rig: &mut Rig, action: AdminAction) -> String {
    let records = rig.records.len();
    let error = rig.admin(action).expect_err("the change is not allowed");
    assert_eq!(
        (rig.take(), rig.records.len()),
        (vec![], records),
        "a refused change changes nothing"
    );
    error.to_string()
}

fn register(id: &str, tags: Tags) -> AdminAction {
    let id = id.into();
    AdminAction::RegisterDevices {
        devices: vec![NewDevice { id, tags }],
    }
}

fn cohort(name: &str, rule: &str) -> AdminAction {
    AdminAction::CreateCohort {
        cohort: name.into(),
        rule: CohortRule::Where(Selector::parse(rule).unwrap()),
    }
}

fn version(name: &str, image: bytes::Bytes) -> AdminAction {
    let firmware = firmware(name);
    AdminAction::CreateVersion {
        firmware,
        image: image.into(),
    }
}

#[test]
fn errors_name_thing_and_value() {
    let mut rig = Rig::stocked();
    rig.register("d1", &[]);
    rig.cohort("ruled", Some("tag.a:b"));
    rig.cohort("hand", None);
    rig.deploy("taken", "hand", "app@1.0.0");
    rig.take();
    let app = || "app".parse().unwrap();
    let to_all = || "all".into();
    let cases = [
        (AdminAction::CreateFirmware { slug: app() }, "firmware `app` exists already"),
        (
            AdminAction::CreateFirmware {
                slug: "a b".parse().unwrap(),
            },
            "slug: `a b` is not made of letters, digits, `.`, `_` and `-`",
        ),
        (version("none@1.0.0", image("x")), "unknown firmware `none`"),
        (version("app@1.0.0", image("other")), "version `app@1.0.0` exists already"),
        (version("app@9.0.0", bytes::Bytes::new()), "image: is empty"),
        (
            version("app@9 0", image("x")),
            "version: `9 0` may contain only letters, digits, `.`, `_`, `-` and `+`",
        ),
        (
            register("", Tags::new()),
            "devices: `` is not 1 to 128 bytes without control characters",
        ),
        (
            register("d2", tags(&[("k", "a b")])),
            "tags: `a b` is not 1 to 64 letters, digits, `.`, `_` and `-`",
        ),
        (cohort("ruled", "tag.a:b"), "cohort `ruled` exists already"),
        (cohort("all", "tag.a:b"), "cohort `all` exists already"),
        (
            cohort("Big", "tag.a:b"),
            "name: `Big` is not 1 to 32 of `a` to `z`, digits and `-`",
        ),
        (
            cohort("x", "fleet:a"),
            "where: a rule knows the keys `tag.K` and `device`, not `fleet`",
        ),
        (
            cohort("x", "5 of tag.a:b"),
            "where: a rule takes every device that matches; it cannot pick some of them",
        ),
        (
            AdminAction::ChangeCohort {
                cohort: to_all(),
                rule: CohortRule::ByHand,
            },
            "cohort `all` always holds every device",
        ),
        (
            AdminAction::Join {
                cohort: "ruled".into(),
                devices: vec!["d1".into()],
            },
            "the members of cohort `ruled` follow its rule `tag.a:b`",
        ),
        (
            AdminAction::Join {
                cohort: "hand".into(),
                devices: vec!["d1".into(), "nobody".into()],
            },
            "unknown device `nobody`",
        ),
        (
            AdminAction::Leave {
                cohort: "nowhere".into(),
                devices: vec![],
            },
            "unknown cohort `nowhere`",
        ),
        (tag_action(&["nobody"], &[("a", "b")]), "unknown device `nobody`"),
        (
            deploy_action("taken", "all", &["app@1.0.0"], None),
            "deployment `taken` exists already",
        ),
        (
            deploy_action("a/b", "all", &["app@1.0.0"], None),
            "name: `a/b` is not 1 to 64 letters, digits, `.`, `_` and `-`",
        ),
        (deploy_action("d", "x", &["app@1.0.0"], None), "unknown cohort `x`"),
        (
            deploy_action("d", "all", &[], None),
            "packages: 0 packages, a deployment has 1 to 32",
        ),
        (deploy_action("d", "all", &["none@1.0.0"], None), "unknown firmware `none`"),
        (deploy_action("d", "all", &["app@3.0.0"], None), "unknown version `app@3.0.0`"),
        (
            deploy_action("d", "all", &["app@1.0.0", "app@1.1.0"], None),
            "packages: `app` stands twice",
        ),
        (
            deploy_action("d", "all", &["app@1.0.0"], Some("modem")),
            "main: `modem` is none of the packages",
        ),
        (AdminAction::Cancel { deployment: "x".into() }, "unknown deployment `x`"),
    ];
    for (action, message) in cases {
        assert_eq!(refused(&mut rig, action), message);
    }
}

#[test]
fn tags_are_bounded_in_number() {
    let mut rig = Rig::stocked();
    let many: Tags = (0..65).map(|number| (format!("k{number}"), "v".to_owned())).collect();
    assert_eq!(
        refused(&mut rig, register("d", many)),
        "tags: 65 tags, a device has at most 64"
    );
}

#[test]
fn making_a_version_again_with_the_same_image_changes_nothing() {
    let mut rig = Rig::stocked();
    let records = rig.records.len();
    assert_eq!(rig.admin(version("app@1.0.0", image("app@1.0.0"))), Ok(()));
    assert_eq!(rig.records.len(), records);
}

#[test]
fn an_image_is_stored_once_and_its_build_id_read() {
    let spec = ImageSpec::new("app", "1.3.0".parse().unwrap(), 16 * 1024, Pattern::Zeros);
    let made = build_image(&spec).unwrap();
    let mut rig = Rig::stocked();
    let stored = |rig: &Rig| {
        let images = rig
            .records
            .iter()
            .filter(|(_, record)| matches!(record, squall::server::Record::ImageStored { .. }));
        images.count()
    };
    let before = stored(&rig);
    rig.must(version("app@1.3.0", made.clone()));
    rig.must(version("modem@1.3.0", made.clone()));
    assert_eq!(stored(&rig), before + 1);
    let view = rig.server.version(&firmware("modem@1.3.0")).unwrap();
    assert_eq!(
        (view.size_bytes, view.build_id.map(|id| id.len())),
        (made.len() as u64, Some(40))
    );
    let plain = rig.server.version(&firmware("app@1.0.0")).unwrap();
    assert_eq!(plain.build_id, None);
    // SHA-256 of "app@1.0.0" a hundred times, computed elsewhere.
    assert_eq!(
        plain.digest,
        "a609b6b15641fc00ae7142661ace5c55ddbb4f16a2ef4c10e5a8930f3831efc2"
    );
}

#[test]
fn views_come_in_pages() {
    let mut rig = Rig::stocked();
    for device in ["c", "a", "b"] {
        rig.register(device, &[]);
    }
    rig.deploy("up", "all", "app@1.1.0");
    let first = rig.server.devices(None, 2);
    let ids = |page: &[squall::wire::api::DeviceView]| page.iter().map(|view| view.id.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&first.items), first.next.as_deref()),
        (vec!["a".into(), "b".into()], Some("b"))
    );
    let second = rig.server.devices(Some(&"b".into()), 2);
    assert_eq!((ids(&second.items), second.next), (vec!["c".into()], None));
    let attempts = rig.server.deployment_attempts(&"up".into(), None, Some(id(1001)), 1).unwrap();
    assert_eq!((attempts.items[0].id, attempts.next.as_deref()), (id(1002), Some("1002")));
    assert!(rig.server.deployment_attempts(&"no".into(), None, None, 1).is_none());
    let firmware = rig.server.firmware();
    assert_eq!(
        firmware
            .iter()
            .map(|view| (view.slug.as_str(), view.versions.len()))
            .collect::<Vec<_>>(),
        [("app", 3), ("modem", 1)]
    );
}

#[test]
fn an_unknown_thing_is_told_from_a_conflict() {
    let mut rig = Rig::stocked();
    let error = rig.admin(AdminAction::Cancel { deployment: "x".into() });
    assert!(matches!(error, Err(AdminError::Unknown { noun: "deployment", .. })));
}
