//! Exact dealing: shares and picks are cut from a ranking of the devices, so that their sizes do not depend on luck.

use crate::device::Dealt;
use crate::luck::{Luck, Purpose};
use crate::model::Pick;

use super::file::Shares;

/// How many of `count` each weight gets, by largest remainder; ties go to the earlier one. Sums to `count`.
pub(super) fn quotas(weights: &[u64], count: u64) -> Vec<u64> {
    let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum::<u128>().max(1);
    let exact = |weight: u64| u128::from(count) * u128::from(weight);
    let mut quotas: Vec<u64> = weights.iter().map(|&weight| (exact(weight) / total) as u64).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|&position| std::cmp::Reverse(exact(weights[position]) % total));
    let left = count - quotas.iter().sum::<u64>();
    for &position in by_remainder.iter().take(left as usize) {
        quotas[position] += 1;
    }
    quotas
}

/// Which outcome each device of a fleet gets, by its number. `keys` are the devices' keys of luck.
pub(super) fn positions<T>(shares: &Shares<T>, luck: Luck, purpose: Purpose, ordinal: u64, keys: &[u64]) -> Vec<u8> {
    let mut ranked: Vec<(u64, u32)> = (0..keys.len() as u32)
        .map(|number| (luck.draw(purpose, keys[number as usize], ordinal), number))
        .collect();
    ranked.sort_unstable();
    let weights: Vec<u64> = shares.parts.iter().map(|(_, _, weight)| *weight).collect();
    let mut dealt = vec![0; keys.len()];
    let mut ranked = ranked.into_iter();
    for (position, quota) in quotas(&weights, keys.len() as u64).into_iter().enumerate() {
        for (_, number) in ranked.by_ref().take(quota as usize) {
            dealt[number as usize] = position as u8;
        }
    }
    dealt
}

/// The outcomes of a fleet, dealt by rank.
pub(super) fn deal<T: Clone>(shares: &Shares<T>, luck: Luck, purpose: Purpose, ordinal: u64, keys: &[u64]) -> Dealt<T> {
    match shares.parts.as_slice() {
        [(_, outcome, _)] => Dealt::Same(outcome.clone()),
        parts => Dealt::Each {
            outcomes: parts.iter().map(|(_, outcome, _)| outcome.clone()).collect(),
            by_number: positions(shares, luck, purpose, ordinal, keys),
        },
    }
}

/// How many of `matches` a pick takes.
pub(super) fn taken(pick: Option<Pick>, matches: u64) -> u64 {
    match pick {
        None => matches,
        Some(Pick::Count(count)) => count.min(matches),
        Some(Pick::Share(share)) => share.of(matches),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::luck::device_key;

    #[test]
    fn quotas_add_up_and_differ_from_exact_shares_by_less_than_one() {
        assert_eq!(quotas(&[970_000, 30_000], 2000), [1940, 60]);
        assert_eq!(quotas(&[1, 1, 1], 100), [34, 33, 33]);
        assert_eq!(quotas(&[1, 1], 1), [1, 0]);
        assert_eq!(quotas(&[500_000, 300_000, 200_000], 7), [4, 2, 1]);
        assert_eq!(quotas(&[5], 0), [0]);
    }

    #[test]
    fn a_deal_is_exact_whatever_the_luck() {
        let shares = Shares {
            parts: vec![("a".into(), 'a', 800_000), ("b".into(), 'b', 200_000)],
            weighted: true,
        };
        let keys: Vec<u64> = (0..100).map(|number| device_key("cam", number)).collect();
        for seed in 0..20 {
            let dealt = deal(&shares, Luck::new(seed), Purpose::BootOutcome, 7, &keys);
            let crashing = (0..100).filter(|&number| *dealt.of(number) == 'b').count();
            assert_eq!(crashing, 20);
        }
    }
}
