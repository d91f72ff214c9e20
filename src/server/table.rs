//! Values by connection, found in constant time.

use crate::memory;
use crate::model::{Places, hash_of_number, push_sparingly};

use super::io::ConnectionId;

/// A table that nobody walks through: values stand side by side, so that each is one look away. A connection's name is its driver's
/// choice, never a stranger's: it needs no secret hash.
#[derive(Debug)]
pub(super) struct ByConnection<T> {
    rows: Vec<Option<(ConnectionId, T)>>,
    /// Rows without a value.
    free: Vec<u32>,
    places: Places,
}

impl<T> Default for ByConnection<T> {
    fn default() -> Self {
        ByConnection {
            rows: Vec::new(),
            free: Vec::new(),
            places: Places::default(),
        }
    }
}

impl<T> ByConnection<T> {
    /// Adds the value of a connection that has none.
    pub fn insert(&mut self, id: ConnectionId, value: T) {
        let row = Some((id, value));
        let place = match self.free.pop() {
            Some(free) => {
                self.rows[free as usize] = row;
                free as usize
            }
            None => {
                push_sparingly(&mut self.rows, row);
                self.rows.len() - 1
            }
        };
        let rows = &self.rows;
        self.places.add(place, |place| hash_of_row(rows, place));
    }

    /// Takes a value out.
    pub fn remove(&mut self, id: ConnectionId) -> Option<T> {
        let place = self.place(id)?;
        let rows = &self.rows;
        self.places.remove(place, |place| hash_of_row(rows, place));
        self.free.push(place as u32);
        self.rows[place].take().map(|(_, value)| value)
    }

    pub fn get(&self, id: ConnectionId) -> Option<&T> {
        let row = self.rows[self.place(id)?].as_ref();
        row.map(|(_, value)| value)
    }

    pub fn change(&mut self, id: ConnectionId) -> Option<&mut T> {
        let place = self.place(id)?;
        self.rows[place].as_mut().map(|(_, value)| value)
    }

    pub fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Has the place of a connection's value ready.
    pub fn fetch(&self, id: ConnectionId) {
        self.places.fetch(hash_of_number(id.0));
    }

    /// Has the value itself ready, once its place is.
    pub fn fetch_value(&self, id: ConnectionId) {
        // The first one that may be it most likely is.
        self.places.find(hash_of_number(id.0), |place| {
            memory::fetch(&self.rows[place]);
            true
        });
    }

    fn place(&self, id: ConnectionId) -> Option<usize> {
        self.places.find(hash_of_number(id.0), |place| {
            self.rows[place].as_ref().is_some_and(|(known, _)| *known == id)
        })
    }
}

fn hash_of_row<T>(rows: &[Option<(ConnectionId, T)>], place: usize) -> u64 {
    rows[place].as_ref().map_or(0, |(id, _)| hash_of_number(id.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_connection_until_it_is_taken_out() {
        let mut table = ByConnection::default();
        for number in 0..1_000_u64 {
            table.insert(ConnectionId(number << 32), number);
            if number % 3 == 0 {
                assert_eq!(table.remove(ConnectionId((number / 2) << 32)), Some(number / 2));
            }
        }
        for number in 0..1_200 {
            let taken_out = number < 500 && (number * 2 % 3 == 0 || (number * 2 + 1) % 3 == 0);
            let there = number < 1_000 && !taken_out;
            assert_eq!(table.get(ConnectionId(number << 32)), there.then_some(&number));
        }
        assert!(
            table.rows.len() < 700,
            "rows are used again: {} of {}",
            table.rows.len(),
            table.len()
        );
    }
}
