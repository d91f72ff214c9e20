//! What is wrong with a scenario, and where: the line, the stretch underlined, and the way out.

use std::cell::RefCell;
use std::fmt;

use super::document::{Place, Text, Texts};

/// One thing that is wrong, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// Where: `quickstart.toml:4:16` (line and column from 1, columns count characters), or the flag.
    pub place: String,
    /// What is wrong, as a fragment that names thing and value.
    pub message: String,
    /// The way out, if one is known.
    pub hint: Option<String>,
    /// Line of the file, from 1; `None` for a flag or a file as a whole.
    pub line: Option<u32>,
    excerpt: Option<Excerpt>,
}

/// A line of the text with the stretch that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    line: String,
    /// Characters before the stretch.
    before: usize,
    /// Characters of the stretch, at least one.
    marked: usize,
}

/// Everything that is wrong with a scenario, in order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioErrors {
    errors: Vec<ScenarioError>,
}

impl ScenarioErrors {
    /// The errors in order.
    pub fn errors(&self) -> &[ScenarioError] {
        &self.errors
    }

    pub(super) fn whole(place: &str, message: impl Into<String>, hint: Option<String>) -> Self {
        let error = ScenarioError {
            place: place.to_owned(),
            message: message.into(),
            hint,
            line: None,
            excerpt: None,
        };
        ScenarioErrors { errors: vec![error] }
    }
}

impl fmt::Display for ScenarioErrors {
    /// One error after the other, each closed by a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.errors.iter().try_for_each(|error| error.write(f, "error"))
    }
}

impl std::error::Error for ScenarioErrors {}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "error")
    }
}

impl ScenarioError {
    fn write(&self, f: &mut impl fmt::Write, severity: &str) -> fmt::Result {
        writeln!(f, "{}: {severity}: {}", self.place, self.message)?;
        let hint = self.hint.as_deref().unwrap_or_default();
        match &self.excerpt {
            Some(Excerpt { line, before, marked }) => {
                let carets = format!("{}{} {hint}", " ".repeat(*before), "^".repeat(*marked));
                writeln!(f, "{}\n  {}", format!("  {line}").trim_end(), carets.trim_end())
            }
            None if hint.is_empty() => Ok(()),
            None => writeln!(f, "  {hint}"),
        }
    }
}

/// One thing that is wrong, with its place in the texts.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    at: Place,
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub fn new(at: Place, message: impl Into<String>, hint: Option<String>) -> Self {
        Problem {
            at,
            message: message.into(),
            hint,
        }
    }
}

/// Problems as they are found, in any order.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// Adds one with a way out.
    pub fn add(&self, at: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Problem::new(at, message, Some(hint.into())));
    }

    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The errors in order of the texts, or nothing if there are none.
    pub fn into_errors(self, texts: &Texts) -> Option<ScenarioErrors> {
        let errors = self.shown(texts, |text| text.label.clone());
        (!errors.is_empty()).then_some(ScenarioErrors { errors })
    }

    /// Each as a warning; files are called by their names alone, since warnings may stand in reports.
    pub fn into_warnings(self, texts: &Texts) -> Vec<String> {
        let shown = self.shown(texts, |text| text.label.rsplit('/').next().unwrap_or_default().to_owned());
        shown
            .iter()
            .map(|warning| {
                let mut text = String::new();
                warning.write(&mut text, "warning").expect("writing to a string cannot fail");
                text.trim_end().to_owned()
            })
            .collect()
    }

    fn shown(self, texts: &Texts, label: impl Fn(&Text) -> String) -> Vec<ScenarioError> {
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|problem| problem.at);
        problems
            .into_iter()
            .map(|problem| {
                let text = &texts.0[problem.at.text];
                show(problem, text, label(text))
            })
            .collect()
    }
}

/// Longest excerpt, characters; of a longer line the surroundings of the place are shown.
const WIDEST: usize = 120;

fn show(problem: Problem, source: &Text, label: String) -> ScenarioError {
    let text = source.text.as_str();
    let start = floor(text, problem.at.start);
    let end = floor(text, problem.at.end).max(start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let number = text[..start].matches('\n').count() as u32 + 1;
    let line: Vec<char> = masked(source, line_start, line_end).chars().map(printable).collect();
    let before = text[line_start..start].chars().count();
    let marked = text[start..end.min(line_end)].trim_end_matches('\r').chars().count().max(1);
    let (line, before, marked) = window(&line, before, marked);
    let place = match source.lines {
        true => format!("{label}:{number}:{}", text[line_start..start].chars().count() + 1),
        false => format!("{label} {}", masked(source, 0, text.len())),
    };
    let clean = |text: String| text.chars().map(printable).collect::<String>();
    ScenarioError {
        place: clean(place),
        message: clean(problem.message),
        hint: problem.hint.map(clean),
        line: source.lines.then_some(number),
        // In an empty line there is nothing to point at.
        excerpt: (!line.is_empty()).then_some(Excerpt { line, before, marked }),
    }
}

/// The part of `line` around the mark that fits, its ends replaced by `…` where something is left out.
fn window(line: &[char], before: usize, marked: usize) -> (String, usize, usize) {
    let length = line.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
    if length <= WIDEST {
        return (line[..length].iter().collect(), before, marked);
    }
    let first = before.saturating_sub(WIDEST / 3).min(length.saturating_sub(WIDEST));
    let last = (first + WIDEST).min(length);
    let mut shown: Vec<char> = line[first..last].to_vec();
    if first > 0 {
        shown[0] = '…';
    }
    if last < length {
        *shown.last_mut().expect("the window is not empty") = '…';
    }
    let before = before - first;
    (
        shown.into_iter().collect(),
        before,
        marked.min(WIDEST.saturating_sub(before).max(1)),
    )
}

/// A character for a terminal: tabs become one space, so that columns count characters; control characters become a mark.
fn printable(c: char) -> char {
    match c {
        '\t' | '\r' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// A stretch of a text, secrets replaced.
fn masked(source: &Text, start: usize, end: usize) -> String {
    source.text[start..end]
        .char_indices()
        .map(|(at, c)| {
            let hidden = source.masked.iter().any(|secret| secret.contains(&(start + at)));
            if hidden { '*' } else { c }
        })
        .collect()
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, start: usize, end: usize) -> String {
        let mut texts = Texts::default();
        texts.add("f.toml", text, true);
        let problems = Problems::default();
        problems.add(Place { text: 0, start, end }, "wrong", "do right");
        problems.into_errors(&texts).unwrap().to_string()
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(
            shown("a = 1\nü = \"ß\tx\"", 15, 16),
            "f.toml:2:8: error: wrong\n  ü = \"ß x\"\n         ^ do right\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}bad{}", "x".repeat(500), "y".repeat(500));
        let shown = shown(&text, 500, 503);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].starts_with("f.toml:1:501:"));
        assert_eq!(lines[1].chars().count(), 2 + WIDEST);
        assert!(lines[1].starts_with("  …x") && lines[1].ends_with("y…"));
        let caret = lines[2].find('^').unwrap();
        assert_eq!(lines[1].chars().skip(caret).take(3).collect::<String>(), "bad");
    }

    #[test]
    fn control_characters_and_carriage_returns_do_not_reach_the_terminal() {
        let shown = shown("a = \u{1b}[31m\r\nb", 4, 9);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\r'), "{shown:?}");
    }

    #[test]
    fn a_place_inside_a_character_or_past_the_end_does_not_panic() {
        assert!(shown("ß", 1, 1).contains("^"));
        assert!(shown("a", 7, 9).contains("^"));
    }

    #[test]
    fn an_empty_line_is_not_shown() {
        assert!(!shown("", 7, 9).contains("^"));
    }
}
