//! Charts as inline SVG: frame, axes, marks, tooltips. Colors are classes, so that the page decides them for light, dark and print; text
//! is escaped here.

use std::fmt::Write;

use super::axis::{Scale, TimeAxis, Unit};

pub(super) const WIDTH: f64 = 620.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 14.0;
pub(super) const BOTTOM: f64 = 44.0;
/// Height of the part that holds the curves.
const PLOT: f64 = 190.0;
/// Height of one row of labels above it.
const MARK_ROW: f64 = 15.0;
const MARK_ROWS_MAX: usize = 4;
/// Width of a character of a label, roughly.
const LETTER: f64 = 7.2;

/// Text as it may stand in SVG.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Something that happened at a moment, or went on for a while: steps and faults.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) name: String,
    /// For the tooltip.
    pub(super) what: String,
    pub(super) from: f64,
    /// `None` for a moment.
    pub(super) to: Option<f64>,
}

/// A finished chart.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) title: String,
    /// What it shows, in a sentence with its main figures: read aloud, and shown below.
    pub(super) desc: String,
    /// Class and name of each series.
    pub(super) legend: Vec<(String, String)>,
    pub(super) svg: String,
}

/// Most bars of windows along the upper edge of a plot.
const BARS_MAX: usize = 8;

/// A chart being drawn.
pub(super) struct Canvas {
    id: &'static str,
    body: String,
    top: f64,
    height: f64,
}

impl Canvas {
    /// A canvas with room for the labels of `marks` on a time axis.
    pub(super) fn new(id: &'static str) -> Canvas {
        Canvas::sized(id, PLOT, 0)
    }

    pub(super) fn with_rows(id: &'static str, rows: usize) -> Canvas {
        Canvas::sized(id, PLOT, rows)
    }

    pub(super) fn sized(id: &'static str, plot: f64, rows: usize) -> Canvas {
        Canvas {
            id,
            body: String::new(),
            top: 12.0 + MARK_ROW * rows as f64,
            height: plot,
        }
    }

    pub(super) fn x(place: f64) -> f64 {
        LEFT + place * (WIDTH - LEFT - RIGHT)
    }

    pub(super) fn y(&self, place: f64) -> f64 {
        self.top + (1.0 - place) * self.height
    }

    pub(super) fn top(&self) -> f64 {
        self.top
    }

    pub(super) fn push(&mut self, piece: &str) {
        self.body.push_str(piece);
    }

    /// Lines and labels of a vertical axis.
    pub(super) fn y_axis(&mut self, scale: Scale, unit: Unit, title: &str) {
        for tick in scale.ticks() {
            let y = self.y(scale.place(tick));
            let _ = write!(
                self.body,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.0}\"/><text class=\"tick\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                escape(&unit.show(tick))
            );
        }
        let middle = self.top + self.height / 2.0;
        let _ = write!(
            self.body,
            "<text class=\"axis\" transform=\"translate(13 {middle:.0}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(title)
        );
    }

    /// Labels of a horizontal axis, at places from 0 to 1.
    pub(super) fn x_axis(&mut self, ticks: &[(f64, String)], title: &str) {
        let foot = self.top + self.height;
        for (place, label) in ticks {
            let x = Canvas::x(*place);
            // A label in the middle of the last tick would leave the picture.
            let anchor = if *place > 0.96 { "end" } else { "middle" };
            let _ = write!(
                self.body,
                "<path class=\"grid\" d=\"M{x:.1} {:.1}v{:.1}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                self.top,
                self.height + 4.0,
                foot + 19.0,
                escape(label)
            );
        }
        let _ = write!(
            self.body,
            "<text class=\"axis\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            foot + 38.0,
            escape(title)
        );
    }

    pub(super) fn time_axis(&mut self, axis: TimeAxis, since: &str) {
        let ticks: Vec<_> = axis
            .ticks()
            .into_iter()
            .map(|(seconds, label)| (axis.place(seconds), label))
            .collect();
        self.x_axis(&ticks, &format!("{since}, {}", axis.unit()));
    }

    /// A line through points given as places.
    pub(super) fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", Canvas::x(x), self.y(y));
        }
        if !path.is_empty() {
            let _ = write!(self.body, "<path class=\"line {class}\" d=\"{path}\"/>");
        }
    }

    /// The area between two lines over the same places.
    pub(super) fn area(&mut self, class: &str, over: &[f64], low: &[f64], high: &[f64]) {
        let mut path = String::new();
        for (x, y) in over.iter().zip(high) {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", Canvas::x(*x), self.y(*y));
        }
        for (x, y) in over.iter().zip(low).rev() {
            let _ = write!(path, "L{:.1} {:.1}", Canvas::x(*x), self.y(*y));
        }
        if !path.is_empty() {
            let _ = write!(self.body, "<path class=\"area {class}\" d=\"{path}Z\"/>");
        }
    }

    /// A dot at a place, with what it says.
    pub(super) fn dot(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let (x, y) = (Canvas::x(x), self.y(y));
        let _ = write!(
            self.body,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"><title>{}</title></circle>",
            escape(text)
        );
    }

    /// An upright bar between two places.
    pub(super) fn bar(&mut self, class: &str, from: f64, to: f64, low: f64, high: f64) {
        let (x, width) = (Canvas::x(from), (Canvas::x(to) - Canvas::x(from)).max(0.6));
        let (y, height) = (self.y(high), self.y(low) - self.y(high));
        if height > 0.05 {
            let _ = write!(
                self.body,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            );
        }
    }

    /// A strip that shows `text` where the pointer rests on it.
    pub(super) fn tip(&mut self, from: f64, to: f64, text: &str) {
        let (x, width) = (Canvas::x(from), (Canvas::x(to) - Canvas::x(from)).max(1.0));
        let _ = write!(
            self.body,
            "<rect class=\"hit\" x=\"{x:.1}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"{:.0}\"><title>{}</title></rect>",
            self.top,
            self.height,
            escape(text)
        );
    }

    /// Windows behind the curves.
    pub(super) fn windows(&mut self, marks: &[Mark], axis: TimeAxis) {
        for (from, to) in marks.iter().filter_map(|mark| Some((mark.from, mark.to?))) {
            let (x, end) = (Canvas::x(axis.place(from)), Canvas::x(axis.place(to)));
            let _ = write!(
                self.body,
                "<rect class=\"window\" x=\"{x:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"{:.0}\"/>",
                self.top,
                (end - x).max(1.5),
                self.height
            );
        }
    }

    /// Lines where steps fire and windows begin, with labels above the plot in as many rows as they need; each window has a bar along the
    /// upper edge, which areas do not hide.
    pub(super) fn marks(&mut self, marks: &[Mark], axis: TimeAxis) {
        let bars = marks.iter().filter_map(|mark| Some((mark.from, mark.to?)));
        for (row, (from, to)) in bars.enumerate().take(BARS_MAX) {
            let (x, end) = (Canvas::x(axis.place(from)), Canvas::x(axis.place(to)));
            let _ = write!(
                self.body,
                "<rect class=\"bar\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"2.5\"/>",
                self.top + 1.5 + 4.5 * row as f64,
                (end - x).max(1.5),
            );
        }
        for (mark, (row, label)) in marks.iter().zip(rows(marks, axis)) {
            let x = Canvas::x(axis.place(mark.from));
            let Some(row) = row else { continue };
            let y = self.top - 6.0 - MARK_ROW * row as f64;
            let class = if mark.to.is_some() { "fault" } else { "step" };
            let end = x + label.chars().count() as f64 * LETTER > WIDTH - 2.0;
            let (anchor, at) = if end { ("end", x - 3.0) } else { ("start", x + 3.0) };
            let _ = write!(
                self.body,
                "<path class=\"{class}\" d=\"M{x:.1} {:.1}V{:.1}\"/><text class=\"mark {class}-name\" x=\"{at:.1}\" y=\"{y:.1}\" \
                 text-anchor=\"{anchor}\">{}<title>{}</title></text>",
                y - 8.0,
                self.top + self.height,
                escape(&label),
                escape(&mark.what)
            );
        }
    }

    /// What was drawn, for a picture of several, and how high it is without the labels of a horizontal axis.
    pub(super) fn into_parts(self) -> (String, f64) {
        (self.body, self.top + self.height)
    }

    /// The chart, with what a reader that does not see it is told.
    pub(super) fn finish(self, title: impl Into<String>, desc: String, legend: Vec<(String, String)>) -> Chart {
        let (id, title) = (self.id, title.into());
        let height = self.top + self.height + BOTTOM;
        let svg = format!(
            "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title>\
             <desc id=\"{id}-d\">{}</desc>{}</svg>",
            escape(&title),
            escape(&desc),
            self.body
        );
        Chart {
            id,
            title,
            desc,
            legend,
            svg,
        }
    }
}

/// In which row the label of each mark stands, counted from the plot, and how it reads; those that find no room have none. Marks are in the
/// order of time. A label stands above those of the marks whose lines rise within its length, so that no line goes through it.
fn rows(marks: &[Mark], axis: TimeAxis) -> Vec<(Option<usize>, String)> {
    let mut found: Vec<(Option<usize>, String)> = Vec::with_capacity(marks.len());
    // Of those further right: where the line stands, and from which row on there is room above it.
    let mut lines: Vec<(f64, usize)> = Vec::new();
    for mark in marks.iter().rev() {
        let mut label: String = mark.name.chars().take(18).collect();
        if label.len() < mark.name.len() {
            label.push('…');
        }
        let x = Canvas::x(axis.place(mark.from));
        let end = x + label.chars().count() as f64 * LETTER + 10.0;
        let row = lines
            .iter()
            .filter(|(at, _)| *at < end)
            .map(|(_, above)| *above)
            .max()
            .unwrap_or(0);
        let room = row < MARK_ROWS_MAX;
        if room {
            lines.push((x, row + 1));
        }
        found.push((room.then_some(row), label));
    }
    found.reverse();
    found
}

/// How many rows of labels `marks` need.
pub(super) fn rows_needed(marks: &[Mark], axis: TimeAxis) -> usize {
    let rows = rows(marks, axis);
    rows.iter().filter_map(|(row, _)| *row).max().map_or(0, |row| row + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_would_overlap_stand_in_rows() {
        let mark = |name: &str, from: f64| Mark {
            name: name.to_owned(),
            what: String::new(),
            from,
            to: None,
        };
        let axis = TimeAxis::new(100.0);
        let marks = [mark("canary", 10.0), mark("everyone", 11.0), mark("halt", 60.0)];
        let found: Vec<_> = rows(&marks, axis).into_iter().map(|(row, _)| row).collect();
        assert_eq!(found, [Some(1), Some(0), Some(0)]);
        assert_eq!(rows_needed(&marks, axis), 2);
        assert_eq!(rows_needed(&[], axis), 0);
        let crowd: Vec<_> = (0..6).map(|number| mark("canary", 10.0 + f64::from(number))).collect();
        let found: Vec<_> = rows(&crowd, axis).into_iter().map(|(row, _)| row).collect();
        assert_eq!(found, [None, None, Some(3), Some(2), Some(1), Some(0)]);
    }

    #[test]
    fn a_name_cannot_leave_its_text() {
        let mut canvas = Canvas::new("x");
        canvas.tip(0.0, 1.0, "</title><script>alert(1)</script>");
        let chart = canvas.finish("<b>", "a & b".to_owned(), Vec::new());
        assert!(!chart.svg.contains("<script") && !chart.svg.contains("<b>"), "{}", chart.svg);
    }
}
