//! `flash` of a fleet: a chip, or one with figures of its own.

use std::sync::Arc;
use std::time::Duration;

use crate::device::{Chip, SwapMethod};

use super::super::chips;
use super::super::document::{Node, Value};
use super::super::fields::Need::Optional;
use super::super::fields::{Complaint, Fields, Keys, Written, as_text, cut, show, suggest};
use super::super::text::{exact_size, quoted};
use super::shares::one_of;

pub(super) const FLASH: Keys = &[
    ("like", Optional),
    ("size", Optional),
    ("slot", Optional),
    ("page", Optional),
    ("write", Optional),
    ("swap", Optional),
    ("time_scale", Optional),
];
/// Pages of a slot that MCUboot keeps status for unless it was built for more.
const MOST_PAGES: u32 = 128;
/// Least pages of a slot: some image, one page to spare, the trailer.
const LEAST_PAGES: u32 = 4;
/// Writable units that MCUboot knows, bytes.
const WRITE_SIZES: &[u32] = &[1, 2, 4, 8, 16, 32];
/// A time scale of one, in millionths.
const UNSCALED: u64 = 1_000_000;

/// The flash of a fleet's devices.
#[derive(Clone, Debug)]
pub(in super::super) struct FlashFile {
    pub chip: Arc<Chip>,
    /// How its bootloader swaps.
    pub swap: SwapMethod,
    /// As TOML, with every figure that a scenario can choose where it chooses any.
    pub written: String,
}

impl FlashFile {
    /// The flash of a fleet that names none.
    pub fn usual() -> FlashFile {
        FlashFile::named(chips::DEFAULT).expect("the default chip is a profile")
    }

    /// The flash of boards.
    pub fn of_boards() -> FlashFile {
        FlashFile::named(chips::OF_BOARDS).expect("the chip of the boards is a profile")
    }

    /// Whether firmware that was linked for the boards finds everything where it expects it.
    pub fn fits_boards(&self) -> bool {
        let board = FlashFile::of_boards();
        let geometry = |flash: &FlashFile| {
            let chip = &flash.chip;
            (flash.swap, chip.page_size, chip.write_size, chip.slot_size)
        };
        geometry(self) == geometry(&board)
    }

    fn named(name: &str) -> Option<FlashFile> {
        Some(FlashFile {
            chip: chips::chip(name)?,
            swap: SwapMethod::Offset,
            written: quoted(name),
        })
    }

    /// The chip under `flash`.
    pub(super) fn read(fields: &Fields<'_>) -> Option<FlashFile> {
        let node = fields.node("flash")?;
        if let Value::Table(_) = node.value {
            let subject = format!("`flash` of {}", fields.subject);
            let own = Fields::new(subject, fields.key_at("flash"), node, FLASH, fields.problems)?;
            return read_own(&own);
        }
        let named = fields.parsed("flash", "\"nrf52840\"", |name| {
            FlashFile::named(name).ok_or_else(|| unknown(name, "flash", &fields.subject))
        });
        named.map(|named| named.value)
    }
}

fn unknown(name: &str, what: &str, subject: &str) -> Complaint {
    Complaint::new(
        format!("unknown {what} `{}` in {subject}", cut(name)),
        suggest(name, chips::names(), "chips"),
    )
}

fn read_own(fields: &Fields<'_>) -> Option<FlashFile> {
    let like = fields.parsed("like", "\"nrf52840\"", |name| {
        chips::names()
            .find(|known| *known == name)
            .ok_or_else(|| unknown(name, "chip", &fields.subject))
    });
    let like = like.map_or(chips::DEFAULT, |like| like.value);
    let swap = read_swap(fields);
    let scale = read_scale(fields);
    let given = ["size", "slot", "page", "write"].map(|key| read_bytes(fields, key));
    let mut chip = Chip::clone(&*chips::chip(like)?);
    let [size, slot, page, write] = &given;
    let own = |given: &Option<Written<u32>>, figure: u32| given.as_ref().map_or(figure, |given| given.value);
    let size = own(size, chips::flash_size(like)?);
    chip.slot_size = own(slot, chip.slot_size);
    chip.page_size = own(page, chip.page_size);
    chip.write_size = own(write, chip.write_size);
    if !fits(&chip, size, &given, fields) {
        return None;
    }
    for time in [
        &mut chip.page_erase,
        &mut chip.kib_write,
        &mut chip.kib_hash,
        &mut chip.verify,
        &mut chip.boot,
    ] {
        *time = scaled(*time, scale);
    }
    let sizes = [
        ("size", size),
        ("slot", chip.slot_size),
        ("page", chip.page_size),
        ("write", chip.write_size),
    ];
    let sizes = sizes.map(|(key, bytes)| format!("{key} = {}", quoted(&exact_size(bytes.into()))));
    Some(FlashFile {
        written: format!(
            "{{ like = {}, {}, swap = {}, time_scale = {} }}",
            quoted(like),
            sizes.join(", "),
            quoted(swap.word()),
            scale as f64 / UNSCALED as f64
        ),
        chip: Arc::new(chip),
        swap,
    })
}

fn read_bytes(fields: &Fields<'_>, key: &str) -> Option<Written<u32>> {
    let size = fields.size(key)?;
    match u32::try_from(size.value).ok().filter(|bytes| (1..=1 << 30).contains(bytes)) {
        Some(value) => Some(Written { value, at: size.at }),
        None => {
            let message = format!("`{key}` of {} is out of range", fields.subject);
            fields.problems.add(size.at, message, "write 1 B to 1 GiB");
            None
        }
    }
}

fn read_swap(fields: &Fields<'_>) -> SwapMethod {
    let read = fields.parsed("swap", "\"offset\"", |swap| match swap {
        "offset" => Ok(SwapMethod::Offset),
        "move" => Ok(SwapMethod::Move),
        "scratch" => Err(Complaint::new(
            format!("not supported yet: swap `scratch` in {}", fields.subject),
            "write offset, its default, or move",
        )),
        _ => {
            let unknown = one_of(swap, &["offset", "move", "scratch"], "swap", &fields.subject);
            unknown.map(|_| SwapMethod::Offset)
        }
    });
    read.map_or(SwapMethod::Offset, |swap| swap.value)
}

/// The factor of all times, in millionths.
fn read_scale(fields: &Fields<'_>) -> u64 {
    let Some(node) = fields.node("time_scale") else {
        return UNSCALED;
    };
    let number = match &node.value {
        Value::Integer(integer) => *integer as f64,
        Value::Float(float) => *float,
        Value::Text(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_) | Value::Table(_) => f64::NAN,
    };
    if (0.0001..=1000.0).contains(&number) {
        return (number * UNSCALED as f64).round() as u64;
    }
    let hint = format!(
        "found {}: write a number from 0.0001 to 1000, 0.1 for a tenth of all times",
        found(node)
    );
    fields
        .problems
        .add(node.at, format!("`time_scale` of {} is out of range", fields.subject), hint);
    UNSCALED
}

fn found(node: &Node) -> String {
    as_text(node).map_or_else(|| show(node), |words| format!("\"{}\"", cut(&words.text)))
}

/// Whether the figures make a flash that MCUboot can use; what does not is said where it is given.
fn fits(chip: &Chip, size: u32, given: &[Option<Written<u32>>; 4], fields: &Fields<'_>) -> bool {
    let [size_at, slot_at, page_at, write_at] = given.each_ref().map(|given| given.as_ref().map(|given| given.at));
    let [slot, page, write] = [chip.slot_size, chip.page_size, chip.write_size];
    let bytes = |bytes: u32| exact_size(bytes.into());
    let wrong = if !WRITE_SIZES.contains(&write) {
        Some(("write", "1, 2, 4, 8, 16 or 32 B are written at once".to_owned(), write_at))
    } else if !page.is_multiple_of(write) || !(64..=1 << 20).contains(&page) {
        let hint = format!("a page has 64 B to 1 MiB, a multiple of `write`, {}", bytes(write));
        Some(("page", hint, page_at.or(write_at)))
    } else if !slot.is_multiple_of(page) || !(LEAST_PAGES..=MOST_PAGES).contains(&(slot / page)) {
        let hint = format!(
            "{} in pages of {}: a slot has {LEAST_PAGES} to {MOST_PAGES} whole pages, which is what MCUboot keeps status for",
            bytes(slot),
            bytes(page)
        );
        Some(("slot", hint, slot_at.or(page_at)))
    } else if u64::from(slot) * 2 > u64::from(size) {
        let hint = format!("two slots of {} are more than {}", bytes(slot), bytes(size));
        Some(("size", hint, size_at.or(slot_at)))
    } else if chip.image_limit() < page {
        Some((
            "slot",
            "its trailer leaves no room for an image".to_owned(),
            slot_at.or(page_at),
        ))
    } else {
        None
    };
    if let Some((key, hint, at)) = &wrong {
        let message = format!("`{key}` of {} does not fit", fields.subject);
        fields.problems.add(at.unwrap_or(fields.at), message, hint.clone());
    }
    wrong.is_none()
}

fn scaled(time: Duration, scale: u64) -> Duration {
    let nanos = time.as_nanos() * u128::from(scale) / u128::from(UNSCALED);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
