//! A CBOR encoder for tests that can write one content in many ways, and content that is wrong.

/// A CBOR item.
#[derive(Clone, Debug)]
pub enum Item {
    Uint(u64),
    /// An unsigned integer whose head stays at most four bytes wide.
    Narrow(u32),
    /// `-1 - n`.
    Negative(u64),
    Bytes(Vec<u8>),
    Text(Vec<u8>),
    Array(Vec<Item>),
    Map(Vec<(Item, Item)>),
    Bool(bool),
    Null,
    Float(f64),
    Tag(u64, Box<Item>),
    /// Bytes as they are.
    Raw(Vec<u8>),
}

pub fn uint(number: u64) -> Item {
    Item::Uint(number)
}

pub fn text(text: impl AsRef<[u8]>) -> Item {
    Item::Text(text.as_ref().to_vec())
}

pub fn raw(bytes: impl AsRef<[u8]>) -> Item {
    Item::Raw(bytes.as_ref().to_vec())
}

pub fn array(elements: impl IntoIterator<Item = Item>) -> Item {
    Item::Array(elements.into_iter().collect())
}

/// A map with integer keys.
pub fn map(pairs: impl IntoIterator<Item = (u64, Item)>) -> Item {
    Item::Map(pairs.into_iter().map(|(key, value)| (uint(key), value)).collect())
}

/// How an encoding departs from the shortest: one choice is taken from the list wherever there is one to make, round and round.
#[derive(Clone, Debug, Default)]
pub struct Style {
    choices: Vec<u8>,
    next: usize,
    reorder: bool,
}

impl Style {
    /// Any widths, length forms and, if `reorder`, orders of keys.
    pub fn new(choices: Vec<u8>, reorder: bool) -> Self {
        Style {
            choices,
            next: 0,
            reorder,
        }
    }

    fn choice(&mut self, below: u8) -> u8 {
        let Some(choice) = self.choices.get(self.next % self.choices.len().max(1)) else {
            return 0;
        };
        self.next += 1;
        choice % below
    }
}

/// Shortest form, definite lengths, order as given.
pub fn encode(item: &Item) -> Vec<u8> {
    encode_as(item, &mut Style::default())
}

pub fn encode_as(item: &Item, style: &mut Style) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, item, style);
    out
}

fn write(out: &mut Vec<u8>, item: &Item, style: &mut Style) {
    match item {
        Item::Uint(number) => head(out, 0, *number, style, 8),
        Item::Narrow(number) => head(out, 0, u64::from(*number), style, 4),
        Item::Negative(number) => head(out, 1, *number, style, 8),
        Item::Bytes(bytes) => string(out, 2, bytes, style),
        Item::Text(bytes) => string(out, 3, bytes, style),
        Item::Array(elements) => {
            let open = container(out, 4, elements.len(), style);
            elements.iter().for_each(|element| write(out, element, style));
            out.extend(open.then_some(0xff));
        }
        Item::Map(pairs) => {
            let mut pairs = pairs.clone();
            if style.reorder && !pairs.is_empty() {
                let turn = usize::from(style.choice(255)) % pairs.len();
                pairs.rotate_left(turn);
                if style.choice(2) == 1 {
                    pairs.reverse();
                }
            }
            let open = container(out, 5, pairs.len(), style);
            for (key, value) in &pairs {
                write(out, key, style);
                write(out, value, style);
            }
            out.extend(open.then_some(0xff));
        }
        Item::Bool(value) => out.push(0xf4 + u8::from(*value)),
        Item::Null => out.push(0xf6),
        Item::Float(float) => {
            out.push(0xfb);
            out.extend(float.to_be_bytes());
        }
        Item::Tag(tag, item) => {
            head(out, 6, *tag, style, 8);
            write(out, item, style);
        }
        Item::Raw(bytes) => out.extend(bytes),
    }
}

fn string(out: &mut Vec<u8>, major: u8, bytes: &[u8], style: &mut Style) {
    head(out, major, bytes.len() as u64, style, 8);
    out.extend(bytes);
}

/// Opens a container; true if it wants a break.
fn container(out: &mut Vec<u8>, major: u8, count: usize, style: &mut Style) -> bool {
    let open = style.choice(2) == 1;
    if open {
        out.push(major << 5 | 31);
    } else {
        head(out, major, count as u64, style, 8);
    }
    open
}

fn head(out: &mut Vec<u8>, major: u8, argument: u64, style: &mut Style, widest: usize) {
    let fitting: Vec<usize> = [0, 1, 2, 4, 8]
        .into_iter()
        .filter(|&width| {
            width <= widest
                && if width == 0 {
                    argument < 24
                } else {
                    width == 8 || argument >> (8 * width) == 0
                }
        })
        .collect();
    let width = fitting[usize::from(style.choice(fitting.len() as u8))];
    let info = match width {
        0 => argument as u8,
        width => 24 + width.ilog2() as u8,
    };
    out.push(major << 5 | info);
    out.extend(&argument.to_be_bytes()[8 - width..]);
}
