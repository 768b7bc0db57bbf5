//! Chance that repeats: what a seed and a subject decide, whatever else happens at the same time.

use aws_lc_rs::digest::{Context, SHA256};

/// 32 bytes that follow from the seed and the parts.
pub(super) fn roll(seed: u64, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&seed.to_be_bytes());
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// A number from 0 to below 1 out of eight of the bytes that [`roll`] gave.
pub(super) fn fraction(bytes: &[u8; 32], place: usize) -> f64 {
    let mut part = [0; 4];
    part.copy_from_slice(&bytes[place * 4..place * 4 + 4]);
    f64::from(u32::from_be_bytes(part)) / 4_294_967_296.0
}
