//! One device's life in sentences: when, what, how many bytes, and why.
//!
//! What a trace holds of a device goes in, in order; sentences come out. A sentence is built from one happening, sometimes with a look
//! at what follows (a crash is known by the boot after it); happenings that say nothing new are left out. Whoever shows a story
//! adds the device's name and decides where it goes.

mod download;
mod ending;
mod teller;
mod words;

use std::fmt;

use crate::measure::{Happening, TraceNames};
use crate::time::SimTime;

use teller::Teller;

pub use words::{breaking, clean, failing};

/// One thing that happened to the device of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: SimTime,
    /// What.
    pub happening: Happening,
}

/// One line of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// When it begins.
    pub at: SimTime,
    /// What happened, without control characters.
    pub text: String,
}

/// A device's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// What happened, in order.
    pub sentences: Vec<Sentence>,
    /// Where it ended and why.
    pub ending: Option<Sentence>,
}

impl Story {
    /// Tells the story of `moments`, which are in order; `end` is when the run ended.
    pub fn tell(moments: &[Moment], names: &TraceNames, end: SimTime) -> Story {
        Story::until(moments, names, (end, "the run ends"))
    }

    /// Tells the story as far as it goes at `now`, of a run that is still on.
    pub fn so_far(moments: &[Moment], names: &TraceNames, now: SimTime) -> Story {
        Story::until(moments, names, (now, "now"))
    }

    fn until(moments: &[Moment], names: &TraceNames, (end, what): (SimTime, &str)) -> Story {
        let mut teller = Teller::new(moments, names);
        teller.tell();
        let text = teller.ending(end, what);
        Story {
            sentences: teller.into_sentences(),
            ending: Some(Sentence { at: end, text }),
        }
    }

    /// The part of the story from one moment to another; without its ending where it is cut off before.
    #[must_use]
    pub fn between(mut self, from: Option<SimTime>, to: Option<SimTime>) -> Story {
        let inside = |at: SimTime| from.is_none_or(|from| at >= from) && to.is_none_or(|to| at <= to);
        self.sentences.retain(|sentence| inside(sentence.at));
        self.ending = self.ending.filter(|ending| to.is_none_or(|to| ending.at <= to));
        self
    }
}

impl fmt::Display for Story {
    /// A line a sentence, the times aligned.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || self.sentences.iter().chain(&self.ending);
        let hours = all().any(|sentence| sentence.at >= words::HOUR);
        all().try_for_each(|sentence| writeln!(f, "{:>13}  {}", words::stamp(sentence.at, hours), sentence.text))
    }
}

#[cfg(test)]
mod tests;
