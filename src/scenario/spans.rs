//! Where the terms and values of a selector or a measure stand in its text. The grammar is flat, so commas and bars tell.

use std::ops::Range;

/// The bytes of the term at `position` of a selector, without the spaces around it.
pub(super) fn selector_term(text: &str, position: usize) -> Range<usize> {
    let start = text.find(" of ").map_or(0, |of| of + 4);
    piece(text, start..text.len(), ',', position)
}

/// The bytes of the label at `position` of a measure.
pub(super) fn label(text: &str, position: usize) -> Range<usize> {
    let start = text.find('{').map_or(0, |open| open + 1);
    let end = text.find('}').unwrap_or(text.len()).max(start);
    piece(text, start..end, ',', position)
}

/// The bytes of the value at `position` within a term or label.
pub(super) fn value(text: &str, term: Range<usize>, position: usize) -> Range<usize> {
    let start = text[term.clone()]
        .find(':')
        .map_or(term.start, |colon| term.start + colon + 1);
    piece(text, start..term.end, '|', position)
}

fn piece(text: &str, within: Range<usize>, separator: char, position: usize) -> Range<usize> {
    let mut start = within.start;
    for (number, piece) in text[within.clone()].split(separator).enumerate() {
        if number == position {
            let lead = piece.len() - piece.trim_start().len();
            let length = piece.trim().len();
            return start + lead..start + lead + length;
        }
        start += piece.len() + separator.len_utf8();
    }
    within
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_terms_labels_and_values() {
        let text = "5 % of tag.rev:a, !cohort:canary|early";
        assert_eq!(&text[selector_term(text, 0)], "tag.rev:a");
        assert_eq!(&text[value(text, selector_term(text, 1), 1)], "early");
        let text = "devices{runs:app@1.1.0,state:failed|succeeded} count == 0";
        assert_eq!(&text[label(text, 0)], "runs:app@1.1.0");
        assert_eq!(&text[value(text, label(text, 1), 0)], "failed");
        assert_eq!(label("devices count == 0", 0), 0..18);
    }
}
