//! Lists that grow with the fleet.

/// Adds an item at the end.
pub(crate) fn push_sparingly<T>(list: &mut Vec<T>, item: T) {
    make_room(list);
    list.push(item);
}

/// Makes room for another item. The list grows by an eighth, not by half of what it then takes: of a million items a doubling leaves as
/// many places empty.
pub(crate) fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_of_a_list_is_empty_at_most() {
        let mut list = Vec::new();
        for n in 0..10_000 {
            push_sparingly(&mut list, n);
            assert!(
                list.capacity() <= list.len() * 9 / 8 + 5,
                "{} of {}",
                list.len(),
                list.capacity()
            );
        }
        assert!(list.into_iter().eq(0..10_000));
    }
}
