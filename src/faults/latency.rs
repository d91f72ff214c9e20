//! Latencies drawn from a lognormal distribution given by median and 99th percentile, in integers alone: libraries of floating-point
//! functions differ between machines, and a run must not.
//!
//! A latency is median x 2^(z x s), where z is a standard normal quantile (table) and s = log2(p99 / median) / 2.3263 (the 99 %
//! quantile). Fixed-point numbers have 16 or 32 fraction bits, as the names say.

use std::time::Duration;

/// The 99 % quantile of the standard normal distribution, 16 fraction bits.
const Z99_Q16: i64 = 152_461;

/// Standard normal quantiles at (i + 0.5) / 512 for i in 256..512, 16 fraction bits, the last of them twice; the lower half is the
/// negative mirror.
#[rustfmt::skip]
static NORMAL_Q16: [i32; 257] = [
    160, 481, 802, 1123, 1444, 1765, 2086, 2407, 2728, 3049, 3370, 3692, 4013, 4335, 4656, 4978,
    5300, 5622, 5944, 6266, 6588, 6911, 7234, 7557, 7880, 8203, 8526, 8850, 9174, 9498, 9823, 10147,
    10472, 10797, 11122, 11448, 11774, 12100, 12427, 12754, 13081, 13408, 13736, 14064, 14393, 14721, 15051, 15380,
    15710, 16041, 16372, 16703, 17034, 17367, 17699, 18032, 18366, 18699, 19034, 19369, 19704, 20040, 20377, 20714,
    21051, 21389, 21728, 22067, 22407, 22748, 23089, 23430, 23773, 24116, 24459, 24804, 25149, 25494, 25841, 26188,
    26536, 26885, 27234, 27584, 27935, 28287, 28639, 28993, 29347, 29702, 30058, 30415, 30773, 31132, 31491, 31852,
    32213, 32576, 32939, 33304, 33670, 34036, 34404, 34773, 35143, 35514, 35886, 36259, 36634, 37009, 37386, 37764,
    38144, 38525, 38907, 39290, 39675, 40061, 40448, 40837, 41227, 41619, 42012, 42407, 42804, 43202, 43601, 44002,
    44405, 44809, 45216, 45624, 46033, 46445, 46858, 47273, 47691, 48110, 48531, 48954, 49379, 49806, 50235, 50667,
    51101, 51537, 51975, 52416, 52859, 53304, 53752, 54202, 54655, 55111, 55569, 56030, 56494, 56961, 57430, 57903,
    58378, 58857, 59339, 59824, 60312, 60804, 61299, 61798, 62300, 62806, 63316, 63829, 64347, 64868, 65394, 65924,
    66458, 66997, 67541, 68089, 68641, 69199, 69762, 70330, 70903, 71482, 72067, 72657, 73253, 73855, 74464, 75079,
    75701, 76330, 76966, 77609, 78259, 78918, 79584, 80259, 80943, 81635, 82337, 83048, 83769, 84501, 85243, 85996,
    86761, 87538, 88327, 89129, 89945, 90775, 91620, 92481, 93357, 94251, 95162, 96093, 97043, 98014, 99007, 100023,
    101064, 102131, 103225, 104350, 105506, 106695, 107921, 109186, 110493, 111846, 113248, 114703, 116218, 117797, 119448, 121178,
    122997, 124916, 126949, 129112, 131425, 133914, 136614, 139567, 142834, 146500, 150691, 155608, 161597, 169346, 180588, 202983,
    202983,
];

/// The natural logarithm of two, 32 fraction bits.
const LN_2_Q32: u64 = 0xb172_17f7;
static POWERS_HIGH_Q32: [u32; 256] = powers_q32(8);
static POWERS_MIDDLE_Q32: [u32; 256] = powers_q32(16);

/// 2^(2^-k) for k in 1..=32, 32 fraction bits.
#[rustfmt::skip]
const ROOTS_OF_TWO_Q32: [u64; 32] = [
    0x16a09e668, 0x1306fe0a3, 0x1172b83c8, 0x10b5586d0, 0x1059b0d31, 0x102c9a3e7,
    0x10163daa0, 0x100b1afa6, 0x10058c86e, 0x1002c605e, 0x100162f39, 0x1000b175f,
    0x100058ba0, 0x10002c5cc, 0x1000162e5, 0x10000b172, 0x1000058b9, 0x100002c5d,
    0x10000162e, 0x100000b17, 0x10000058c, 0x1000002c6, 0x100000163, 0x1000000b1,
    0x100000059, 0x10000002c, 0x100000016, 0x10000000b, 0x100000006, 0x100000003,
    0x100000001, 0x100000001,
];

/// A distribution of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    median: Duration,
    p99: Duration,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Always the median.
    Constant,
    /// Evenly from here to as far above the median as this is below.
    Even { low: Duration },
    /// log2(p99 / median) / z99, 16 fraction bits.
    Lognormal { spread_q16: i64 },
}

impl Latency {
    /// Always this long.
    pub const fn constant(latency: Duration) -> Self {
        Latency {
            median: latency,
            p99: latency,
            shape: Shape::Constant,
        }
    }

    /// Evenly from `low` to `high`.
    pub fn even(low: Duration, high: Duration) -> Self {
        let width = high.saturating_sub(low);
        Latency {
            median: low + width / 2,
            p99: low + width * 99 / 100,
            shape: Shape::Even { low },
        }
    }

    /// Half of the draws below `median`, one in a hundred above `p99`; a `p99` below the median counts as the median.
    pub fn lognormal(median: Duration, p99: Duration) -> Self {
        let median_ns = median.as_nanos().max(1);
        let ratio_q32 = u64::try_from((p99.as_nanos().max(median_ns) << 32) / median_ns).unwrap_or(u64::MAX);
        let spread_q16 = log2_q32(ratio_q32) / Z99_Q16;
        Latency {
            median,
            p99: p99.max(median),
            shape: Shape::Lognormal { spread_q16 },
        }
    }

    /// The middle of the distribution.
    pub const fn median(self) -> Duration {
        self.median
    }

    /// What one draw in a hundred exceeds.
    pub const fn p99(self) -> Duration {
        self.p99
    }

    /// The longest that any draw stands for.
    pub fn longest(self) -> Duration {
        self.of_draw(u64::MAX)
    }

    /// The latency that 64 evenly distributed bits stand for.
    pub fn of_draw(self, draw: u64) -> Duration {
        match self.shape {
            Shape::Constant => self.median,
            Shape::Even { low } => {
                let width = (self.median - low).as_nanos() * 2 + 1;
                low + Duration::from_nanos(((u128::from(draw) * width) >> 64) as u64)
            }
            Shape::Lognormal { spread_q16 } => {
                let exponent_q32 = spread_q16 * normal_q16(draw);
                Duration::from_nanos(scale_by_power_of_two(self.median.as_nanos() as u64, exponent_q32))
            }
        }
    }
}

/// The standard normal quantile of 64 evenly distributed bits, between table rows by linear interpolation. Which half they are in is no
/// branch: a processor would guess it wrong every second time.
fn normal_q16(draw: u64) -> i64 {
    let mirror = (draw >> 63) as i64 - 1;
    let position = draw << 1 ^ mirror as u64;
    let row = (position >> 56) as usize;
    let fraction = i64::from((position >> 40) as u16);
    let (low, high) = (i64::from(NORMAL_Q16[row]), i64::from(NORMAL_Q16[row + 1]));
    let z = low + (((high - low) * fraction) >> 16);
    (z ^ mirror) - mirror
}

/// log2 of a number of at least one with 32 fraction bits; the result has 32 fraction bits.
fn log2_q32(value_q32: u64) -> i64 {
    let whole = 63 - i64::from(value_q32.max(1 << 32).leading_zeros()) - 32;
    let mut mantissa = u128::from(value_q32.max(1 << 32)) >> whole;
    let mut fraction = 0i64;
    for bit in (0..32).rev() {
        mantissa = (mantissa * mantissa) >> 32;
        if mantissa >= 2 << 32 {
            mantissa >>= 1;
            fraction |= 1 << bit;
        }
    }
    (whole << 32) | fraction
}

/// 2^(fraction / 2^32), of a fraction below 2^32: its upper and middle bits by tables, the 16 lowest, whose squares are below one unit,
/// by a straight line.
fn power_of_two_q32(fraction: u64) -> u64 {
    let (high, middle, rest) = (fraction >> 24, fraction >> 16 & 0xff, fraction & 0xffff);
    let product = |one: u64, other: u64| ((u128::from(one) * u128::from(other)) >> 32) as u64;
    let power_of = |table: &[u32; 256], row: u64| 1 << 32 | u64::from(table[row as usize]);
    let power = product(power_of(&POWERS_HIGH_Q32, high), power_of(&POWERS_MIDDLE_Q32, middle));
    power + product(power, (rest * LN_2_Q32) >> 32)
}

/// 2^(n / 2^bits) for n in 0..256, as products of roots; of each what is above one.
const fn powers_q32(bits: usize) -> [u32; 256] {
    let mut powers = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut power: u64 = 1 << 32;
        let mut bit = 0;
        while bit < 8 {
            if n >> bit & 1 == 1 {
                power = ((power as u128 * ROOTS_OF_TWO_Q32[bits - bit - 1] as u128) >> 32) as u64;
            }
            bit += 1;
        }
        powers[n] = power as u32;
        n += 1;
    }
    powers
}

/// `value` x 2^exponent, saturating.
fn scale_by_power_of_two(value: u64, exponent_q32: i64) -> u64 {
    let whole = exponent_q32 >> 32;
    let fraction = (exponent_q32 & 0xffff_ffff) as u64;
    let scaled_q32 = u128::from(value) * u128::from(power_of_two_q32(fraction));
    match whole <= 32 {
        true => u64::try_from(scaled_q32 >> (32 - whole).min(127)).unwrap_or(u64::MAX),
        false => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::luck::{Luck, Purpose};

    #[test]
    fn quantiles_are_those_that_were_asked_for() {
        let latency = Latency::lognormal(Duration::from_millis(14), Duration::from_micros(137_500));
        let luck = Luck::new(5);
        let mut drawn: Vec<_> = (0..100_000)
            .map(|n| latency.of_draw(luck.draw(Purpose::RetryDelay, 1, n)).as_secs_f64() * 1e3)
            .collect();
        drawn.sort_by(f64::total_cmp);
        assert!((13.8..14.2).contains(&drawn[50_000]), "median {}", drawn[50_000]);
        assert!((130.0..145.0).contains(&drawn[99_000]), "p99 {}", drawn[99_000]);
        assert!((3.8..4.1).contains(&drawn[10_000]), "p10 {}", drawn[10_000]);
    }

    #[test]
    fn a_constant_is_a_constant() {
        let latency = Latency::constant(Duration::from_millis(7));
        assert!(
            [0, 1, u64::MAX / 2, u64::MAX]
                .iter()
                .all(|&draw| latency.of_draw(draw) == Duration::from_millis(7))
        );
    }

    #[test]
    fn an_even_latency_fills_its_range() {
        let (low, high) = (Duration::from_millis(60), Duration::from_millis(100));
        let latency = Latency::even(low, high);
        assert_eq!((latency.of_draw(0), latency.of_draw(u64::MAX)), (low, high));
        assert_eq!(latency.of_draw(1 << 63), Duration::from_millis(80));
        assert_eq!(latency.p99(), Duration::from_micros(99_600));
    }

    #[test]
    fn logarithm_and_power_are_inverse() {
        for ratio in [1.0f64, 1.5, 2.0, 9.8, 100.0, 12345.678] {
            let log = log2_q32((ratio * 4294967296.0) as u64);
            assert!((log as f64 / 4294967296.0 - ratio.log2()).abs() < 1e-6, "{ratio}");
            let back = scale_by_power_of_two(1_000_000_000, log) as f64 / 1e9;
            assert!((back / ratio - 1.0).abs() < 1e-6, "{ratio} came back as {back}");
            let down = scale_by_power_of_two(1_000_000_000_000, -log) as f64 / 1e12;
            assert!((down * ratio - 1.0).abs() < 1e-6, "1/{ratio} came back as {down}");
        }
    }

    #[test]
    fn a_draw_grows_with_its_bits() {
        let latency = Latency::lognormal(Duration::from_millis(100), Duration::from_millis(800));
        let drawn: Vec<_> = (0..=64u64)
            .map(|n| latency.of_draw((n << 58).wrapping_sub(u64::from(n == 64))))
            .collect();
        assert!(drawn[..64].is_sorted(), "{drawn:?}");
    }
}
