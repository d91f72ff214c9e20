//! What is looked up by its order, and comes in that order most of the time.

use std::cmp::Ordering;

use super::sparing::make_room;

/// Most items of a chunk.
const CHUNK: usize = 512;

/// Items in order, packed into chunks that are full where they came in order: of a tree's nodes half of the room would stay empty.
#[derive(Clone, Debug)]
pub(crate) struct Sorted<T> {
    /// None is empty.
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Sorted { chunks: Vec::new() }
    }
}

impl<T> Sorted<T> {
    /// The item that is `Equal`; `order` says how an item stands to the one that is looked for.
    pub(crate) fn find(&self, order: impl FnMut(&T) -> Ordering) -> Option<&T> {
        let (chunk, at) = self.place(order).ok()?;
        Some(&self.chunks[chunk][at])
    }

    /// The same, to be changed in what does not bear on its order.
    pub(crate) fn find_mut(&mut self, order: impl FnMut(&T) -> Ordering) -> Option<&mut T> {
        let (chunk, at) = self.place(order).ok()?;
        Some(&mut self.chunks[chunk][at])
    }

    /// Adds an item; gives the one whose place it took, if one was `Equal`.
    pub(crate) fn insert(&mut self, item: T, order: impl FnMut(&T) -> Ordering) -> Option<T> {
        match self.place(order) {
            Ok((chunk, at)) => Some(std::mem::replace(&mut self.chunks[chunk][at], item)),
            Err((chunk, at)) => {
                self.put(chunk, at, item);
                None
            }
        }
    }

    /// Takes away the item that is `Equal`.
    pub(crate) fn remove(&mut self, order: impl FnMut(&T) -> Ordering) -> Option<T> {
        let (chunk, at) = self.place(order).ok()?;
        let item = self.chunks[chunk].remove(at);
        if self.chunks[chunk].is_empty() {
            self.chunks.remove(chunk);
        }
        Some(item)
    }

    /// Every item, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// Every item from the first one on that is `Equal` or `Greater`.
    pub(crate) fn from(&self, order: impl FnMut(&T) -> Ordering) -> impl Iterator<Item = &T> {
        let (chunk, at) = self.place(order).unwrap_or_else(|place| place);
        let (first, rest) = match self.chunks.get(chunk..) {
            Some([first, rest @ ..]) => (&first[at..], rest),
            Some([]) | None => (&[][..], &[][..]),
        };
        first.iter().chain(rest.iter().flatten())
    }

    /// Chunk and position of the item, or where it would be.
    fn place(&self, mut order: impl FnMut(&T) -> Ordering) -> Result<(usize, usize), (usize, usize)> {
        let behind = self.chunks.partition_point(|chunk| order(&chunk[0]) != Ordering::Greater);
        let chunk = behind.saturating_sub(1);
        let found = self.chunks.get(chunk).map_or(Err(0), |items| items.binary_search_by(order));
        found.map(|at| (chunk, at)).map_err(|at| (chunk, at))
    }

    /// Adds an item at a place. A full chunk is split: where the item belongs, if that is far behind in it, or in the middle.
    fn put(&mut self, chunk: usize, at: usize, item: T) {
        match self.chunks.get_mut(chunk) {
            None => self.chunks.push(vec![item]),
            Some(items) if items.len() < CHUNK => {
                make_room(items);
                items.insert(at, item);
            }
            Some(items) => {
                let middle = if at > CHUNK * 3 / 4 { at } else { CHUNK / 2 };
                let mut behind = items.split_off(middle);
                match at.checked_sub(middle) {
                    Some(at) => behind.insert(at, item),
                    None => items.insert(at, item),
                }
                items.shrink_to_fit();
                self.chunks.insert(chunk + 1, behind);
            }
        }
    }
}

impl<T: PartialEq> PartialEq for Sorted<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for Sorted<T> {}

/// A map whose keys mostly come in order.
#[derive(Clone, Debug)]
pub(crate) struct SortedMap<K, V>(Sorted<(K, V)>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        SortedMap(Sorted::default())
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0.find(|(known, _)| known.cmp(key)).map(|(_, value)| value)
    }

    pub(crate) fn change(&mut self, key: &K) -> Option<&mut V> {
        self.0.find_mut(|(known, _)| known.cmp(key)).map(|(_, value)| value)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: V)
    where
        K: Copy,
    {
        self.0.insert((key, value), |(known, _)| known.cmp(&key));
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.0.remove(|(known, _)| known.cmp(key));
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn clear(&mut self) {
        *self = SortedMap::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// In order, against it, and to and fro; what is there is found, what is not is not.
    #[test]
    fn it_holds_what_a_tree_holds() {
        let orders: [fn(u32) -> u32; 3] = [|n| n, |n| 5_000 - n, |n| n.wrapping_mul(2_654_435_761) % 5_003];
        for order in orders {
            let (mut sorted, mut tree) = (SortedMap::default(), BTreeMap::new());
            for n in 0..5_000 {
                sorted.insert(order(n), n);
                tree.insert(order(n), n);
                if n % 3 == 0 {
                    sorted.remove(&order(n / 2));
                    tree.remove(&order(n / 2));
                }
            }
            assert!(sorted.0.iter().map(|(key, value)| (key, value)).eq(&tree));
            assert!((0..6_000).all(|key| sorted.get(&key) == tree.get(&key)));
            for start in [0, 17, 2_500, 4_999, 6_000] {
                let behind = sorted.0.from(|(key, _)| key.cmp(&start)).map(|(key, _)| key);
                assert!(behind.eq(tree.range(start..).map(|(key, _)| key)), "from {start}");
            }
        }
    }

    #[test]
    fn what_comes_in_order_or_nearly_leaves_little_room_empty() {
        for late in [0, 20] {
            let mut sorted = Sorted::default();
            for n in 0..10_000_u32 {
                let item = if late > 0 && n % 7 == 0 {
                    n.saturating_sub(late) * 2 + 1
                } else {
                    n * 2
                };
                sorted.insert(item, |known| known.cmp(&item));
            }
            let room: usize = sorted.chunks.iter().map(Vec::capacity).sum();
            assert!(room < 11_500, "{room} places for 10,000 items, {late} late");
        }
    }
}
