//! TOML with the place of every key and value, and the texts that places point into.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Problem, Problems};

/// A stretch of one of the scenario's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Position in [`Texts`].
    pub text: usize,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

impl Place {
    /// Position of the scenario file in [`Texts`]; the others are of flags and of the environment.
    pub const FILE: usize = 0;

    /// The same text, another stretch.
    fn over(self, range: Range<usize>) -> Place {
        Place {
            start: range.start,
            end: range.end,
            ..self
        }
    }
}

/// The texts that make up a scenario: the file first, then each flag that changes it.
#[derive(Debug, Default)]
pub(super) struct Texts(pub Vec<Text>);

/// One text.
#[derive(Debug)]
pub(super) struct Text {
    /// What errors call it: a path, or `--set`.
    pub label: String,
    /// Its content.
    pub text: String,
    /// Whether places in it are given by line and column.
    pub lines: bool,
    /// Stretches that are never shown: literal secrets.
    pub masked: Vec<Range<usize>>,
}

impl Texts {
    /// Adds a text and gives its number.
    pub fn add(&mut self, label: impl Into<String>, text: impl Into<String>, lines: bool) -> usize {
        self.0.push(Text {
            label: label.into(),
            text: text.into(),
            lines,
            masked: Vec::new(),
        });
        self.0.len() - 1
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Value,
    pub at: Place,
}

/// What TOML can hold, as far as the language uses it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Words),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

/// A text value: what it says, and where what it says stands.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub text: String,
    /// The content without its quotes, where it is written without escapes; else the whole literal.
    pub inner: Place,
    /// Whether `inner` maps byte by byte onto `text`.
    pub plain: bool,
}

impl Words {
    /// Where a part of the text stands.
    pub fn part(&self, range: Range<usize>) -> Place {
        if self.plain {
            let start = self.inner.start + range.start.min(self.text.len());
            let end = self.inner.start + range.end.min(self.text.len());
            self.inner.over(start..end.max(start))
        } else {
            self.inner
        }
    }
}

/// Keys with their values, in order of the text.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(pub Vec<Entry>);

/// One key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_at: Place,
    pub node: Node,
}

impl Table {
    /// The entry called `key`.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }
}

/// What the parser says of a name that stands twice.
const DUPLICATE: &str = "duplicate key";

/// Reads a TOML text. Syntax errors go to `problems`: every name that stands twice, and
/// of the others the first, since later ones are mostly its echoes.
pub(super) fn parse(texts: &Texts, number: usize, problems: &Problems) -> Option<Node> {
    let text = texts.0[number].text.as_str();
    let (document, errors) = DeTable::parse_recoverable(text);
    let whole = Place {
        text: number,
        start: 0,
        end: text.len(),
    };
    if errors.is_empty() {
        let value = Value::Table(table(document.get_ref(), text, whole));
        return Some(Node { value, at: whole });
    }
    let mut errors: Vec<_> = errors.iter().collect();
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    let mut others = 0;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let twice = error.message().starts_with(DUPLICATE);
        others += usize::from(!twice);
        if twice || others == 1 {
            let (message, hint) = syntax(error.message(), text.get(span.clone()).unwrap_or_default());
            problems.push(Problem::new(whole.over(span), message, hint));
        }
    }
    None
}

/// The parser's words, with the way out where it is known.
fn syntax(message: &str, found: &str) -> (String, Option<String>) {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let hint = match what {
        DUPLICATE => Some(format!("`{found}` stands above already: a name is given once")),
        _ if expected.is_empty() || expected == "nothing" => None,
        _ => Some(format!("expected {expected}")),
    };
    (format!("not TOML: {what}"), hint)
}

fn table(source: &DeTable<'_>, text: &str, whole: Place) -> Table {
    let mut entries: Vec<Entry> = source
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_at: whole.over(key.span()),
            node: node(value, text, whole),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_at);
    Table(entries)
}

fn node(source: &Spanned<DeValue<'_>>, text: &str, whole: Place) -> Node {
    let span = source.span();
    let at = whole.over(span.clone());
    let value = match source.get_ref() {
        DeValue::String(content) => Value::Text(words(content, text, at)),
        DeValue::Integer(integer) => {
            i128::from_str_radix(integer.as_str(), integer.radix()).map_or(Value::Float(f64::INFINITY), Value::Integer)
        }
        DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(array) => Value::Array(array.iter().map(|item| node(item, text, whole)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, text, whole)),
    };
    Node { value, at }
}

fn words(content: &str, text: &str, at: Place) -> Words {
    let literal = text.get(at.start..at.end).unwrap_or_default();
    let inside = at.start + 1..at.end.saturating_sub(1).max(at.start + 1);
    let plain = literal.len() >= 2 && text.get(inside.clone()) == Some(content);
    Words {
        text: content.to_owned(),
        inner: if plain { at.over(inside) } else { at },
        plain,
    }
}

/// A text value made of a whole flag value that is no TOML.
fn bare(text: &str, at: Place) -> Node {
    let words = Words {
        text: text.to_owned(),
        inner: at,
        plain: true,
    };
    Node {
        value: Value::Text(words),
        at,
    }
}

/// Lays `--set KEY=VALUE` (text `number`) over the document. VALUE is TOML, or else a text as it stands. Gives names and value.
pub(super) fn set(root: &mut Node, texts: &Texts, number: usize, problems: &Problems) -> Option<(Vec<String>, String)> {
    let text = texts.0[number].text.as_str();
    let whole = whole(texts, number);
    let Some(equals) = equals_sign(text) else {
        problems.add(whole, "there is no `=`", "write for example `--set fleet.demo.count=50`");
        return None;
    };
    let Some(path) = key_path(&text[..equals]) else {
        let hint = "write names with dots between, for example `fleet.demo.count`";
        problems.add(whole.over(0..equals), "this is not a key", hint);
        return None;
    };
    let value = flag_value(&text[equals + 1..], whole.over(equals + 1..text.len()));
    let places: Vec<_> = path.iter().map(|(key, at)| (key.as_str(), whole.over(at.clone()))).collect();
    lay(root, &places, value, problems);
    Some((path.into_iter().map(|(key, _)| key).collect(), text[equals + 1..].to_owned()))
}

/// Lays the value that stands at `from` in text `number` over what `path` names.
pub(super) fn put(root: &mut Node, texts: &Texts, number: usize, path: &[&str], from: usize, problems: &Problems) {
    let at = whole(texts, number);
    let value_at = at.over(from..at.end);
    let value = flag_value(&texts.0[number].text[from..], value_at);
    let places: Vec<_> = path.iter().map(|key| (*key, value_at)).collect();
    lay(root, &places, value, problems);
}

fn whole(texts: &Texts, number: usize) -> Place {
    Place {
        text: number,
        start: 0,
        end: texts.0[number].text.len(),
    }
}

/// Puts a value where `path` leads; tables on the way are made.
fn lay(root: &mut Node, path: &[(&str, Place)], value: Node, problems: &Problems) {
    const HINT: &str = "`--set` reaches into tables and rows only";
    let Some(((last, last_at), parents)) = path.split_last() else {
        return;
    };
    let mut here = root;
    for (segment, at) in parents {
        match descend(here, segment, *at) {
            Ok(inner) => here = inner,
            Err(message) => return problems.add(*at, message, HINT),
        }
    }
    let entry = Entry {
        key: (*last).to_owned(),
        key_at: *last_at,
        node: value,
    };
    let Value::Table(table) = &mut here.value else {
        return problems.add(*last_at, format!("`{last}` is looked for inside a value"), HINT);
    };
    match table.0.iter_mut().find(|known| known.key == *last) {
        Some(known) => *known = entry,
        None => table.0.push(entry),
    }
}

/// What `segment` names inside a node: the entry of a table, made if it is not there, or a row by its `name` or position from 1.
fn descend<'n>(node: &'n mut Node, segment: &str, key_at: Place) -> Result<&'n mut Node, String> {
    match &mut node.value {
        Value::Table(table) => {
            let position = table.0.iter().position(|entry| entry.key == segment).unwrap_or_else(|| {
                let value = Value::Table(Table::default());
                table.0.push(Entry {
                    key: segment.to_owned(),
                    key_at,
                    node: Node { value, at: key_at },
                });
                table.0.len() - 1
            });
            Ok(&mut table.0[position].node)
        }
        Value::Array(rows) => {
            let named = rows.iter().position(|row| row_name(row) == Some(segment));
            let numbered = segment
                .parse::<usize>()
                .ok()
                .and_then(|n| n.checked_sub(1))
                .filter(|&n| n < rows.len());
            let position = named.or(numbered).ok_or_else(|| format!("there is no row `{segment}`"))?;
            Ok(&mut rows[position])
        }
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime => {
            Err(format!("`{segment}` is looked for inside a value"))
        }
    }
}

fn row_name(row: &Node) -> Option<&str> {
    match &row.value {
        Value::Table(table) => match &table.entry("name")?.node.value {
            Value::Text(words) => Some(&words.text),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_) | Value::Table(_) => None,
        },
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_) => None,
    }
}

/// The first `=` outside quotes.
fn equals_sign(text: &str) -> Option<usize> {
    let mut quote = None;
    text.char_indices()
        .find(|&(_, c)| {
            match (quote, c) {
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), _) if open == c => quote = None,
                _ => {}
            }
            quote.is_none() && c == '='
        })
        .map(|(at, _)| at)
}

/// The names of a dotted key, each with its place; the TOML parser reads it as a key of a one-line document.
fn key_path(text: &str) -> Option<Vec<(String, Range<usize>)>> {
    if text.contains(['\n', '\r', '#', '[']) {
        return None;
    }
    let line = format!("{text} = 0");
    let document = DeTable::parse(&line).ok()?;
    let mut table = document.get_ref();
    let mut path = Vec::new();
    loop {
        let (key, value) = table.iter().next()?;
        path.push((key.get_ref().to_string(), key.span()));
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

fn flag_value(text: &str, at: Place) -> Node {
    const LEAD: &str = "v = ";
    let line = format!("{LEAD}{text}");
    let parsed = DeTable::parse(&line).ok().filter(|document| document.get_ref().len() == 1);
    let Some(value) = parsed.as_ref().and_then(|document| document.get_ref().get("v")) else {
        return bare(text, at);
    };
    let mut converted = node(value, &line, at);
    shift(&mut converted, at.start as isize - LEAD.len() as isize);
    converted
}

/// Moves every place of a value read from a line of its own to where it stands in the flag.
fn shift(node: &mut Node, by: isize) {
    let moved = |place: Place| {
        let to = |position: usize| position.saturating_add_signed(by);
        place.over(to(place.start)..to(place.end))
    };
    node.at = moved(node.at);
    match &mut node.value {
        Value::Text(words) => words.inner = moved(words.inner),
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Table(table) => table.0.iter_mut().for_each(|entry| {
            entry.key_at = moved(entry.key_at);
            shift(&mut entry.node, by);
        }),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime => {}
    }
}
