//! Where the simulation of the same plan parts from the run, in 80 columns.

use crate::report::summary::Summary;
use crate::report::words::cut;

use super::Page;

impl Page {
    /// What it comes to, counts that differ, and times with their ratio.
    pub(super) fn twin(&mut self, summary: &Summary) {
        let Some(twin) = &summary.twin else { return };
        self.entry("twin", &twin.verdict());
        for (name, cells) in twin.parted() {
            self.line(&format!("  {:<35} run {:>9} sim {:>9}", cut(&name, 35), cells[0], cells[1]));
        }
        for (name, cells) in twin.timings() {
            let heads = ["med", "p95", "p99"].into_iter().zip(cells.chunks(3));
            let each = heads.map(|(head, of)| format!("  {head} {}/{} {}", of[0], of[1], of[2]));
            self.line(&format!("  {:<12}{}", cut(&name, 12), each.collect::<String>()));
        }
    }
}
