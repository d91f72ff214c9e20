//! Defects planted on purpose: each makes the server break one rule, so that the way from there to a verdict, and the search for what
//! breaks it, can be seen to work. A scenario plants one with `defect` of the server. That each rule is found where it breaks is shown
//! beside the core as well, by bending what it says.

use super::Server;
use super::record::Record;
use crate::model::word_enum;

word_enum! {
    /// A defect of the server. Each is one place where the core takes a wrong branch.
    Defect {
        /// An image is given to whoever asks for it, with whatever secret (57).
        OpenImages = "open-images",
        /// A part of an image is as long as asked for, and taken from its beginning (57).
        StaleRange = "stale-range",
        /// What results made of an attempt is known, told, and never written down (48).
        ForgetResults = "forget-results",
        /// A newer attempt is sent without closing the one that it supersedes (49, 50).
        SkipSupersession = "skip-supersession",
        /// A newer attempt supersedes one whose deployment still holds (50).
        SupersedeEarly = "supersede-early",
        /// Missing results are never asked for (47).
        NeverChase = "never-chase",
        /// A manifest is sent once, whatever became of it (44).
        OfferOnce = "offer-once",
        /// Late results of an attempt that has ended change how it ended (48).
        BelieveLate = "believe-late",
        /// An attempt of which anything succeeded has succeeded (9).
        FavorSuccess = "favor-success",
    }
}

impl Server {
    /// Has a defect from here on.
    pub fn plant(&mut self, defect: Defect) {
        self.defect = Some(defect);
    }

    /// True if this defect was planted.
    pub(super) fn is_planted(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// True if a record is one that is not written down.
    pub(super) fn forgets(&self, record: &Record) -> bool {
        let of_results = matches!(record, Record::ResultsKnown { .. } | Record::AttemptEnded { .. });
        of_results && self.is_planted(Defect::ForgetResults)
    }
}
