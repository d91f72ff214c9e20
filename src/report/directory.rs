//! The run directory: one folder a run, and `latest`, which points to the newest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::measure::Trace;
use crate::play::Outcome;
use crate::scenario::Plan;

use super::csv::{devices_csv, timeline_csv};
use super::histograms::write_histograms;
use super::html::{OutagePage, html, outage_html};
use super::junit::junit;
use super::recording::Recording;
use super::shard::{SHARD, write_shard};
use super::summary::Summary;
use super::text::{Style, text_of};
use super::untrusted::clean;

/// How hard the trace is compressed; 3 is zstd's own default.
const TRACE_LEVEL: i32 = 3;
/// Runs that begin in one second under one name.
const SAME_SECOND_MAX: u32 = 1000;

/// A file of the run directory could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; `--out DIR` chooses another folder", path.display())]
pub struct ReportError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// The folder of one run.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    /// The same by way of `latest`.
    latest: PathBuf,
}

impl RunDirectory {
    /// Makes `out/2026-11-23T140509-NAME/` (a number is appended if it exists) and points `out/latest` to it. Called before the run,
    /// so that an unwritable folder is known early.
    ///
    /// # Errors
    /// [`ReportError`] if the folder or the link cannot be made.
    pub fn create(out: &Path, name: &str, now: SystemTime) -> Result<RunDirectory, ReportError> {
        let made = match out.is_file() {
            true => Err(io::Error::new(io::ErrorKind::NotADirectory, "it is a file")),
            false => fs::create_dir_all(out),
        };
        at(out, made)?;
        let stem = format!("{}-{}", Moment::of(now).compact(), file_name(name));
        let path = make_new(out, &stem)?;
        let link = out.join("latest");
        at(&link, point(&link, &path))?;
        Ok(RunDirectory { path, latest: link })
    }

    /// Makes a folder called `name` in this one, for another run: `rep-01`.
    ///
    /// # Errors
    /// [`ReportError`] if the folder cannot be made.
    pub fn within(&self, name: &str) -> Result<RunDirectory, ReportError> {
        let path = self.path.join(name);
        at(&path, fs::create_dir_all(&path))?;
        let latest = self.latest.join(name);
        Ok(RunDirectory { path, latest })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a person finds its page, until the next run.
    pub fn page(&self) -> PathBuf {
        self.latest.join("report.html")
    }

    /// Appends a line to `log.txt`.
    ///
    /// # Errors
    /// [`ReportError`] if it cannot be written.
    pub fn log(&self, line: &str) -> Result<(), ReportError> {
        let path = self.path.join("log.txt");
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        at(
            &path,
            opened.and_then(|mut file| file.write_all(format!("{}\n", clean(line)).as_bytes())),
        )
    }

    /// Writes every other file.
    ///
    /// # Errors
    /// [`ReportError`] of the first file that cannot be written; the others are written all the same.
    pub fn write(&self, outcome: &Outcome) -> Result<(), ReportError> {
        let summary = Summary::of(outcome);
        let mut written = vec![
            self.put_files(&outcome.plan),
            self.put("scenario.toml", &outcome.plan.source),
            self.put("resolved.toml", &outcome.plan.resolved),
            self.put("summary.json", &summary.to_json()),
            self.put("summary.txt", &text_of(&summary, Style::Plain)),
            self.stream("devices.csv", |file| devices_csv(outcome, file)),
            self.stream("timeline.csv", |file| timeline_csv(outcome.recorder.timeline(), file)),
            self.stream("histograms.hlog", |file| {
                write_histograms(&outcome.recorder, outcome.elapsed, file)
            }),
        ];
        if let Some(trace) = outcome.recorder.trace() {
            written.push(self.stream("trace.ndjson.zst", |file| write_trace(outcome, trace, file)));
        }
        if !outcome.plan.split.is_whole() {
            written.push(self.stream(SHARD, |file| write_shard(outcome, file)));
        }
        written.push(self.reports(&summary));
        written.into_iter().collect()
    }

    /// Keeps the files that a scenario names, so that its resolved form can be played from here.
    ///
    /// # Errors
    /// [`ReportError`] of the first that cannot be copied.
    pub fn put_files(&self, plan: &Plan) -> Result<(), ReportError> {
        for (name, file) in &plan.files {
            let path = self.path.join(name);
            let folder = path.parent().unwrap_or(&self.path);
            at(folder, fs::create_dir_all(folder))?;
            at(&path, fs::copy(file, &path).map(drop))?;
        }
        Ok(())
    }

    /// What is made of the data that stands in the folder by now.
    fn reports(&self, summary: &Summary) -> Result<(), ReportError> {
        self.put("junit.xml", &junit(&[summary]))?;
        let run = Recording::read(&self.path).map_err(|error| ReportError {
            path: error.path,
            source: io::Error::other(error.problem),
        })?;
        self.put("report.html", &html(&run))
    }

    /// Writes the smallest scenario that fails as the run did.
    ///
    /// # Errors
    /// [`ReportError`] if it cannot be written.
    pub fn put_shrunk(&self, scenario: &str) -> Result<(), ReportError> {
        self.put("shrunk.toml", scenario)
    }

    /// Writes which outages a fleet comes back from.
    ///
    /// # Errors
    /// [`ReportError`] if it cannot be written.
    pub fn put_outage(&self, page: &OutagePage) -> Result<(), ReportError> {
        self.put("outage.html", &outage_html(page))
    }

    fn put(&self, name: &str, text: &str) -> Result<(), ReportError> {
        let path = self.path.join(name);
        at(&path, fs::write(&path, text))
    }

    fn stream(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), ReportError> {
        let path = self.path.join(name);
        let written = File::create(&path).and_then(|file| {
            let mut file = BufWriter::new(file);
            write(&mut file)?;
            file.flush()
        });
        at(&path, written)
    }
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, ReportError> {
    result.map_err(|source| ReportError {
        path: path.to_owned(),
        source,
    })
}

/// Makes a folder that was not there before.
fn make_new(out: &Path, stem: &str) -> Result<PathBuf, ReportError> {
    let mut path = out.join(stem);
    for number in 2..=SAME_SECOND_MAX {
        match fs::create_dir(&path) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < SAME_SECOND_MAX => {
                path = out.join(format!("{stem}-{number}"));
            }
            Err(source) => return Err(ReportError { path, source }),
        }
    }
    Ok(path)
}

/// Makes `link` point to its sibling `target` in one step, so that whoever follows it finds the old or the new one.
fn point(link: &Path, target: &Path) -> io::Result<()> {
    if fs::symlink_metadata(link).is_ok_and(|found| !found.is_symlink()) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "is in the way: not a symbolic link",
        ));
    }
    let name = target.file_name().expect("a folder just made has a name");
    let mut beside = name.to_owned();
    beside.push(".latest");
    let beside = link.with_file_name(beside);
    std::os::unix::fs::symlink(name, &beside)?;
    fs::rename(&beside, link)
}

/// A scenario's name, as far as it may stand in a file name.
fn file_name(name: &str) -> String {
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(fits).take(64).collect();
    match name.trim_start_matches('.') {
        "" => "run".to_owned(),
        name => name.to_owned(),
    }
}

fn write_trace(outcome: &Outcome, trace: &Trace, file: &mut dyn Write) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(file, TRACE_LEVEL)?;
    let mut line = String::new();
    for row in trace.sorted() {
        line.clear();
        trace.write_line(&row, &outcome.plan.devices[row.device.at()].id, &mut line);
        encoder.write_all(line.as_bytes())?;
    }
    encoder.finish().map(|_| ())
}

/// A moment as RFC 3339 in UTC with whole seconds: `2026-11-23T14:05:09Z`.
pub fn timestamp(now: SystemTime) -> String {
    Moment::of(now).rfc_3339()
}

/// The moment that RFC 3339 in UTC with whole seconds says: `2026-11-23T14:05:09Z`.
///
/// # Errors
/// How it is written, where it is none.
pub fn moment(text: &str) -> Result<SystemTime, String> {
    let wrong = || "a moment is written like 2026-11-23T14:05:00Z, in UTC".to_owned();
    let digits: Vec<u64> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let [year, month, day, hour, minute, second] = digits[..] else {
        return Err(wrong());
    };
    // The year begins in March (Hinnant's algorithm, the other way round).
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.saturating_sub(1), month + 9)
    };
    let of_era = (year % 400) * 365 + year % 400 / 4 - year % 400 / 100 + (153 * month.min(11) + 2) / 5 + day.saturating_sub(1);
    let days = (year.min(9_999) / 400 * 146_097 + of_era)
        .checked_sub(719_468)
        .ok_or_else(wrong)?;
    let moment =
        SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400 + hour.min(23) * 3_600 + minute.min(59) * 60 + second.min(59));
    // Whatever is out of range comes back as another text.
    match timestamp(moment) == text {
        true => Ok(moment),
        false => Err(wrong()),
    }
}

/// A moment taken apart, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    year: u64,
    month: u64,
    day: u64,
    second: u64,
}

impl Moment {
    /// Days to year, month and day by Hinnant's algorithm, whose years begin in March; a clock before 1970 counts as 1970.
    fn of(now: SystemTime) -> Moment {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let days = seconds / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Moment {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: of_year - (153 * shifted + 2) / 5 + 1,
            second: seconds % 86_400,
        }
    }

    fn clock(self) -> (u64, u64, u64) {
        (self.second / 3600, self.second / 60 % 60, self.second % 60)
    }

    fn rfc_3339(self) -> String {
        let (hour, minute, second) = self.clock();
        format!(
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
            self.year, self.month, self.day
        )
    }

    /// As it stands in the name of a run directory.
    fn compact(self) -> String {
        let (hour, minute, second) = self.clock();
        format!(
            "{:04}-{:02}-{:02}T{hour:02}{minute:02}{second:02}",
            self.year, self.month, self.day
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_1970(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn moments_are_utc() {
        assert_eq!(timestamp(after_1970(0)), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(after_1970(1_795_442_709)), "2026-11-23T14:05:09Z");
        assert_eq!(timestamp(after_1970(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(after_1970(4_107_542_399)), "2100-02-28T23:59:59Z");
        assert_eq!(timestamp(after_1970(4_107_542_400)), "2100-03-01T00:00:00Z");
        for seconds in [0, 1_795_442_709, 951_782_400, 951_868_799, 4_107_542_399, 4_107_542_400] {
            assert_eq!(moment(&timestamp(after_1970(seconds))), Ok(after_1970(seconds)));
        }
        for wrong in [
            "",
            "now",
            "2026-11-23",
            "2026-02-30T00:00:00Z",
            "2026-11-23T14:05:09+01:00",
            "2026-11-23T24:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn runs_of_one_second_get_folders_of_their_own_and_latest_is_the_newest() {
        let out = tempfile::tempdir().unwrap();
        let now = after_1970(1_795_442_709);
        let made: Vec<_> = (0..3)
            .map(|_| RunDirectory::create(out.path(), "quick start/x", now).unwrap())
            .collect();
        let names: Vec<_> = made
            .iter()
            .map(|run| run.path().file_name().unwrap().to_str().unwrap())
            .collect();
        let stem = "2026-11-23T140509-quick-start-x";
        assert_eq!(names, [stem, &format!("{stem}-2"), &format!("{stem}-3")]);
        made[2].log("one\u{1b}").unwrap();
        made[2].log("two").unwrap();
        assert_eq!(fs::read_to_string(out.path().join("latest/log.txt")).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join("latest")).unwrap();
        let error = RunDirectory::create(out.path(), "x", after_1970(0)).unwrap_err();
        assert!(
            error.to_string().contains("latest: is in the way: not a symbolic link"),
            "{error}"
        );
        let file = out.path().join("file");
        fs::write(&file, "").unwrap();
        let error = RunDirectory::create(&file.join("runs"), "x", after_1970(0)).unwrap_err();
        assert!(error.to_string().contains("file/runs: "), "{error}");
    }
}
