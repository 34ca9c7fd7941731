//! Bytes made from good ones: a few changes of the kinds that decoders have fallen for. The same seed gives the same bytes.

use crate::simulation::Random;

/// Lengths and counts that promise more than there is, and other numbers at which something may turn.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    0xff,
    0x100,
    0xffff,
    1 << 16,
    1 << 20,
    24 << 20,
    31 << 20,
    32 << 20,
    u32::MAX as u64,
    1 << 32,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// Bytes longer than this are cut: a mutation must not grow without end.
const BYTES_MAX: usize = 1 << 16;

/// One to four changes to one of the seeds; now and then bytes of nobody.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let pick = below(random, seeds.len());
    let mut bytes = seeds.get(pick).cloned().unwrap_or_default();
    if below(random, 50) == 0 {
        bytes = (0..below(random, 200)).map(|_| byte(random)).collect();
    }
    for _ in 0..=below(random, 4) {
        change(random, &mut bytes, seeds);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn byte(random: &mut Random) -> u8 {
    random.number().to_le_bytes()[0]
}

#[allow(clippy::cast_possible_truncation, reason = "below a usize")]
fn below(random: &mut Random, bound: usize) -> usize {
    random.below(bound as u64) as usize
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = below(random, bytes.len() + 1);
    let end = at + below(random, bytes.len() - at + 1);
    match below(random, 9) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << below(random, 8);
            }
        }
        2 => {
            let new = byte(random);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = new;
            }
        }
        3 | 4 => {
            let number = NUMBERS.get(below(random, NUMBERS.len())).copied();
            let number = number.unwrap_or_default().to_be_bytes();
            let width = [1, 2, 4, 8][below(random, 4)];
            let number = number.into_iter().skip(8 - width);
            for (byte, new) in bytes.iter_mut().skip(at).zip(number) {
                *byte = new;
            }
        }
        5 => bytes.truncate(at),
        6 => {
            bytes.drain(at..end);
        }
        7 => {
            let again = bytes.get(at..end).unwrap_or_default().to_vec();
            bytes.splice(at..at, again);
        }
        _ => {
            let other = seeds.get(below(random, seeds.len()));
            let other = other.map(Vec::as_slice).unwrap_or_default();
            let from = below(random, other.len());
            bytes.truncate(at);
            bytes.extend(other.iter().skip(from));
        }
    }
}
