//! imgtool (PyPI) as the oracle: it accepts what we make, we accept what it makes, and what can be the same is the same to the byte.

use std::path::Path;
use std::process::Command;

use squall::mcuboot::{
    Dependency, Hex, ImageInfo, ImageSpec, Pattern, SignatureVerdict, SigningKey, Slot, TlvKind, VerifyingKey, build_image,
    inspect, security_counter, slice_reader,
};

use crate::foreign_tool;

use super::tools::{KEYS, Keys, imgtool_verify, run};

/// What an image has beside its content: the spec's side and imgtool's arguments for the same.
#[derive(Clone)]
struct Variant {
    protected: Vec<(TlvKind, Vec<u8>)>,
    slot: Option<Slot>,
    arguments: &'static str,
}

#[test]
fn imgtool_accepts_every_kind_of_image_that_we_make() {
    if !(foreign_tool("imgtool") && foreign_tool("openssl")) {
        return;
    }
    let keys = Keys::made();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.bin");
    let mut variants = variants().into_iter().cycle();
    for (scheme, name) in named_keys() {
        let key = signing_key(&keys, name);
        assert_eq!(key.scheme().word(), scheme);
        for _ in 0..2 {
            let variant = variants.next().unwrap();
            let image = build_image(&spec(&variant, Some(key.clone()))).unwrap();
            std::fs::write(&path, &image).unwrap();
            let (accepted, said) = imgtool_verify(&path, Some(&keys.public(name)));
            let digest = Hex(&ImageInfo::read(slice_reader(&image)).unwrap().digest).to_string();
            assert!(
                accepted && said.contains("3.4.5+6") && said.contains(&digest),
                "{name}: {said}"
            );
        }
    }
    for variant in self::variants() {
        let mut image = build_image(&spec(&variant, None)).unwrap().to_vec();
        std::fs::write(&path, &image).unwrap();
        let (accepted, said) = imgtool_verify(&path, None);
        assert!(accepted, "{said}");
        image[0x210] ^= 1;
        std::fs::write(&path, &image).unwrap();
        let (accepted, said) = imgtool_verify(&path, None);
        assert!(!accepted, "{said}");
    }
}

#[test]
fn imgtool_tells_one_key_from_another_as_we_do() {
    if !(foreign_tool("imgtool") && foreign_tool("openssl")) {
        return;
    }
    let keys = Keys::made();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.bin");
    let plain = variants().remove(0);
    for (own, other) in [
        ("ed25519", "ed25519-imgtool"),
        ("ec", "ec-params"),
        ("rsa", "rsa-imgtool"),
        ("rsa", "ec"),
    ] {
        let image = build_image(&spec(&plain, Some(signing_key(&keys, own)))).unwrap();
        std::fs::write(&path, &image).unwrap();
        let (accepted, said) = imgtool_verify(&path, Some(&keys.public(other)));
        assert!(!accepted, "{own}, {other}: {said}");
        let seen = inspect(&image, Some(&verifying_key(&keys, other)), None, 4);
        assert!(matches!(seen.signature, Some(SignatureVerdict::Bad(_))), "{own}, {other}");
    }
}

#[test]
fn we_accept_what_imgtool_signs() {
    if !(foreign_tool("imgtool") && foreign_tool("openssl")) {
        return;
    }
    let keys = Keys::made();
    let folder = tempfile::tempdir().unwrap();
    let with_old_padding = Variant {
        arguments: "--pad-sig",
        ..variants().remove(0)
    };
    let mut variants: Vec<_> = variants();
    variants.push(with_old_padding);
    let mut variants = variants.into_iter().cycle();
    for (_, name) in named_keys() {
        for _ in 0..2 {
            let variant = variants.next().unwrap();
            let image = by_imgtool(folder.path(), &spec(&variant, None), &variant, Some(&keys.private(name)));
            let key = verifying_key(&keys, name);
            let seen = inspect(&image, Some(&key), None, variant.slot.map_or(4, |slot| slot.align));
            assert_eq!(seen.defects, [], "{name} {}", variant.arguments);
            assert_eq!(seen.signature, Some(SignatureVerdict::Good(key.scheme())));
            assert_eq!(seen.trailer.is_some(), variant.slot.is_some(), "{name} {}", variant.arguments);
        }
    }
}

#[test]
fn images_that_can_be_reproduced_are_imgtool_s_to_the_byte() {
    if !(foreign_tool("imgtool") && foreign_tool("openssl")) {
        return;
    }
    let keys = Keys::made();
    let folder = tempfile::tempdir().unwrap();
    for (number, variant) in variants().iter().enumerate() {
        let name = ["ed25519", "ed25519-imgtool"][number % 2];
        for key in [None, Some(name)] {
            // The size counts the signature too; the payload is to be that of the unsigned image.
            let unsigned = spec(variant, None);
            let ours = build_image(&ImageSpec {
                size: unsigned.size + if key.is_some() { SIGNATURE_AREA } else { 0 },
                signed_by: key.map(|name| signing_key(&keys, name)),
                ..unsigned.clone()
            });
            let path = key.map(|name| keys.private(name));
            let theirs = by_imgtool(folder.path(), &unsigned, variant, path.as_deref());
            assert!(ours.unwrap() == theirs, "{} {key:?}", variant.arguments);
        }
    }
}

#[test]
fn key_hashes_are_imgtool_s() {
    if !(foreign_tool("imgtool") && foreign_tool("openssl")) {
        return;
    }
    let keys = Keys::made();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hash");
    for (_, name) in named_keys() {
        run(Command::new("imgtool")
            .args(["getpubhash", "-e", "raw", "-k"])
            .arg(keys.public(name))
            .arg("-o")
            .arg(&path));
        assert_eq!(verifying_key(&keys, name).hash()[..], std::fs::read(&path).unwrap(), "{name}");
        assert_eq!(signing_key(&keys, name).verifying_key(), verifying_key(&keys, name));
    }
}

/// Bytes of key hash and Ed25519 signature with their heads.
const SIGNATURE_AREA: u64 = 4 + 32 + 4 + 64;

fn variants() -> Vec<Variant> {
    let slot = |align, confirmed| {
        Some(Slot {
            size: 0x10000,
            align,
            confirmed,
        })
    };
    let dependency = |image, version: &str| {
        let version = version.parse().unwrap();
        (TlvKind::DEPENDENCY, Dependency { image, version }.to_bytes())
    };
    let counter = |number| (TlvKind::SECURITY_COUNTER, security_counter(number));
    let variant = |protected, slot, arguments| Variant {
        protected,
        slot,
        arguments,
    };
    vec![
        variant(vec![], None, ""),
        variant(vec![counter(77)], slot(4, false), "-s 77 --pad --align 4"),
        variant(
            vec![dependency(1, "2.0.0")],
            slot(4, true),
            "-d (1,2.0.0) --pad --confirm --align 4",
        ),
        variant(
            vec![counter(5), dependency(1, "2.0.1+7"), dependency(2, "0.1.0")],
            slot(8, true),
            "-s 5 -d (1,2.0.1+7),(2,0.1.0) --pad --confirm --align 8",
        ),
        variant(vec![], slot(1, false), "--pad --align 1"),
        variant(vec![], slot(16, true), "--pad --confirm --align 16"),
        variant(vec![counter(u32::MAX)], slot(32, false), "-s 4294967295 --pad --align 32"),
    ]
}

fn spec(variant: &Variant, signed_by: Option<SigningKey>) -> ImageSpec {
    ImageSpec {
        protected: variant.protected.clone(),
        slot: variant.slot,
        signed_by,
        ..ImageSpec::new("app", "3.4.5+6".parse().unwrap(), 5001, Pattern::Random { seed: 3 })
    }
}

/// What imgtool makes of the payload of `spec`, which is not signed.
fn by_imgtool(folder: &Path, spec: &ImageSpec, variant: &Variant, key: Option<&Path>) -> Vec<u8> {
    let ours = build_image(spec).unwrap();
    let header = ImageInfo::read(slice_reader(&ours)).unwrap().header;
    let (start, end) = (usize::from(header.header_size), header.payload_end() as usize);
    let mut input = vec![0; start];
    input.extend_from_slice(&ours[start..end]);
    let [from, to] = ["payload.bin", "made.bin"].map(|name| folder.join(name));
    std::fs::write(&from, input).unwrap();
    let mut command = Command::new("imgtool");
    command.args(["sign", "-H", "0x200", "-S", "0x10000", "-v", "3.4.5+6"]);
    command.args(variant.arguments.split_ascii_whitespace());
    if let Some(key) = key {
        command.arg("-k").arg(key);
    }
    run(command.arg(from).arg(&to));
    std::fs::read(to).unwrap()
}

fn named_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter()
        .flat_map(|(scheme, names)| names.iter().map(|name| (*scheme, *name)))
}

fn signing_key(keys: &Keys, name: &str) -> SigningKey {
    SigningKey::from_pem(&std::fs::read_to_string(keys.private(name)).unwrap()).unwrap()
}

fn verifying_key(keys: &Keys, name: &str) -> VerifyingKey {
    VerifyingKey::from_pem(&std::fs::read_to_string(keys.public(name)).unwrap()).unwrap()
}
