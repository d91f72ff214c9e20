//! A list that holds one item for most of its life.

use std::ops::{Deref, DerefMut};

/// None, one, two or many: the one stands in place, so that a million lists of one item take no heap, and two take no more than they
/// need.
#[derive(Clone, Debug, Default)]
pub enum Few<T> {
    /// Nothing.
    #[default]
    None,
    /// One item.
    One(T),
    /// Two items.
    Two(Box<[T; 2]>),
    /// Any number of them.
    Many(Box<Many<T>>),
}

/// Where a list stands that has grown, so that one which has not is small.
#[derive(Clone, Debug)]
pub struct Many<T>(Vec<T>);

impl<T> Few<T> {
    /// Adds an item at the end.
    pub fn push(&mut self, item: T) {
        self.insert(self.len(), item);
    }

    /// Adds an item at a place, which is at most the number of items.
    pub fn insert(&mut self, place: usize, item: T) {
        *self = match std::mem::take(self) {
            Few::None => Few::One(item),
            Few::One(first) if place == 0 => Few::Two(Box::new([item, first])),
            Few::One(first) => Few::Two(Box::new([first, item])),
            Few::Two(pair) => {
                let mut items = Vec::from(*pair);
                items.insert(place, item);
                Few::Many(Box::new(Many(items)))
            }
            Few::Many(mut items) => {
                items.0.insert(place, item);
                Few::Many(items)
            }
        };
    }

    /// Keeps the items that are wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        *self = match std::mem::take(self) {
            Few::None => Few::None,
            Few::One(item) => match wanted(&item) {
                true => Few::One(item),
                false => Few::None,
            },
            Few::Two(pair) => match [wanted(&pair[0]), wanted(&pair[1])] {
                [true, true] => Few::Two(pair),
                kept => pair
                    .into_iter()
                    .zip(kept)
                    .filter(|(_, kept)| *kept)
                    .map(|(item, _)| item)
                    .collect(),
            },
            Few::Many(mut items) => {
                items.0.retain(wanted);
                match items.0.len() {
                    0..=2 => Few::from(items.0),
                    _ => Few::Many(items),
                }
            }
        };
    }

    /// Takes away the item at a place, if there is one.
    pub fn remove(&mut self, place: usize) {
        let mut at = 0;
        self.retain(|_| {
            at += 1;
            at - 1 != place
        });
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Few::None => &[],
            Few::One(item) => std::slice::from_ref(item),
            Few::Two(pair) => &pair[..],
            Few::Many(items) => &items.0,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Few::None => &mut [],
            Few::One(item) => std::slice::from_mut(item),
            Few::Two(pair) => &mut pair[..],
            Few::Many(items) => &mut items.0,
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut few = Few::None;
        items.into_iter().for_each(|item| few.push(item));
        few
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(items: Vec<T>) -> Self {
        match items.len() {
            0..=2 => items.into_iter().collect(),
            _ => Few::Many(Box::new(Many(items))),
        }
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_items_are_a_list_like_any_other() {
        let mut few: Few<u32> = [5].into_iter().collect();
        few.insert(0, 3);
        few.push(9);
        assert_eq!(*few, [3, 5, 9]);
        few.remove(1);
        assert!(
            matches!(few, Few::Two(_)) && *few == [3, 9],
            "two items are two again: {few:?}"
        );
        few.retain(|item| *item != 9);
        assert!(matches!(few, Few::One(3)), "one item is one again: {few:?}");
        few.remove(0);
        assert!(few.is_empty());
    }

    #[test]
    fn one_item_takes_little_more_room_than_itself() {
        assert_eq!(size_of::<Few<(u64, u64)>>(), 24);
        assert_eq!(size_of::<Few<u16>>(), 16);
    }
}
