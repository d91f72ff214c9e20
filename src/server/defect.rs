//! A defect planted on purpose, so that the way from a broken rule to a verdict can be seen to work in a process of its own. That each
//! rule is found where it breaks is shown beside the core, by bending what it says.

use super::Server;

/// A defect of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// An image is given to whoever asks for it, with whatever secret.
    OpenImages,
}

impl Defect {
    /// The defect of that name.
    pub fn from_word(word: &str) -> Option<Defect> {
        (word == "open-images").then_some(Defect::OpenImages)
    }
}

impl Server {
    /// Has a defect from here on.
    pub fn plant(&mut self, defect: Defect) {
        self.defect = Some(defect);
    }
}
