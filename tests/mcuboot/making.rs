//! What we make: signed, padded and flawed images, judged by ourselves.

use bytes::Bytes;

use squall::mcuboot::{
    Defect, Dependency, Flag, Flaw, ImageInfo, ImageSpec, KeyError, Pattern, SignatureError, SignatureScheme, SignatureVerdict,
    SigningKey, Slot, SpecError, TlvKind, TrailerLayout, VerifyingKey, build_image, find_build_id, inspect, own_build_id,
    security_counter, slice_reader,
};

const SLOT: Slot = Slot {
    size: 0x8000,
    align: 4,
    confirmed: false,
};

#[test]
fn a_signed_image_has_the_size_asked_for_and_bears_its_key_s_signature() {
    let image = build_image(&signed(2000)).unwrap();
    assert_eq!(image.len(), 2000);
    let seen = inspect(&image, Some(&key().verifying_key()), None, 4);
    assert_eq!(seen.defects, []);
    assert_eq!(seen.signature, Some(SignatureVerdict::Good(SignatureScheme::Ed25519)));
    let kinds: Vec<_> = seen.info.unwrap().tlvs.iter().map(|tlv| tlv.kind).collect();
    assert_eq!(kinds, [TlvKind::SHA256, TlvKind::KEY_HASH, TlvKind::ED25519]);
    assert_eq!(build_image(&signed(2000)).unwrap(), image);
}

#[test]
fn a_signature_is_checked_only_with_a_key() {
    let image = build_image(&signed(2000)).unwrap();
    let seen = inspect(&image, None, None, 4);
    assert_eq!(seen.defects, []);
    assert_eq!(seen.signature, Some(SignatureVerdict::Unchecked(SignatureScheme::Ed25519)));
    let unsigned = build_image(&plain(2000)).unwrap();
    assert_eq!(inspect(&unsigned, None, None, 4).signature, Some(SignatureVerdict::Unsigned));
}

#[test]
fn what_is_missing_for_a_key_s_signature_is_said() {
    let own = key().verifying_key();
    let short_of = |image: &[u8]| match inspect(image, Some(&own), None, 4).signature {
        Some(SignatureVerdict::Bad(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(short_of(&build_image(&plain(2000)).unwrap()), SignatureError::Unsigned);
    let other = SigningKey::from_seed(2);
    let named = other.verifying_key().hash().to_vec();
    let by_other = ImageSpec {
        signed_by: Some(other),
        ..plain(2000)
    };
    assert_eq!(short_of(&build_image(&by_other).unwrap()), SignatureError::OtherKey { named });
    let mut image = build_image(&signed(2000)).unwrap().to_vec();
    let info = ImageInfo::read(slice_reader(&image)).unwrap();
    let at = |kind| info.tlv(kind).unwrap().at as usize;
    let (hash_at, signature_at) = (at(TlvKind::KEY_HASH), at(TlvKind::ED25519));
    image[hash_at - 4] = 0xa0;
    assert_eq!(short_of(&image), SignatureError::NoKeyHash);
    image[hash_at - 4] = 0x01;
    image[signature_at - 4] = 0x22;
    let scheme = SignatureScheme::EcdsaP256;
    assert_eq!(short_of(&image), SignatureError::OtherScheme { scheme });
    image[signature_at - 4] = 0x24;
    image[signature_at + 3] ^= 8;
    assert_eq!(short_of(&image), SignatureError::Wrong);
}

#[test]
fn the_signature_that_counts_may_stand_behind_another_key_s() {
    let image = build_image(&signed(2000)).unwrap();
    let info = ImageInfo::read(slice_reader(&image)).unwrap();
    let pair_at = info.tlv(TlvKind::KEY_HASH).unwrap().at as usize - 4;
    let mut twice = image.to_vec();
    twice.extend_from_slice(&image[pair_at..]);
    let area_at = info.header.hashed_len() as usize;
    let area = (twice.len() - area_at) as u16;
    twice[area_at + 2..area_at + 4].copy_from_slice(&area.to_le_bytes());
    twice[pair_at + 4] ^= 1;
    let seen = inspect(&twice, Some(&key().verifying_key()), None, 4);
    assert_eq!(seen.signature, Some(SignatureVerdict::Good(SignatureScheme::Ed25519)));
}

#[test]
fn every_flaw_is_made_and_named() {
    for flaw in Flaw::ALL {
        let seen = inspect(&flawed(flaw), Some(&key().verifying_key()), Some(SLOT.size), SLOT.align);
        let named: Vec<_> = seen.defects.iter().map(Defect::flaw).collect();
        assert_eq!(named, [Some(flaw)], "{:?}", seen.defects);
        assert!(!seen.defects[0].to_string().is_empty());
        assert_eq!(Flaw::from_word(flaw.word()), Some(flaw));
    }
}

#[test]
fn a_device_reads_what_each_flaw_promises() {
    let ids = |flaw| {
        let image = flawed(flaw);
        let info = ImageInfo::read(slice_reader(&image)).unwrap();
        assert_eq!(info.verify(slice_reader(&image)).is_ok(), flaw != Flaw::WrongDigest, "{flaw}");
        (
            find_build_id(&info.header, slice_reader(&image)),
            own_build_id(&info.header, slice_reader(&image)),
        )
    };
    assert_eq!(ids(Flaw::NoBuildId), (None, None));
    assert_eq!(ids(Flaw::ZeroBuildId), (None, None));
    let (expected, reported) = ids(Flaw::WrongBuildId);
    assert!(expected.is_some() && reported.is_some() && expected != reported);
    for flaw in [Flaw::BadSignature, Flaw::WrongDigest, Flaw::TooBig] {
        let (expected, reported) = ids(flaw);
        assert!(expected.is_some() && expected == reported, "{flaw}");
    }
    for flaw in [Flaw::BadMagic, Flaw::Truncated] {
        assert!(ImageInfo::read(slice_reader(&flawed(flaw))).is_err(), "{flaw}");
    }
    assert_eq!(flawed(Flaw::TooBig).len(), SLOT.size as usize + 1);
    assert_eq!(flawed(Flaw::Truncated).len(), 1500);
}

#[test]
fn flaws_that_have_nothing_to_spoil_are_refused() {
    let unsigned = ImageSpec {
        flaw: Some(Flaw::BadSignature),
        ..plain(2000)
    };
    assert_eq!(build_image(&unsigned), Err(SpecError::NotSigned));
    let unbounded = ImageSpec {
        flaw: Some(Flaw::TooBig),
        ..plain(2000)
    };
    assert_eq!(build_image(&unbounded), Err(SpecError::NoSlot));
}

#[test]
fn a_filling_holds_no_descriptor_by_chance() {
    // The word whose bytes are a descriptor's head stands this far into the filling.
    let head_at = 0x0014_25f0 * 4;
    let image = build_image(&plain(head_at + 8192)).unwrap();
    let filling = &image[0x200 + 24..];
    assert_eq!(filling[head_at as usize..][..4], [0xf0, 0x25, 0x14, 0x01]);
    assert_eq!(inspect(&image, None, None, 4).build_ids.len(), 1);
}

#[test]
fn a_padded_image_is_a_slot_with_a_trailer() {
    for align in [1, 4, 8, 16, 32] {
        let slot = Slot {
            align,
            confirmed: true,
            ..SLOT
        };
        let spec = ImageSpec {
            slot: Some(slot),
            ..signed(2000)
        };
        let image = build_image(&spec).unwrap();
        assert_eq!(image.len(), 0x8000);
        assert_eq!(image[..2000], build_image(&signed(2000)).unwrap()[..]);
        let seen = inspect(&image, Some(&key().verifying_key()), Some(0x8000), align);
        assert_eq!(seen.defects, []);
        assert_eq!(seen.trailer.unwrap().image_ok, Flag::Set);
    }
}

#[test]
fn an_image_that_leaves_no_room_for_the_trailer_is_refused_and_named() {
    let room = TrailerLayout::new(SLOT.size, SLOT.align).unwrap().start();
    let spec = |size: u32| ImageSpec {
        slot: Some(SLOT),
        ..plain(size.into())
    };
    assert_eq!(build_image(&spec(room)).unwrap().len(), 0x8000);
    let refused = SpecError::Slot {
        size: u64::from(room) + 1,
        slot: SLOT.size,
        room,
    };
    assert_eq!(build_image(&spec(room + 1)), Err(refused));

    let fits = |size: u32| {
        let image = build_image(&plain(size.into())).unwrap();
        inspect(&image, None, Some(SLOT.size), SLOT.align).defects.is_empty()
    };
    assert!(fits(room) && !fits(room + 1));
}

#[test]
fn a_slot_longer_than_the_one_asked_about_does_not_fit() {
    let spec = ImageSpec {
        slot: Some(SLOT),
        ..plain(2000)
    };
    let image = build_image(&spec).unwrap();
    let defects = |slot| inspect(&image, None, Some(slot), 4).defects;
    assert_eq!(defects(0x8000), []);
    assert!(matches!(defects(0x7000)[..], [Defect::TooBig { slot: 0x7000, .. }]));
}

#[test]
fn several_defects_are_all_named() {
    let mut image = flawed(Flaw::NoBuildId).to_vec();
    image[0x300] ^= 1;
    let named: Vec<_> = inspect(&image, Some(&key().verifying_key()), None, 4)
        .defects
        .iter()
        .map(Defect::word)
        .collect();
    assert_eq!(named, ["wrong-digest", "bad-signature", "no-build-id"]);
}

#[test]
fn protected_tlvs_stand_in_the_order_asked_for() {
    let dependency = Dependency {
        image: 1,
        version: "2.0.0".parse().unwrap(),
    };
    let spec = ImageSpec {
        protected: vec![
            (TlvKind::SECURITY_COUNTER, security_counter(9)),
            (TlvKind::DEPENDENCY, dependency.to_bytes()),
        ],
        ..signed(2000)
    };
    let image = build_image(&spec).unwrap();
    let info = ImageInfo::read(slice_reader(&image)).unwrap();
    let value = |kind| {
        let tlv = info.tlv(kind).unwrap();
        assert!(tlv.protected);
        &image[tlv.at as usize..][..tlv.len.into()]
    };
    assert_eq!(value(TlvKind::SECURITY_COUNTER), [9, 0, 0, 0]);
    assert_eq!(Dependency::from_bytes(value(TlvKind::DEPENDENCY)), Some(dependency));
}

#[test]
fn signatures_of_imgtool_are_accepted_with_its_public_keys() {
    let fixtures: [(&[u8], &str); 3] = [
        (
            include_bytes!("../../firmware-fixtures/ed25519.bin"),
            include_str!("../../firmware-fixtures/ed25519.pub.pem"),
        ),
        (
            include_bytes!("../../firmware-fixtures/ecdsa-slot.bin"),
            include_str!("../../firmware-fixtures/ecdsa.pub.pem"),
        ),
        (
            include_bytes!("../../firmware-fixtures/rsa.bin"),
            include_str!("../../firmware-fixtures/rsa.pub.pem"),
        ),
    ];
    for (image, pem) in fixtures {
        let key = VerifyingKey::from_pem(pem).unwrap();
        let seen = inspect(image, Some(&key), None, 4);
        assert_eq!(seen.defects, []);
        assert_eq!(seen.signature, Some(SignatureVerdict::Good(key.scheme())));
        assert_eq!(SigningKey::from_pem(pem), Err(KeyError::Public));
    }
}

#[test]
fn what_is_no_key_is_named() {
    let named = |text: &str| VerifyingKey::from_pem(text).unwrap_err();
    assert_eq!(named(""), KeyError::NoPem);
    assert_eq!(named("-----BEGIN PUBLIC KEY-----\nMCow\n"), KeyError::NoPem);
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let label = "CERTIFICATE".to_owned();
    assert_eq!(named(&block("CERTIFICATE", "MCow")), KeyError::Label { label });
    assert_eq!(named(&block("ENCRYPTED PRIVATE KEY", "MCow")), KeyError::Encrypted);
    assert_eq!(
        named(&block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")),
        KeyError::Encrypted
    );
    for (label, body) in [
        ("PUBLIC KEY", "MCow"),
        ("PRIVATE KEY", "?"),
        ("EC PRIVATE KEY", ""),
        ("RSA PUBLIC KEY", "AAAA"),
    ] {
        let expected = KeyError::Malformed { label: label.to_owned() };
        assert_eq!(named(&block(label, body)), expected);
    }
    let x25519 = "MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
    let oid = "1.3.101.110".to_owned();
    assert_eq!(named(&block("PUBLIC KEY", x25519)), KeyError::Algorithm { oid });
}

fn key() -> SigningKey {
    SigningKey::from_seed(1)
}

fn plain(size: u64) -> ImageSpec {
    ImageSpec::new("app", "1.1.0".parse().unwrap(), size, Pattern::Counter)
}

fn signed(size: u64) -> ImageSpec {
    ImageSpec {
        signed_by: Some(key()),
        ..plain(size)
    }
}

fn flawed(flaw: Flaw) -> Bytes {
    let slot = (flaw == Flaw::TooBig).then_some(SLOT);
    build_image(&ImageSpec {
        flaw: Some(flaw),
        slot,
        ..signed(3000)
    })
    .unwrap()
}
