//! Text that a device, a server or a scenario supplied, made fit to be shown.

/// Without control characters and without those that turn the direction of text, so that it cannot move a cursor or disguise itself.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|&c| !c.is_control() && !turns_text(c)).collect()
}

/// The bidirectional formatting characters of Unicode (UAX 9).
const fn turns_text(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A cell of a CSV file (RFC 4180). A cell that a spreadsheet would take for a formula begins with an apostrophe.
pub(super) fn cell(text: &str) -> String {
    let text = clean(text);
    let guarded = match text.starts_with(['=', '+', '-', '@']) {
        true => format!("'{text}"),
        false => text,
    };
    match guarded.contains(['"', ',', ';', '\'']) {
        true => format!("\"{}\"", guarded.replace('"', "\"\"")),
        false => guarded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_vanish() {
        assert_eq!(clean("a\u{1b}[31mb\r\nc\u{7}\u{202e}d"), "a[31mbcd");
    }

    #[test]
    fn a_formula_is_only_text() {
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("\t@SUM(A1)"), "\"'@SUM(A1)\"");
        assert_eq!(cell("-5"), "\"'-5\"");
        assert_eq!(cell("demo-00001"), "demo-00001");
        assert_eq!(cell("a \"b\", c"), "\"a \"\"b\"\", c\"");
    }
}
