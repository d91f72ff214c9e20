//! Markdown for a comment on a change: the verdict first, then what a reviewer asks next. The marker in the first line lets a bot find
//! its comment and replace it.

use std::fmt::Write;

use crate::model::UpdateState;

use super::fleets::side_by_side;
use super::rerun::rerun_command;
use super::summary::Summary;
use super::untrusted::clean;
use super::words::{counted, judgement, length, span, value_of};

/// First line of the comment.
pub const MARKDOWN_MARKER: &str = "<!-- squall:report -->";

/// Phases that the table of times shows.
const PHASES: &[&str] = &["downloading", "retrying", "swapping", "probation", "reverting"];

/// One comment about one or several runs.
pub(super) fn markdown(runs: &[&Summary]) -> String {
    let mut text = format!("{MARKDOWN_MARKER}\n");
    for summary in runs {
        run(&mut text, summary);
    }
    text
}

fn run(text: &mut String, summary: &Summary) {
    let sign = match summary.status.as_str() {
        "passed" => "✅",
        "failed" | "broken" | "error" => "❌",
        _ => "⚠️",
    };
    let _ = writeln!(
        text,
        "### {sign} squall: {} {}\n\n{} (exit code {}). `{}`, seed {}, {} ({}), {}, scenario `{}`, squall {}.\n",
        escape(&summary.scenario.name),
        summary.status,
        escape(&judgement(summary)),
        summary.exit_code,
        summary.mode,
        summary.scenario.seed,
        length(summary.elapsed_s),
        summary.end,
        counted(summary.devices.total, "device"),
        summary.scenario.hash.get(..8).unwrap_or(&summary.scenario.hash),
        summary.squall.version,
    );
    expectations(text, summary);
    findings(text, summary);
    cohorts(text, summary);
    failures(text, summary);
    times(text, summary);
    fleets(text, summary);
    let command = rerun_command(&summary.mode, &summary.scenario);
    let _ = writeln!(text, "Again: {}\n", code(&command));
}

fn expectations(text: &mut String, summary: &Summary) {
    if summary.expectations.is_empty() {
        return;
    }
    text.push_str("| | expectation | measured |\n|---|---|---:|\n");
    for row in &summary.expectations {
        let sign = if row.passed { "✅" } else { "❌" };
        let ended = if row.aborted { " (ended the run)" } else { "" };
        let _ = writeln!(text, "| {sign} | {}{ended} | {} |", code(&row.that), value_of(row));
    }
    text.push('\n');
}

fn findings(text: &mut String, summary: &Summary) {
    for finding in &summary.findings {
        let device = finding.first.device.as_deref().unwrap_or("no single device");
        let _ = writeln!(
            text,
            "- ❌ invariant {} broken {}, first by {} at {}: {}",
            code(&finding.rule),
            counted(finding.count, "time"),
            code(device),
            span(Some(finding.first.at_s)),
            escape(&finding.first.evidence),
        );
    }
    for error in &summary.errors {
        let _ = writeln!(text, "- ❌ {}: {}", counted(error.count, "error"), escape(&error.message));
    }
    if let Some(harness) = summary.harness.as_ref().filter(|harness| !harness.valid) {
        let reasons = escape(&harness.reasons.join("; "));
        let _ = writeln!(text, "- ⚠️ the figures are not the server's: {reasons}");
    }
    let held = u64::from(summary.invariants.rules).saturating_sub(summary.findings.len() as u64);
    let _ = writeln!(
        text,
        "- {} held in {}\n",
        counted(held, "invariant"),
        counted(summary.invariants.checks, "check")
    );
}

fn cohorts(text: &mut String, summary: &Summary) {
    text.push_str(
        "| cohort | devices | succeeded | failed | deploy_time 50 % | 90 % | 99 % |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for (name, states) in &summary.devices.by_cohort {
        let labels = [("cohort", name.as_str())];
        let time = summary.metric("deploy_time", if name == "all" { &[] } else { &labels });
        let of = |state: UpdateState| states.get(state.word()).copied().unwrap_or(0);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            escape(name),
            states.values().sum::<u64>(),
            of(UpdateState::Succeeded),
            of(UpdateState::Failed),
            span(time.and_then(|row| row.med)),
            span(time.and_then(|row| row.p90)),
            span(time.and_then(|row| row.p99)),
        );
    }
    text.push('\n');
}

fn failures(text: &mut String, summary: &Summary) {
    for row in summary.failures.iter().take(10) {
        let detail = row
            .detail
            .as_ref()
            .map_or(String::new(), |detail| format!(" ({})", escape(detail)));
        let _ = writeln!(text, "- {}: {}{detail}", counted(row.count, "failure"), escape(&row.reason));
    }
    if !summary.failures.is_empty() {
        text.push('\n');
    }
}

fn times(text: &mut String, summary: &Summary) {
    let totals = ["update_time", "connect_time"].map(|name| (name, summary.metric(name, &[])));
    let phases = PHASES
        .iter()
        .map(|phase| (*phase, summary.metric("phase_time", &[("phase", phase)])));
    let rows = totals.into_iter().chain(phases);
    let rows: Vec<_> = rows
        .filter_map(|(name, row)| Some((name, row.filter(|row| row.count > 0)?)))
        .collect();
    if rows.is_empty() {
        return;
    }
    text.push_str("<details><summary>Times</summary>\n\n| time | n | med | p95 | p99 | max |\n|---|---:|---:|---:|---:|---:|\n");
    for (name, row) in rows {
        let parts = [row.med, row.p95, row.p99, row.max].map(span).join(" | ");
        let _ = writeln!(text, "| {name} | {} | {parts} |", row.count);
    }
    text.push_str("\n</details>\n\n");
}

fn fleets(text: &mut String, summary: &Summary) {
    let Some(table) = side_by_side(summary) else { return };
    text.push_str("<details><summary>Fleets side by side</summary>\n\n| |");
    for head in &table.heads {
        let _ = write!(text, " {} |", escape(head));
    }
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(table.heads.len()));
    for part in &table.parts {
        let _ = writeln!(text, "| **{}** |{}", part.name, " |".repeat(table.heads.len()));
        for (name, cells) in &part.rows {
            let _ = writeln!(text, "| {} | {} |", escape(name), cells.join(" | "));
        }
    }
    text.push_str("\n</details>\n\n");
}

/// Text of others, so that it neither forms a table, nor a link, nor HTML, nor calls anybody by name.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '@' => safe.push_str("&#64;"),
            '#' => safe.push_str("&#35;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    // A bare address would become a link.
    safe.replace("://", ":&#47;&#47;")
}

/// Text of others as code. HTML, not backticks: a backtick in it would end those, and a bar the cell of a table.
pub(super) fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_text() {
        assert_eq!(
            escape("a|b <img src=x> [x](http://y) @all `c` #1"),
            "a\\|b &lt;img src=x&gt; \\[x\\](http:&#47;&#47;y) &#64;all \\`c\\` &#35;1"
        );
        assert_eq!(code("x\n| y |"), "<code>x\\| y \\|</code>");
    }
}
