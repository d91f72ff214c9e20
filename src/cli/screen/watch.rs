//! `sim --watch`: virtual time at a multiple of real time, with a clock that can be stopped and pictures that can be gone back to.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cli::interrupt::Interrupt;
use crate::cli::now;
use crate::dashboard::{Pace, Wish};
use crate::play::{Outcome, Picture};
use crate::scenario::Plan;
use crate::sim::{Pulse, Scene, play_shown};
use crate::time::SimTime;

use super::Show;

/// Most pictures that can be gone back to, one a second of the run.
const PAST_MAX: usize = 600;
/// How far → goes where the clock stands.
const STEP: Duration = Duration::from_secs(1);

/// Virtual seconds in a real one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed(f64);

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        let number = text.strip_suffix('x').unwrap_or(text);
        let speed = number.parse().ok().filter(|speed| (0.01..=100_000.0).contains(speed));
        speed
            .map(Speed)
            .ok_or_else(|| "a multiple of real time from 0.01x to 100000x, for example `10x`".to_owned())
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x", self.0)
    }
}

/// Plays `plan` before the eyes of a person. The outcome is that of any other simulation of it; the terminal's trouble, if there was
/// any, stands beside it.
pub(in crate::cli) fn watched(
    plan: Arc<Plan>,
    folder: PathBuf,
    color: bool,
    (speed, fps): (Speed, u32),
    interrupt: &Interrupt,
) -> (Outcome, io::Result<()>) {
    let mut watch = match Show::open(folder, color) {
        Ok(show) => Some(Watch::new(show, speed, fps, interrupt.clone())),
        Err(error) => return (crate::sim::play(plan), Err(error)),
    };
    let mut trouble = Ok(());
    let outcome = play_shown(plan, &mut |scene| {
        if interrupt.asked() {
            return Pulse::Interrupt;
        }
        let Some(shown) = &mut watch else {
            return Pulse::GoOn;
        };
        shown.look(scene).unwrap_or_else(|error| {
            trouble = Err(error);
            watch = None;
            Pulse::GoOn
        })
    });
    drop(watch);
    (outcome, trouble)
}

struct Watch {
    show: Show,
    interrupt: Interrupt,
    frame: Duration,
    speed: f64,
    paused: bool,
    /// A real moment and the moment of the run that belongs to it.
    anchor: (SystemTime, SimTime),
    drawn_at: Option<SystemTime>,
    /// How far the run may go before the next look.
    target: SimTime,
    past: VecDeque<Picture>,
    /// Pictures back from the present.
    back: usize,
}

impl Watch {
    fn new(show: Show, Speed(speed): Speed, fps: u32, interrupt: Interrupt) -> Watch {
        Watch {
            show,
            interrupt,
            frame: Duration::from_secs(1) / fps.max(1),
            speed,
            paused: false,
            anchor: (now(), SimTime::ZERO),
            drawn_at: None,
            target: SimTime::ZERO,
            past: VecDeque::new(),
            back: 0,
        }
    }

    /// Shows the present, waits until it is time for more, and says how far the run may go.
    fn look(&mut self, mut scene: Scene<'_>) -> io::Result<Pulse> {
        let early = scene.now < self.target && self.drawn_at.is_some_and(|drawn| since(drawn) < self.frame);
        if early {
            return Ok(Pulse::Until(self.target));
        }
        let mut shown = self.draw(&mut scene)?;
        loop {
            let left = self.frame.saturating_sub(self.drawn_at.map_or(Duration::ZERO, since));
            match self.show.attend(&shown, left)? {
                Some(Wish::Stop) => return Ok(Pulse::Interrupt),
                Some(Wish::Forward) if self.paused && self.back == 0 => {
                    self.target = scene.now + STEP;
                    return Ok(Pulse::Until(self.target));
                }
                Some(wish) => self.fulfil(wish, scene.now),
                None => {}
            }
            // A clock that stands has no next look.
            if self.interrupt.asked() {
                return Ok(Pulse::Interrupt);
            }
            if self.drawn_at.is_none_or(|drawn| since(drawn) >= self.frame) {
                let due = self.anchor.1 + since(self.anchor.0).mul_f64(self.speed);
                if !self.paused && due > scene.now {
                    self.target = due;
                    return Ok(Pulse::Until(due));
                }
                shown = self.draw(&mut scene)?;
            }
        }
    }

    fn fulfil(&mut self, wish: Wish, at: SimTime) {
        match wish {
            Wish::Pause => {
                self.paused = !self.paused || self.back > 0;
                if std::mem::take(&mut self.back) > 0 {
                    self.paused = false;
                }
            }
            Wish::Back => {
                self.paused = true;
                self.back = (self.back + 1).min(self.past.len().saturating_sub(1));
            }
            Wish::Forward => self.back = self.back.saturating_sub(1),
            Wish::Slower => self.speed = (self.speed / 2.0).max(0.01),
            Wish::Faster => self.speed = (self.speed * 2.0).min(100_000.0),
            Wish::Stop | Wish::Suspend | Wish::Save => {}
        }
        self.anchor = (now(), at);
        // Drawn at once.
        self.drawn_at = None;
    }

    /// Draws the present, or the past that is looked at; gives what it drew.
    fn draw(&mut self, scene: &mut Scene<'_>) -> io::Result<Picture> {
        let present = scene.picture(&self.show.screen.ask());
        self.remember(&present);
        let past = self.past.iter().rev().nth(self.back).filter(|_| self.back > 0);
        let shown = past.map_or_else(
            || present.clone(),
            |past| Picture {
                life: present.life.clone().map(|life| life.until(past.at)),
                ..past.clone()
            },
        );
        self.show.screen.set_pace(Pace {
            speed: Some(self.speed),
            paused: self.paused,
            back: self.back,
        });
        self.drawn_at = Some(now());
        self.show.draw(&shown)?;
        Ok(shown)
    }

    /// Keeps a picture a second.
    fn remember(&mut self, picture: &Picture) {
        let second = |at: SimTime| at.as_nanos() / 1_000_000_000;
        if self.past.back().is_some_and(|last| second(last.at) == second(picture.at)) {
            return;
        }
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        self.past.push_back(picture.clone());
    }
}

/// Real time since a moment; nothing where the machine's clock was set back.
fn since(moment: SystemTime) -> Duration {
    now().duration_since(moment).unwrap_or_default()
}
