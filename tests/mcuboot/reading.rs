//! Images of imgtool as we read them, whole, damaged and cut.

use proptest::collection::vec;
use proptest::prelude::*;

use squall::mcuboot::{
    FLAG_SET, ImageError, ImageInfo, ImageSpec, ImageVersion, MAGIC, Pattern, SwapType, TlvKind, TrailerLayout, build_image,
    find_build_id, slice_reader,
};

const HASH_ONLY: &[u8] = include_bytes!("../../firmware-fixtures/hash-only.bin");
const ED25519: &[u8] = include_bytes!("../../firmware-fixtures/ed25519.bin");
const ECDSA_SLOT: &[u8] = include_bytes!("../../firmware-fixtures/ecdsa-slot.bin");

/// What `imgtool dumpinfo` says of each fixture.
struct Facts {
    image: &'static [u8],
    version: &'static str,
    payload: u32,
    len: u64,
    digest: &'static str,
    /// Kind, protected, position, length.
    tlvs: &'static [(TlvKind, bool, u64, u16)],
    build_id: Option<[u8; 20]>,
}

const FACTS: [Facts; 3] = [
    Facts {
        image: HASH_ONLY,
        version: "1.2.3+4",
        payload: 3000,
        len: 3580,
        digest: "9835d367c85e1323cffde5b2e568702eadf4d2a5f945b9eedbe77ae50962425c",
        tlvs: &[
            (TlvKind::SECURITY_COUNTER, true, 0xdc0, 4),
            (TlvKind::DEPENDENCY, true, 0xdc8, 12),
            (TlvKind::SHA256, false, 0xddc, 32),
        ],
        build_id: None,
    },
    Facts {
        image: ED25519,
        version: "2.0.0",
        payload: 2500,
        len: 3156,
        digest: "942133d1ee82716efc4c9a2eadbd22b7c96bb7d55646a713a21dfd18286e7ee1",
        tlvs: &[
            (TlvKind::SHA256, false, 0xbcc, 32),
            (TlvKind::KEY_HASH, false, 0xbf0, 32),
            (TlvKind::ED25519, false, 0xc14, 64),
        ],
        build_id: Some(*b"ABCDEFGHIJKLMNOPQRST"),
    },
    Facts {
        image: ECDSA_SLOT,
        version: "2.1.0",
        payload: 2500,
        len: 3164,
        digest: "4c2e9779c0c14d699f5ecbb2903f81582cf7865f8aa4113c68b9eee3a59632b3",
        tlvs: &[
            (TlvKind::SHA256, false, 0xbcc, 32),
            (TlvKind::KEY_HASH, false, 0xbf0, 32),
            (TlvKind::ECDSA, false, 0xc14, 72),
        ],
        build_id: Some(*b"ABCDEFGHIJKLMNOPQRST"),
    },
];

#[test]
fn images_of_imgtool_are_read_as_imgtool_reads_them() {
    for facts in FACTS {
        let info = ImageInfo::read(slice_reader(facts.image)).unwrap();
        assert_eq!(info.header.version.to_string(), facts.version);
        assert_eq!((info.header.header_size, info.header.image_size), (0x200, facts.payload));
        assert_eq!(info.len, facts.len);
        assert_eq!(hex(&info.digest), facts.digest);
        let tlvs: Vec<_> = info
            .tlvs
            .iter()
            .map(|tlv| (tlv.kind, tlv.protected, tlv.at, tlv.len))
            .collect();
        assert_eq!(tlvs, facts.tlvs);
        assert_eq!(info.verify(slice_reader(facts.image)), Ok(()));
        assert_eq!(find_build_id(&info.header, slice_reader(facts.image)), facts.build_id);
    }
}

#[test]
fn a_changed_byte_under_the_digest_is_noticed_wherever_it_is() {
    let len = ImageInfo::read(slice_reader(HASH_ONLY)).unwrap().header.hashed_len() as usize;
    for at in 0..len {
        let mut image = HASH_ONLY.to_vec();
        image[at] ^= 0x10;
        let judged = ImageInfo::read(slice_reader(&image)).and_then(|info| info.verify(slice_reader(&image)));
        assert!(judged.is_err(), "byte {at}");
    }
}

#[test]
fn a_changed_payload_has_the_wrong_digest() {
    let mut image = ED25519.to_vec();
    image[0x300] ^= 1;
    let info = ImageInfo::read(slice_reader(&image)).unwrap();
    let verdict = info.verify(slice_reader(&image)).unwrap_err();
    let ImageError::WrongDigest { claimed, found } = verdict else {
        panic!("{verdict}")
    };
    assert_eq!(claimed, info.digest);
    assert_ne!(found, claimed);
}

#[test]
fn an_image_cut_anywhere_is_refused() {
    for whole in [HASH_ONLY, ED25519] {
        for len in 0..whole.len() {
            let refused = ImageInfo::read(slice_reader(&whole[..len])).unwrap_err();
            assert!(matches!(refused, ImageError::Unreadable { .. }), "{len} bytes: {refused}");
        }
    }
}

#[test]
fn each_fault_has_its_own_error() {
    let info_at = 0xbc4;
    let read = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut image = ED25519.to_vec();
        change(&mut image);
        ImageInfo::read(slice_reader(&image)).unwrap_err()
    };
    assert_eq!(
        read(&|image| image[..4].fill(0xff)),
        ImageError::HeaderMagic { found: u32::MAX }
    );
    assert_eq!(
        read(&|image| image[8..10].copy_from_slice(&[31, 0])),
        ImageError::HeaderSize { found: 31 }
    );
    assert_eq!(
        read(&|image| image[info_at] = 0),
        ImageError::TlvMagic {
            at: info_at as u64,
            found: 0x6900
        }
    );
    assert_eq!(
        read(&|image| image[10] = 12),
        ImageError::ProtectedSize { header: 12, area: 0 }
    );
    assert_eq!(
        read(&|image| image[info_at + 2..info_at + 4].fill(0)),
        ImageError::TlvSize { at: info_at as u64 }
    );
    assert_eq!(
        read(&|image| image[info_at + 6] = 0xff),
        ImageError::TlvSize { at: info_at as u64 + 4 }
    );
    assert_eq!(read(&|image| image[info_at + 4] = 0x11), ImageError::NoDigest);
    let mut smaller = HASH_ONLY.to_vec();
    smaller[0xdb8 + 2] = 12;
    assert_eq!(
        ImageInfo::read(slice_reader(&smaller)).unwrap_err(),
        ImageError::ProtectedSize { header: 28, area: 12 }
    );
}

#[test]
fn an_image_in_scattered_pieces_is_read_alike() {
    let pages: Vec<&[u8]> = ED25519.chunks(100).collect();
    let scattered = |at: u64, into: &mut [u8]| {
        into.iter_mut().zip(at..).all(|(byte, at)| {
            let stored = pages.get(at as usize / 100).and_then(|page| page.get(at as usize % 100));
            stored.map(|stored| *byte = *stored).is_some()
        })
    };
    let info = ImageInfo::read(scattered).unwrap();
    assert_eq!(info, ImageInfo::read(slice_reader(ED25519)).unwrap());
    assert_eq!(info.verify(scattered), Ok(()));
    assert_eq!(find_build_id(&info.header, scattered), Some(*b"ABCDEFGHIJKLMNOPQRST"));
}

#[test]
fn a_build_id_of_zeros_is_none_and_so_is_one_of_another_length() {
    let read = |change: &dyn Fn(&mut [u8])| {
        let mut image = ED25519.to_vec();
        change(&mut image[0x200 + 1019..][..24]);
        find_build_id(&ImageInfo::read(slice_reader(&image)).unwrap().header, slice_reader(&image))
    };
    assert!(read(&|_| {}).is_some());
    assert_eq!(read(&|descriptor| descriptor[4..].fill(0)), None);
    assert_eq!(read(&|descriptor| descriptor[2] = 8), None);
}

#[test]
fn a_build_id_is_found_at_the_very_end_but_not_beyond_it() {
    let id: Vec<u8> = (1..=20).collect();
    for size in [576, 577, 1600, 1623, 1624, 1625, 3000] {
        let mut image = build_image(&ImageSpec::new("app", ImageVersion::default(), size, Pattern::Zeros))
            .unwrap()
            .to_vec();
        let info = ImageInfo::read(slice_reader(&image)).unwrap();
        let end = info.header.payload_end() as usize;
        image[0x200..0x218].fill(0);
        image[end - 24..end].copy_from_slice(&[&[0xf0, 0x25, 0x14, 0x00], &id[..]].concat());
        assert_eq!(
            find_build_id(&info.header, slice_reader(&image)).unwrap()[..],
            id[..],
            "{size} bytes"
        );
        image.copy_within(end - 24..end, end - 23);
        image[end - 24] = 0;
        assert_eq!(find_build_id(&info.header, slice_reader(&image)), None, "{size} bytes");
    }
}

#[test]
fn the_trailer_of_a_padded_slot_stands_where_imgtool_puts_it() {
    let layout = TrailerLayout::new(ECDSA_SLOT.len() as u32, 4).unwrap();
    let byte = |at: u32| ECDSA_SLOT[at as usize];
    assert_eq!(ECDSA_SLOT[layout.magic() as usize..], MAGIC);
    assert_eq!(byte(layout.image_ok()), FLAG_SET);
    assert_eq!([byte(layout.copy_done()), byte(layout.swap_info())], [0xff, 0xff]);
    assert_eq!(SwapType::from_byte(byte(layout.swap_info())), None);
    let erased = &ECDSA_SLOT[layout.start() as usize..layout.image_ok() as usize];
    assert!(erased.iter().all(|&byte| byte == 0xff));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_the_reader(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(ImageInfo::read(slice_reader(&bytes)).is_err());
    }

    #[test]
    fn no_damaged_image_panics_the_reader(
        fixture in 0usize..3,
        changes in vec((prop_oneof![0usize..32, 0xbc0usize..0xe00], any::<u8>()), 1..6),
        cut in 0usize..9000,
    ) {
        let mut image = FACTS[fixture].image.to_vec();
        for (at, byte) in changes {
            if let Some(place) = image.get_mut(at) {
                *place = byte;
            }
        }
        image.truncate(cut);
        if let Ok(info) = ImageInfo::read(slice_reader(&image)) {
            let _ = info.verify(slice_reader(&image));
            let _ = find_build_id(&info.header, slice_reader(&image));
            prop_assert!(info.len <= image.len() as u64);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
