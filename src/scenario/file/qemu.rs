//! `[qemu]`.

use std::time::Duration;

use super::super::document::{Entry, Place, Words};
use super::super::error::Problems;
use super::super::fields::Need::Optional;
use super::super::fields::{Fields, Keys};
use super::shares::one_of;

pub(super) const QEMU: Keys = &[
    ("binary", Optional),
    ("machine", Optional),
    ("bootloader", Optional),
    ("parallel", Optional),
    ("boot_timeout", Optional),
];
/// The program that is looked up where none is named.
const BINARY: &str = "qemu-system-arm";
/// Machines with an nRF51822's flash: QEMU emulates no other Nordic chip.
const MACHINES: &[&str] = &["microbit"];
/// Boards that may be starting at once: more than a machine has processors for.
const MOST_PARALLEL: u64 = 1000;
/// Shorter than this, a swap under load would be taken for silence.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Where real firmware runs.
#[derive(Clone, Debug)]
pub(in super::super) struct QemuFile {
    /// Where the table stands, if it does.
    pub at: Option<Place>,
    pub binary: String,
    /// Where `binary` stands, if it does.
    pub binary_at: Option<Place>,
    pub machine: &'static str,
    /// A file; the built-in bootloader where there is none.
    pub bootloader: Option<Words>,
    pub parallel: u32,
    pub boot_timeout: Duration,
}

impl QemuFile {
    pub(super) fn read(entry: Option<&Entry>, problems: &Problems) -> QemuFile {
        let mut qemu = QemuFile {
            at: entry.map(|entry| entry.key_at),
            binary: BINARY.to_owned(),
            binary_at: None,
            machine: MACHINES[0],
            bootloader: None,
            parallel: 20,
            boot_timeout: Duration::from_secs(10),
        };
        let fields = entry.and_then(|entry| Fields::new("`qemu`".to_owned(), entry.key_at, &entry.node, QEMU, problems));
        if let Some(fields) = fields {
            qemu.read_fields(&fields);
        }
        qemu
    }

    fn read_fields(&mut self, fields: &Fields<'_>) {
        if let Some(words) = fields.text("binary", "\"qemu-system-arm\"") {
            self.binary.clone_from(&words.text);
            self.binary_at = Some(words.inner);
            if words.text != BINARY && words.inner.text == Place::FILE {
                let message = "`binary` of `qemu` names a program, and a scenario file starts none of its choice";
                let hint = "leave it out, or name it on the command line: --set qemu.binary=PATH";
                fields.problems.add(words.inner, message, hint);
            }
        }
        let machine = fields.parsed("machine", "\"microbit\"", |word| {
            one_of(word, MACHINES, "machine", &fields.subject)
        });
        self.machine = machine.map_or(MACHINES[0], |machine| machine.value);
        self.bootloader = fields.text("bootloader", "\"boot.bin\"").cloned();
        if let Some(parallel) = fields.whole("parallel", 1..=MOST_PARALLEL) {
            self.parallel = parallel.value as u32;
        }
        if let Some(timeout) = fields.time("boot_timeout") {
            if timeout.value < SHORTEST_TIMEOUT {
                fields
                    .problems
                    .add(timeout.at, "`boot_timeout` of `qemu` is too short", "at least 1s");
            }
            self.boot_timeout = timeout.value;
        }
    }
}
