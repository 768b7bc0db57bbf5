//! Chance that is the same in every run, and what it does to seeds.

/// A source of numbers: xorshift64* (Vigna, <https://arxiv.org/abs/1402.6246>), which needs no crate.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from((self.next() >> 32) % end as u64).unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.byte()).collect()
    }

    /// One of the seeds with up to eight changes; now and then noise alone.
    pub(crate) fn mutated(&mut self, seeds: &[&[u8]]) -> Vec<u8> {
        if self.below(20) == 0 {
            return self.bytes(300);
        }
        let mut data = seeds[self.below(seeds.len())].to_vec();
        for _ in 0..=self.below(8) {
            self.change(&mut data, seeds);
        }
        data.truncate(1 << 20);
        data
    }

    /// One of the seeds with up to three of its numbers replaced by what counts and sizes trip over.
    pub(crate) fn renumbered(&mut self, seeds: &[&[u8]]) -> Vec<u8> {
        const NUMBERS: [&[u8]; 8] = [
            b"0",
            b"1",
            b"-1",
            b"1e999",
            b"4294967296",
            b"9223372036854775807",
            b"99999999999999999999",
            b"null",
        ];
        let mut data = seeds[self.below(seeds.len())].to_vec();
        for _ in 0..=self.below(3) {
            let near = self.below(data.len());
            let Some(from) = (near..data.len()).find(|at| data[*at].is_ascii_digit()) else { continue };
            let until = (from..data.len()).find(|at| !data[*at].is_ascii_digit()).unwrap_or(data.len());
            data.splice(from..until, NUMBERS[self.below(NUMBERS.len())].iter().copied());
        }
        data
    }

    fn change(&mut self, data: &mut Vec<u8>, seeds: &[&[u8]]) {
        /// What parsers trip over: ends of ranges, lengths of DER, signs of JSON, names and HTTP.
        const TRICKY: [&[u8]; 22] = [
            b"\0",
            b"\x7f",
            b"\x80",
            b"\xff",
            b"\x30\x80",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x02\x00",
            b"\x05\x00",
            b"\xc0\x0c",
            b"..",
            b"/",
            b"*.",
            b"xn--",
            b"\"",
            b"{",
            b"[[[[[[[[",
            b"null",
            b"-1",
            b"1e999",
            b"\r\n",
            "\u{202e}ß\u{200d}".as_bytes(),
            b"99999999999999999999",
        ];
        let at = self.below(data.len() + 1);
        let end = (at + self.below(16)).min(data.len());
        let piece: Vec<u8> = match self.below(7) {
            0 if at < data.len() => return data[at] ^= 1 << self.below(8),
            1 if at < data.len() => return data[at] = self.byte(),
            2 => return data.truncate(at),
            3 => TRICKY[self.below(TRICKY.len())].to_vec(),
            4 => self.bytes(8),
            5 => data[at..end].repeat(1 + self.below(40)),
            _ => {
                let other = seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                other[from..(from + self.below(64)).min(other.len())].to_vec()
            }
        };
        // In place of what was there, or between.
        let end = if self.below(2) == 0 { at } else { end };
        data.splice(at..end, piece);
    }
}
