//! What a device does with each kind of message that protocol 3.6 lists: a test a row, in the table's order.

use squall::model::{AttemptError, AttemptId, TextError};
use squall::wire::ota::{CloudMessage, DecodeError, Unreadable, decode_cloud};
use squall::wire::receive_limit;

use super::cbor::{Item, Style, array, encode, encode_as, map, raw, text, uint};

const ID: u64 = 1001;
const MAX_ARTIFACTS: u8 = 4;

type Pairs = Vec<(u64, Item)>;

#[test]
fn keys_in_any_order_and_either_length_form_are_accepted() {
    let mut pairs = update(vec![artifact()]);
    pairs.reverse();
    accepts(map(pairs));
    let indefinite = encode_as(&map(update(vec![artifact()])), &mut Style::new(vec![1], false));
    assert_eq!(indefinite[0], 0xbf);
    assert!(matches!(decode(&indefinite), Ok(CloudMessage::UpdateArtifacts { .. })));
}

#[test]
fn integers_keys_and_lengths_wider_than_needed_are_accepted() {
    let wide_key = raw([0x1b, 0, 0, 0, 0, 0, 0, 0, 32]);
    let wide_id = raw([0x1b, 0, 0, 0, 0, 0, 0, 0x03, 0xe9]);
    let wide_kind = raw([0x1a, 0, 0, 0, 7]);
    let message = Item::Map(vec![(uint(0), wide_kind), (wide_key, wide_id)]);
    assert_eq!(decode(&encode(&message)), Ok(CloudMessage::CancelUpdate { attempt: id(ID) }));
    let slug = raw([&[0x7b, 0, 0, 0, 0, 0, 0, 0, 3][..], b"app"].concat());
    accepts(map(update(vec![with(artifact(), 36, slug)])));
    let kind = raw([0x1b, 0, 0, 0, 0, 0, 0, 0, 0]);
    accepts(map(update(vec![with(artifact(), 35, kind)])));
}

#[test]
fn a_message_type_with_an_eight_byte_head_is_ignored() {
    let wide = raw([0x1b, 0, 0, 0, 0, 0, 0, 0, 6]);
    ignores(map(with(update(vec![artifact()]), 0, wide)), Unreadable::MessageType);
}

#[test]
fn the_largest_id_is_accepted() {
    let message = map(with(cancel(), 32, uint(u64::MAX)));
    assert_eq!(
        decode(&encode(&message)),
        Ok(CloudMessage::CancelUpdate { attempt: id(u64::MAX) })
    );
}

#[test]
fn an_id_that_is_zero_missing_or_of_another_type_is_ignored() {
    ignores(map(without(cancel(), 32)), Unreadable::AttemptId);
    let others = [
        uint(0),
        Item::Negative(0),
        text("1001"),
        Item::Float(1001.0),
        Item::Tag(2, Box::new(Item::Bytes(vec![3, 0xe9]))),
        Item::Tag(0, Box::new(uint(ID))),
        Item::Null,
    ];
    for other in others {
        ignores(map(with(cancel(), 32, other)), Unreadable::AttemptId);
    }
}

#[test]
fn a_message_type_that_is_missing_negative_text_or_too_large_is_ignored() {
    ignores(map(without(cancel(), 0)), Unreadable::MessageType);
    for other in [Item::Negative(6), text("7"), uint(1 << 32)] {
        ignores(map(with(cancel(), 0, other)), Unreadable::MessageType);
    }
}

#[test]
fn text_keys_arrays_tagged_maps_and_empty_payloads_are_ignored() {
    let named = Item::Map(vec![(text("messageType"), uint(7)), (text("updateAttemptId"), uint(ID))]);
    ignores(named, Unreadable::MessageType);
    ignores(array([uint(0), uint(7), uint(32), uint(ID)]), Unreadable::NotAMap);
    ignores(Item::Tag(55_799, Box::new(map(cancel()))), Unreadable::NotAMap);
    ignores(raw([]), Unreadable::NotAMap);
}

#[test]
fn a_cut_before_both_header_keys_are_complete_is_ignored() {
    let message = encode(&map(update(vec![artifact()])));
    // Map head, key 0, type 6, key 32 in two bytes, id in three.
    for cut in 1..8 {
        assert_eq!(
            decode(&message[..cut]),
            Err(DecodeError::Ignore(Unreadable::Broken)),
            "cut at {cut}"
        );
    }
}

#[test]
fn what_cannot_be_skipped_is_ignored_before_and_rejected_behind_the_header() {
    let chunked = raw([0x7f, 0x61, b'a', 0xff]);
    let chunked_bytes = raw([0x5f, 0x41, 0, 0xff]);
    for hard in [raw([0x1c]), raw([0xfe]), raw([0xff]), chunked, chunked_bytes] {
        let value = (uint(50), hard);
        let header = [(uint(0), uint(7)), (uint(32), uint(ID))];
        for front in 0..2 {
            let mut pairs = header.to_vec();
            pairs.insert(front, value.clone());
            ignores(Item::Map(pairs), Unreadable::Broken);
        }
        let mut pairs = header.to_vec();
        pairs.push(value);
        rejects(Item::Map(pairs), AttemptError::CannotParseMessage);
    }
}

#[test]
fn anything_skippable_may_stand_before_the_header() {
    let skippable = [
        array([uint(1), array([]), map([(1, Item::Null)])]),
        raw([0x9f, 0xbf, 1, 2, 0xff, 0xff]),
        raw([0x82, 0x9f, 0xff, 0xbf, 0xff]),
        Item::Tag(1, Box::new(Item::Float(1.5))),
        raw([0xf8, 0x20]),
        raw([0xf9, 0x3c, 0x00]),
        Item::Negative(u64::MAX),
        Item::Bytes(vec![0xff; 100]),
    ];
    for value in skippable {
        let pairs = [(50, value), (0, uint(7)), (32, uint(ID))];
        rejects(map(pairs), AttemptError::CannotParseMessage);
    }
}

#[test]
fn a_wrong_first_header_key_is_ignored_though_a_right_one_follows() {
    let kinds = [(0, text("7")), (32, uint(ID)), (0, uint(7))];
    ignores(map(kinds), Unreadable::MessageType);
    let ids = [(32, text("1001")), (0, uint(7)), (32, uint(ID))];
    ignores(map(ids), Unreadable::AttemptId);
    ignores(map([(32, uint(0)), (0, uint(7)), (32, uint(ID))]), Unreadable::AttemptId);
}

#[test]
fn a_cut_behind_both_header_keys_is_rejected() {
    for message in [encode(&map(update(vec![artifact(), artifact()]))), indefinite_update()] {
        for cut in 8..message.len() {
            assert_eq!(
                decode(&message[..cut]),
                Err(reject(AttemptError::CannotParseMessage)),
                "cut at {cut}"
            );
        }
    }
}

/// The device takes four artifacts; where a fifth would begin, nothing is left to count.
#[test]
fn a_cut_where_a_surplus_artifact_would_begin_is_a_cut() {
    let definite = encode(&map(update(vec![artifact(); 5])));
    let surplus = encode(&map(artifact())).len();
    let indefinite = encode_as(&map(update(vec![artifact(); 4])), &mut Style::new(vec![1], false));
    let breaks = 2;
    for cut in [
        &definite[..definite.len() - surplus],
        &indefinite[..indefinite.len() - breaks],
    ] {
        assert_eq!(decode(cut), Err(reject(AttemptError::CannotParseMessage)));
    }
}

#[test]
fn an_unknown_message_type_with_a_readable_id_is_rejected() {
    for kind in [0, 1, 2, 3, 4, 5, 9, 10, 255, u64::from(u32::MAX)] {
        rejects(map(with(cancel(), 0, uint(kind))), AttemptError::CannotParseMessage);
    }
}

#[test]
fn an_unknown_key_anywhere_is_rejected() {
    let unknown = [
        uint(46),
        uint(1),
        uint(64),
        uint(u64::MAX),
        text("note"),
        Item::Negative(0),
        Item::Null,
    ];
    for key in unknown {
        let extra = (key, uint(1));
        for pairs in [update(vec![artifact()]), cancel(), report()] {
            let Item::Map(mut pairs) = map(pairs) else { unreachable!() };
            pairs.push(extra.clone());
            rejects(Item::Map(pairs), AttemptError::CannotParseMessage);
        }
        let Item::Map(mut inner) = map(artifact()) else {
            unreachable!()
        };
        inner.push(extra);
        let pairs = with(update(vec![]), 34, array([Item::Map(inner)]));
        rejects(map(pairs), AttemptError::CannotParseMessage);
    }
}

#[test]
fn keys_of_a_manifest_inside_other_messages_are_rejected() {
    for base in [cancel(), report()] {
        for (key, value) in [(33, Item::Bool(true)), (34, array([map(artifact())]))] {
            rejects(map(with(base.clone(), key, value)), AttemptError::CannotParseMessage);
        }
    }
}

#[test]
fn a_duplicate_key_anywhere_is_rejected() {
    let messages = [
        update(vec![artifact()]),
        with(update(vec![artifact()]), 33, Item::Bool(true)),
        cancel(),
        report(),
    ];
    for pairs in messages {
        for twice in pairs.clone() {
            let mut pairs = pairs.clone();
            pairs.push(twice);
            rejects(map(pairs), AttemptError::CannotParseMessage);
        }
    }
    for twice in with(artifact(), 37, Item::Bool(false)) {
        let mut pairs = with(artifact(), 37, Item::Bool(false));
        pairs.push(twice);
        rejects(map(update(vec![pairs])), AttemptError::CannotParseMessage);
    }
}

#[test]
fn a_map_that_announces_too_many_or_too_few_pairs_is_rejected() {
    for pairs in [update(vec![artifact()]), cancel()] {
        rejects(announcing(pairs.len() + 1, &pairs), AttemptError::CannotParseMessage);
    }
    let pairs = update(vec![artifact()]);
    rejects(announcing(pairs.len() - 1, &pairs), AttemptError::CannotParseMessage);
    for wrong in [artifact().len() - 1, artifact().len() + 1] {
        let pairs = with(update(vec![]), 34, array([announcing(wrong, &artifact())]));
        rejects(map(pairs), AttemptError::CannotParseMessage);
    }
}

/// Protocol 14: the map ends after the announced pairs, and what follows is not looked at.
#[test]
fn too_few_announced_pairs_that_hold_every_required_key_are_accepted() {
    let pairs = with(update(vec![artifact()]), 33, Item::Bool(true));
    let message = decode(&encode(&announcing(3, &pairs))).unwrap();
    let CloudMessage::UpdateArtifacts { manifest, .. } = message else {
        panic!("{message:?}")
    };
    assert!(!manifest.canceled);
}

#[test]
fn an_indefinite_map_without_its_break_is_rejected() {
    let message = indefinite_update();
    assert_eq!(
        decode(&message[..message.len() - 1]),
        Err(reject(AttemptError::CannotParseMessage))
    );
    let bare = [0xbf, 0x00, 0x07, 0x18, 0x20, 0x19, 0x03, 0xe9];
    assert_eq!(decode(&bare), Err(reject(AttemptError::CannotParseMessage)));
}

#[test]
fn bytes_behind_the_closed_map_are_not_looked_at() {
    for mut message in [
        encode(&map(update(vec![artifact()]))),
        indefinite_update(),
        encode(&map(cancel())),
    ] {
        message.extend([0xff, 0x1c, 0x00, 0x07]);
        assert!(decode(&message).is_ok());
    }
}

#[test]
fn a_manifest_that_is_missing_no_array_or_empty_is_rejected() {
    rejects(map(without(update(vec![artifact()]), 34)), AttemptError::CannotParseMessage);
    for other in [array([]), raw([0x9f, 0xff]), map([]), uint(0), Item::Null, map(artifact())] {
        rejects(map(with(update(vec![]), 34, other)), AttemptError::CannotParseMessage);
    }
    for element in [uint(0), array([]), Item::Null, raw([0xff])] {
        rejects(
            map(with(update(vec![]), 34, array([element]))),
            AttemptError::CannotParseMessage,
        );
    }
}

#[test]
fn more_artifacts_than_the_device_takes_are_rejected_as_such() {
    accepts(map(update(vec![artifact(); 4])));
    rejects(map(update(vec![artifact(); 5])), AttemptError::ArtifactCountExceeded);
    let one = encode(&map(update(vec![artifact(); 2])));
    assert_eq!(decode_cloud(&one, 1), Err(reject(AttemptError::ArtifactCountExceeded)));
    let many = encode(&map(update(vec![artifact(); 32])));
    assert!(decode_cloud(&many, 32).is_ok());
}

#[test]
fn another_artifact_type_is_rejected_as_such() {
    for kind in [1, 24, 255, 1 << 32, u64::MAX] {
        rejects(
            map(update(vec![with(artifact(), 35, uint(kind))])),
            AttemptError::UnknownArtifactType,
        );
    }
}

#[test]
fn an_artifact_type_that_is_missing_or_no_number_is_rejected() {
    rejects(map(update(vec![without(artifact(), 35)])), AttemptError::CannotParseMessage);
    for other in [
        text("0"),
        Item::Negative(0),
        Item::Bool(false),
        Item::Tag(0, Box::new(uint(0))),
    ] {
        rejects(
            map(update(vec![with(artifact(), 35, other)])),
            AttemptError::CannotParseMessage,
        );
    }
}

#[test]
fn a_missing_text_is_rejected() {
    for (key, _) in TEXTS {
        rejects(map(update(vec![without(artifact(), key)])), AttemptError::CannotParseMessage);
    }
}

#[test]
fn a_text_one_byte_over_its_limit_is_rejected() {
    for (key, limit) in TEXTS {
        let long = text(vec![b'x'; limit + 1]);
        rejects(
            map(update(vec![with(artifact(), key, long)])),
            AttemptError::CannotParseMessage,
        );
    }
}

#[test]
fn texts_exactly_at_their_limits_are_accepted() {
    let full = TEXTS
        .into_iter()
        .fold(artifact(), |pairs, (key, limit)| with(pairs, key, text(vec![b'x'; limit])));
    accepts(map(update(vec![full])));
}

#[test]
fn a_text_as_byte_string_tagged_or_chunked_is_rejected() {
    for (key, _) in TEXTS {
        let others = [
            Item::Bytes(b"abc".to_vec()),
            Item::Tag(32, Box::new(text("abc"))),
            raw([0x7f, 0x63, b'a', b'b', b'c', 0xff]),
            uint(7),
        ];
        for other in others {
            rejects(
                map(update(vec![with(artifact(), key, other)])),
                AttemptError::CannotParseMessage,
            );
        }
    }
}

#[test]
fn flags_other_than_false_and_true_are_rejected() {
    for other in [uint(0), uint(1), Item::Null, raw([0xf8, 0x15]), text("true")] {
        rejects(
            map(with(update(vec![artifact()]), 33, other.clone())),
            AttemptError::CannotParseMessage,
        );
        rejects(
            map(update(vec![with(artifact(), 37, other)])),
            AttemptError::CannotParseMessage,
        );
    }
    for flag in [false, true] {
        let pairs = with(update(vec![with(artifact(), 37, Item::Bool(flag))]), 33, Item::Bool(flag));
        let message = decode(&encode(&map(pairs))).unwrap();
        let CloudMessage::UpdateArtifacts { manifest, .. } = message else {
            panic!("{message:?}")
        };
        assert_eq!((manifest.canceled, manifest.artifacts[0].main), (flag, flag));
    }
}

#[test]
fn two_main_artifacts_are_rejected() {
    let main = with(artifact(), 37, Item::Bool(true));
    accepts(map(update(vec![main.clone(), artifact()])));
    rejects(
        map(update(vec![main.clone(), artifact(), main])),
        AttemptError::CannotParseMessage,
    );
}

#[test]
fn texts_that_are_not_utf8_are_copied() {
    let pairs = update(vec![with(artifact(), 40, text([0xff, 0x00, 0xc3]))]);
    let message = decode(&encode(&map(pairs))).unwrap();
    let CloudMessage::UpdateArtifacts { manifest, .. } = message else {
        panic!("{message:?}")
    };
    assert_eq!(manifest.artifacts[0].version.as_bytes(), [0xff, 0x00, 0xc3]);
}

#[test]
fn two_artifacts_with_one_slug_are_accepted() {
    accepts(map(update(vec![artifact(), artifact()])));
}

#[test]
fn an_empty_text_drops_the_message() {
    for (key, _) in TEXTS {
        let message = encode(&map(update(vec![artifact(), with(artifact(), key, text(""))])));
        assert_eq!(decode(&message), Err(drop_for(1, TextError::Empty)), "key {key}");
    }
}

#[test]
fn a_slash_in_a_slug_drops_the_message() {
    for slug in ["/", "a/b", "app/"] {
        let message = encode(&map(update(vec![with(artifact(), 36, text(slug))])));
        assert_eq!(decode(&message), Err(drop_for(0, TextError::Slash)), "{slug}");
    }
}

#[test]
fn the_receive_limit_grows_by_the_largest_artifact() {
    assert_eq!([1, 4, 32].map(receive_limit), [368, 1184, 8800]);
    let full = TEXTS
        .into_iter()
        .fold(with(artifact(), 37, Item::Bool(true)), |pairs, (key, limit)| {
            with(pairs, key, text(vec![b'x'; limit]))
        });
    // Key, type and head of the indefinite map: an artifact with every field at its limit.
    assert_eq!(encode(&map(full)).len() + 1, 272);
}

#[test]
fn artifacts_are_judged_in_order_and_their_type_first() {
    let unknown = with(artifact(), 35, uint(1));
    let broken = without(artifact(), 36);
    rejects(
        map(update(vec![without(unknown.clone(), 36)])),
        AttemptError::UnknownArtifactType,
    );
    let mut last = unknown.clone();
    last.rotate_left(1);
    rejects(map(update(vec![without(last, 40)])), AttemptError::UnknownArtifactType);
    rejects(
        map(update(vec![broken.clone(), unknown.clone()])),
        AttemptError::CannotParseMessage,
    );
    rejects(map(update(vec![unknown.clone(), broken])), AttemptError::UnknownArtifactType);
    let mut late = vec![artifact(); 5];
    late[3] = unknown;
    rejects(map(update(late)), AttemptError::UnknownArtifactType);
}

#[test]
fn a_surplus_artifact_is_counted_before_it_is_decoded() {
    for garbage in [uint(0), raw([0x1c]), raw([0x7f, 0x61, b'a', 0xff])] {
        let elements = std::iter::repeat_n(map(artifact()), 4).chain([garbage]);
        rejects(
            map(with(update(vec![]), 34, array(elements))),
            AttemptError::ArtifactCountExceeded,
        );
    }
}

#[test]
fn an_error_of_the_manifest_outranks_those_around_it() {
    for key in [46, 33] {
        let mut pairs = update(vec![with(artifact(), 35, uint(1))]);
        pairs.insert(2, (key, uint(1)));
        rejects(map(pairs), AttemptError::UnknownArtifactType);
    }
}

#[test]
fn a_broken_schema_outranks_an_unusable_value() {
    let empty = with(artifact(), 36, text(""));
    rejects(
        map(with(update(vec![empty.clone()]), 46, uint(1))),
        AttemptError::CannotParseMessage,
    );
    rejects(
        map(update(vec![empty, without(artifact(), 38)])),
        AttemptError::CannotParseMessage,
    );
}

#[test]
fn nesting_without_end_is_survived() {
    let mut deep = vec![0xa3, 0x00, 0x07, 0x18, 0x20, 0x01, 0x18, 0x32];
    deep.extend(vec![0x9f; 1_000_000]);
    assert!(matches!(decode(&deep), Err(DecodeError::Reject { .. })));
    let mut front = vec![0xa3, 0x18, 0x32];
    front.extend(vec![0x81; 1_000_000]);
    assert_eq!(decode(&front), Err(DecodeError::Ignore(Unreadable::Broken)));
}

const TEXTS: [(u64, usize); 4] = [(36, 32), (38, 128), (39, 24), (40, 64)];

fn artifact() -> Pairs {
    vec![
        (35, uint(0)),
        (36, text("app")),
        (38, text("https://ota.example.com/a/7/0")),
        (39, text("q7Zk2mXw9RtB4nVc8LdY1pHs")),
        (40, text("1.4.0")),
    ]
}

fn update(artifacts: Vec<Pairs>) -> Pairs {
    vec![(0, uint(6)), (32, uint(ID)), (34, array(artifacts.into_iter().map(map)))]
}

fn cancel() -> Pairs {
    vec![(0, uint(7)), (32, uint(ID))]
}

fn report() -> Pairs {
    vec![(0, uint(8)), (32, uint(ID))]
}

/// The pairs with one value replaced, or added at the end.
fn with(mut pairs: Pairs, key: u64, value: Item) -> Pairs {
    match pairs.iter_mut().find(|(found, _)| *found == key) {
        Some(pair) => pair.1 = value,
        None => pairs.push((key, value)),
    }
    pairs
}

fn without(mut pairs: Pairs, key: u64) -> Pairs {
    pairs.retain(|(found, _)| *found != key);
    pairs
}

/// A definite map whose head announces another number of pairs than follow.
fn announcing(count: usize, pairs: &Pairs) -> Item {
    let mut bytes = encode(&map(pairs.clone()));
    bytes[0] = 0xa0 | count as u8;
    raw(bytes)
}

fn indefinite_update() -> Vec<u8> {
    encode_as(
        &map(update(vec![artifact()])),
        &mut Style::new(vec![1, 0, 0, 0, 0, 0, 1, 0], false),
    )
}

fn id(number: u64) -> AttemptId {
    AttemptId::new(number).unwrap()
}

fn reject(error: AttemptError) -> DecodeError {
    DecodeError::Reject { attempt: id(ID), error }
}

fn drop_for(artifact: u8, error: TextError) -> DecodeError {
    DecodeError::Drop {
        attempt: id(ID),
        artifact,
        error,
    }
}

fn decode(payload: &[u8]) -> Result<CloudMessage, DecodeError> {
    decode_cloud(payload, MAX_ARTIFACTS)
}

#[track_caller]
fn accepts(message: Item) {
    let decoded = decode(&encode(&message));
    assert!(
        matches!(decoded, Ok(CloudMessage::UpdateArtifacts { .. })),
        "{decoded:?} for {message:?}"
    );
}

#[track_caller]
fn ignores(message: Item, why: Unreadable) {
    assert_eq!(decode(&encode(&message)), Err(DecodeError::Ignore(why)), "{message:?}");
}

#[track_caller]
fn rejects(message: Item, error: AttemptError) {
    assert_eq!(decode(&encode(&message)), Err(reject(error)), "{message:?}");
}
