//! The management protocol of MCU manager (SMP) over a guest's serial line, as a client.
//!
//! A packet is its length and its CRC-16 around an SMP frame, in base64, in lines that begin with two marks. Whatever else comes over
//! the line is what the firmware prints: the console.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcumgr_smp::application_management::{
    GetImageStateResult, ImageState, ImageWriter, WriteImageChunkResult, get_state, set_state,
};
use mcumgr_smp::os_management::{EchoResult, echo, reset};
use mcumgr_smp::{Group, OpCode, SmpFrame};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::deadline::Deadline;

/// Begins a packet.
const FIRST: [u8; 2] = [0x06, 0x09];
/// Goes on with one.
const NEXT: [u8; 2] = [0x04, 0x14];
/// Bytes of a line without its end.
const LINE: usize = 126;
/// Bytes of a packet, either way.
const PACKET_MAX: usize = 4096;
/// Lines that the console keeps.
const CONSOLE_MAX: usize = 200;
/// Image bytes of one request: the line carries about 200 KiB/s from 512 on.
const CHUNK: usize = 512;

/// Why a request came to nothing.
#[derive(Debug, Error)]
pub enum SmpError {
    /// The firmware said no.
    #[error("the firmware refuses: code {code} ({})", meaning(*code))]
    Refused {
        /// MCU manager's code.
        code: i32,
    },
    /// There was no answer in time, also after repeating the request.
    #[error("the firmware does not answer")]
    Silent,
    /// The answer is none to the request.
    #[error("the firmware answers what was not asked: {what}")]
    Garbled {
        /// How.
        what: String,
    },
    /// The caller wanted it to stop.
    #[error("given up")]
    GivenUp,
    /// The line is gone.
    #[error("the serial line is gone: {0}")]
    Line(#[from] io::Error),
}

const fn meaning(code: i32) -> &'static str {
    match code {
        1 => "unknown error",
        2 => "out of memory",
        3 => "invalid value",
        4 => "timed out",
        5 => "no such entry",
        6 => "not in this state",
        7 => "too large",
        8 => "not supported",
        9 => "corrupt",
        10 => "busy",
        11 => "access denied",
        _ => "no description",
    }
}

/// An image in a slot, as the firmware itself reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// 0 is primary, 1 secondary.
    pub slot: i32,
    /// Version in its header.
    pub version: String,
    /// Digest in its TLVs.
    pub hash: Vec<u8>,
    /// It runs.
    pub active: bool,
    /// It stays.
    pub confirmed: bool,
    /// It will be tried at the next boot.
    pub pending: bool,
}

impl From<ImageState> for SlotState {
    fn from(state: ImageState) -> Self {
        SlotState {
            slot: state.slot,
            version: state.version,
            hash: state.hash,
            active: state.active,
            confirmed: state.confirmed,
            pending: state.pending,
        }
    }
}

/// What the firmware prints between packets, the last lines of it.
#[derive(Debug, Default)]
pub struct Console {
    lines: VecDeque<String>,
    begun: Vec<u8>,
}

impl Console {
    /// Takes out every whole line.
    pub fn drain(&mut self) -> impl Iterator<Item = String> {
        self.lines.drain(..)
    }

    fn take(&mut self, byte: u8) {
        if byte != b'\n' {
            if self.begun.len() < 1024 {
                self.begun.push(byte);
            }
            return;
        }
        let line = String::from_utf8_lossy(&self.begun);
        let printable = line.chars().filter(|c| !c.is_control()).collect();
        self.begun.clear();
        if self.lines.len() == CONSOLE_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(printable);
    }
}

/// Tells what firmware prints from the packets of a client that is not ours.
#[derive(Debug, Default)]
pub struct Relay {
    console: Console,
    in_packet: bool,
}

impl Relay {
    /// The lines that are whole with these bytes.
    pub fn printed(&mut self, bytes: &[u8]) -> impl Iterator<Item = String> {
        for byte in bytes {
            self.in_packet |= *byte == FIRST[0] || *byte == NEXT[0];
            if !self.in_packet {
                self.console.take(*byte);
            }
            self.in_packet &= *byte != b'\n';
        }
        self.console.drain()
    }
}

/// A client on a serial line.
#[derive(Debug)]
pub struct Smp {
    stream: UnixStream,
    sequence: u8,
    line: Vec<u8>,
    packet: Vec<u8>,
    console: Console,
    give_up: GiveUp,
}

/// When a client is to stop waiting: at a mark of the machine's, or at one of its owner's.
#[derive(Clone, Debug, Default)]
pub(super) struct GiveUp {
    /// The processor stands where power is to be cut.
    pub(super) reached: Arc<AtomicBool>,
    /// So many who are in a hurry.
    pub(super) hurried: Arc<AtomicU32>,
}

impl GiveUp {
    fn is_asked(&self) -> bool {
        self.reached.load(Ordering::Acquire) || self.hurried.load(Ordering::Acquire) > 0
    }
}

/// An answer of which only the code matters; none means that all is well.
#[derive(Debug, Deserialize)]
struct Code {
    #[serde(default)]
    rc: i32,
}

#[derive(Debug, Serialize)]
struct Confirm {
    confirm: bool,
}

impl Smp {
    /// A client on this line; it gives up where that is asked.
    pub(super) fn new(stream: UnixStream, give_up: GiveUp) -> Smp {
        Smp {
            stream,
            sequence: 0,
            line: Vec::new(),
            packet: Vec::new(),
            console: Console::default(),
            give_up,
        }
    }

    /// What the firmware has printed.
    pub fn console(&mut self) -> &mut Console {
        &mut self.console
    }

    /// Reads what comes in `time`, for the console.
    pub fn listen(&mut self, time: Duration) -> Result<(), SmpError> {
        let until = Deadline::after(time);
        while self.next_packet(until)?.is_some() {}
        Ok(())
    }

    /// The same text back.
    pub fn echo(&mut self, text: &str, patience: Duration) -> Result<String, SmpError> {
        match self.ask::<_, EchoResult>(&mut |sequence| echo(sequence, text.to_owned()), patience)? {
            EchoResult::Ok { r } => Ok(r),
            EchoResult::Err { rc } => Err(SmpError::Refused { code: rc }),
        }
    }

    /// The images that stand in the slots.
    pub fn images(&mut self, patience: Duration) -> Result<Vec<SlotState>, SmpError> {
        match self.ask::<_, GetImageStateResult>(&mut get_state, patience)? {
            GetImageStateResult::Ok(state) => Ok(state.images.into_iter().map(SlotState::from).collect()),
            GetImageStateResult::Err(error) => Err(SmpError::Refused { code: error.rc }),
        }
    }

    /// Sends an image into the secondary slot; `progress` is told the bytes that are there.
    pub fn upload(&mut self, image: &[u8], patience: Duration, progress: &mut dyn FnMut(usize)) -> Result<(), SmpError> {
        self.upload_part(0, image.len(), image, patience, progress)
    }

    /// Sends the part of an image of `total` bytes that begins at `start`; what comes before it has been sent.
    pub fn upload_part(
        &mut self,
        start: usize,
        total: usize,
        part: &[u8],
        patience: Duration,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), SmpError> {
        let (mut at, end) = (start, start + part.len());
        while at < end {
            let chunk = &part[at - start..part.len().min(at - start + CHUNK)];
            let mut request = |sequence| {
                let mut writer = ImageWriter::new(None, total, None, false);
                (writer.offset, writer.sequence) = (at, sequence);
                let mut frame = writer.write_chunk(chunk);
                frame.sequence = sequence;
                frame.encode_with_cbor()
            };
            at = match self.exchange::<WriteImageChunkResult>(&mut request, patience)? {
                WriteImageChunkResult::Ok(there) if (at + 1..=end).contains(&(there.off as usize)) => there.off as usize,
                WriteImageChunkResult::Ok(there) => {
                    let what = format!("it has {} bytes of the image after {at}", there.off);
                    return Err(SmpError::Garbled { what });
                }
                WriteImageChunkResult::Err(error) => return Err(SmpError::Refused { code: error.rc }),
            };
            progress(at);
        }
        Ok(())
    }

    /// Asks for a trial of the image with this digest at the next boot.
    pub fn test(&mut self, hash: &[u8], patience: Duration) -> Result<(), SmpError> {
        let code = self.ask::<_, Code>(&mut |sequence| set_state(hash.to_vec(), false, sequence), patience)?;
        accepted(code)
    }

    /// Confirms the image that runs.
    pub fn confirm(&mut self, patience: Duration) -> Result<(), SmpError> {
        let mut request = |sequence| {
            let confirm = Confirm { confirm: true };
            SmpFrame::new(OpCode::WriteRequest, sequence, Group::ApplicationManagement, 0, confirm)
        };
        let code = self.ask::<_, Code>(&mut request, patience)?;
        accepted(code)
    }

    /// Starts the board anew.
    pub fn reset(&mut self, patience: Duration) -> Result<(), SmpError> {
        let code = self.ask::<_, Code>(&mut |sequence| reset(sequence, false), patience)?;
        accepted(code)
    }

    /// The line itself.
    pub(super) fn line(&self) -> Result<UnixStream, SmpError> {
        Ok(self.stream.try_clone()?)
    }

    /// Puts bytes on the line that mean nothing.
    pub fn disturb(&mut self, bytes: &[u8]) -> Result<(), SmpError> {
        Ok(self.stream.write_all(bytes)?)
    }

    fn ask<Q: Serialize, A: DeserializeOwned>(
        &mut self,
        request: &mut dyn FnMut(u8) -> SmpFrame<Q>,
        patience: Duration,
    ) -> Result<A, SmpError> {
        self.exchange(&mut |sequence| request(sequence).encode_with_cbor(), patience)
    }

    /// Sends a request and waits for its answer; a request that gets none is sent once more, as the line may have lost it.
    fn exchange<A: DeserializeOwned>(&mut self, request: &mut dyn FnMut(u8) -> Vec<u8>, patience: Duration) -> Result<A, SmpError> {
        for _ in 0..2 {
            self.sequence = self.sequence.wrapping_add(1);
            let frame = request(self.sequence);
            let asked = (frame[4], frame[5], frame[7]);
            self.stream.set_write_timeout(Some(patience))?;
            self.stream.write_all(&lines_of(&frame))?;
            let until = Deadline::after(patience / 2);
            while let Some(answer) = self.next_packet(until)? {
                let fits = answer.len() >= 8 && (answer[4], answer[5], answer[7]) == asked && answer[6] == self.sequence;
                if fits {
                    return decode(&answer);
                }
            }
        }
        Err(SmpError::Silent)
    }

    /// The next packet whose CRC is right; `None` if none comes until then.
    fn next_packet(&mut self, until: Deadline) -> Result<Option<Vec<u8>>, SmpError> {
        loop {
            if self.give_up.is_asked() {
                return Err(SmpError::GivenUp);
            }
            let left = until.left();
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left.min(Duration::from_millis(5))))?;
            // One byte after the other: what follows a packet stays where it is. The kernel has them all at hand.
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => {
                    if let Some(packet) = self.take(byte[0]) {
                        return Ok(Some(packet));
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, byte: u8) -> Option<Vec<u8>> {
        let in_packet = !self.line.is_empty() || byte == FIRST[0] || byte == NEXT[0];
        if !in_packet {
            self.console.take(byte);
            return None;
        }
        if byte != b'\n' {
            if self.line.len() < PACKET_MAX {
                self.line.push(byte);
            }
            return None;
        }
        let line = std::mem::take(&mut self.line);
        match line.get(..2) {
            Some(mark) if mark == FIRST => self.packet.clear(),
            Some(mark) if mark == NEXT => {}
            _ => return None,
        }
        let decoded = STANDARD.decode(&line[2..]).ok()?;
        if self.packet.len() + decoded.len() > PACKET_MAX {
            self.packet.clear();
            return None;
        }
        self.packet.extend_from_slice(&decoded);
        whole(&self.packet).inspect(|_| self.packet.clear())
    }
}

fn accepted(code: Code) -> Result<(), SmpError> {
    if code.rc == 0 {
        Ok(())
    } else {
        Err(SmpError::Refused { code: code.rc })
    }
}

/// Reads the answer in a packet; its head was looked at.
fn decode<A: DeserializeOwned>(answer: &[u8]) -> Result<A, SmpError> {
    let garbled = |what: &str| SmpError::Garbled { what: what.to_owned() };
    // The library panics on an unknown operation and on a length near 2^16.
    let length = usize::from(u16::from_be_bytes([answer[2], answer[3]]));
    if answer[0] & 0x07 > 3 || length > answer.len() - 8 {
        return Err(garbled("its head is wrong"));
    }
    let frame = SmpFrame::<A>::decode_with_cbor(answer);
    frame
        .map(|frame| frame.data)
        .map_err(|error| SmpError::Garbled { what: error.to_string() })
}

/// The frame in a packet that is complete and whose CRC is right.
fn whole(packet: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = packet.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let body = rest.get(..length)?;
    (length >= 2 && crc(body) == 0).then(|| body[..length - 2].to_vec())
}

/// A frame as it goes over the line.
fn lines_of(frame: &[u8]) -> Vec<u8> {
    let mut packet = ((frame.len() + 2) as u16).to_be_bytes().to_vec();
    packet.extend_from_slice(frame);
    packet.extend_from_slice(&crc(frame).to_be_bytes());
    let mut lines = Vec::new();
    for (number, part) in packet.chunks((LINE - 2) / 4 * 3).enumerate() {
        lines.extend_from_slice(if number == 0 { &FIRST } else { &NEXT });
        lines.extend_from_slice(STANDARD.encode(part).as_bytes());
        lines.push(b'\n');
    }
    lines
}

/// CRC-16 with the polynomial 0x1021 from zero on (XMODEM).
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            let carried = crc & 0x8000 != 0;
            (crc << 1) ^ if carried { 0x1021 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> (Smp, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Smp::new(ours, GiveUp::default()), theirs)
    }

    fn taken(smp: &mut Smp, bytes: &[u8]) -> Vec<Vec<u8>> {
        bytes.iter().filter_map(|byte| smp.take(*byte)).collect()
    }

    #[test]
    fn the_crc_is_the_one_of_the_xmodem_catalogue() {
        assert_eq!(crc(b"123456789"), 0x31c3);
    }

    #[test]
    fn packets_of_any_length_come_back_from_their_lines() {
        let (mut smp, _other) = client();
        for length in [8, 90, 91, 92, 93, 94, 500, 1100] {
            let frame: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let lines = lines_of(&frame);
            assert!(lines.split(|byte| *byte == b'\n').all(|line| line.len() <= LINE));
            assert_eq!(taken(&mut smp, &lines), [frame]);
        }
    }

    #[test]
    fn what_is_printed_between_packets_goes_to_the_console() {
        let (mut smp, _other) = client();
        let frame = vec![1; 8];
        let bytes = [b"hello\x1b[31m\n".as_slice(), &lines_of(&frame), b"bye\nbegun"].concat();
        assert_eq!(taken(&mut smp, &bytes), [frame]);
        assert_eq!(smp.console().drain().collect::<Vec<_>>(), ["hello[31m", "bye"]);
    }

    #[test]
    fn a_packet_with_a_wrong_crc_or_without_its_beginning_is_none() {
        let (mut smp, _other) = client();
        let mut lines = lines_of(&[7; 200]);
        let first_end = lines.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        assert_eq!(taken(&mut smp, &lines[first_end..]), [] as [Vec<u8>; 0]);
        lines[10] = if lines[10] == b'A' { b'B' } else { b'A' };
        assert_eq!(taken(&mut smp, &lines), [] as [Vec<u8>; 0]);
    }

    #[test]
    fn an_answer_whose_head_would_make_the_library_panic_is_garbled() {
        let unknown_operation = [0xff, 0, 0, 0, 0, 0, 1, 0];
        let endless = [1, 0, 0xff, 0xff, 0, 0, 1, 0];
        for head in [unknown_operation, endless] {
            let error = decode::<Code>(&head).unwrap_err();
            assert!(matches!(error, SmpError::Garbled { .. }), "{error}");
        }
    }
}
