//! Compact sets of small ids.

/// A set of ids below a total that its owner knows.
#[derive(Debug, Clone)]
pub(super) enum Members {
    /// Everything; nothing is listed.
    All,
    /// Sorted.
    List(Box<[u32]>),
    /// One bit an id: smaller than a list from one id in 32 on.
    Bits(Box<[u64]>),
}

impl Members {
    /// Nothing.
    pub(super) fn none() -> Self {
        Self::List(Box::default())
    }

    /// These ids, in the smallest form.
    pub(super) fn of(mut ids: Vec<u32>, total: usize) -> Self {
        ids.sort_unstable();
        ids.dedup();
        if !ids.is_empty() && ids.len() == total {
            return Self::All;
        }
        if ids.len() < 8 || ids.len() * 32 < total {
            return Self::List(ids.into_boxed_slice());
        }
        let mut bits = vec![0_u64; total.div_ceil(64)];
        for id in ids {
            if let Some(word) = bits.get_mut(id as usize / 64) {
                *word |= 1 << (id % 64);
            }
        }
        Self::Bits(bits.into_boxed_slice())
    }

    /// Whether an id is in it.
    pub(super) fn contains(&self, id: u32) -> bool {
        match self {
            Self::All => true,
            Self::List(ids) => ids.binary_search(&id).is_ok(),
            Self::Bits(bits) => bits.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1),
        }
    }

    /// Whether it is known to hold everything.
    pub(super) fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// Hands over each id, in order.
    pub(super) fn each(&self, total: usize, mut visit: impl FnMut(u32)) {
        match self {
            Self::All => (0..u32::try_from(total).unwrap_or(u32::MAX)).for_each(visit),
            Self::List(ids) => ids.iter().copied().for_each(visit),
            Self::Bits(bits) => {
                for (base, word) in (0_u32..).step_by(64).zip(bits.iter()) {
                    let mut rest = *word;
                    while rest != 0 {
                        visit(base + rest.trailing_zeros());
                        rest &= rest - 1;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ids: &[u32], total: usize) {
        let members = Members::of(ids.to_vec(), total);
        let mut seen = Vec::new();
        members.each(total, |id| seen.push(id));
        let mut expect = ids.to_vec();
        expect.sort_unstable();
        expect.dedup();
        assert_eq!(seen, expect);
        for id in 0..u32::try_from(total).unwrap() {
            assert_eq!(members.contains(id), expect.contains(&id), "{id} in {members:?}");
        }
    }

    #[test]
    fn every_form_holds_the_same() {
        check(&[], 0);
        check(&[], 5);
        check(&[3, 1, 3], 5);
        check(&[0, 1, 2], 3);
        check(&[999, 0], 1000);
        check(&(0..200).map(|n| n * 3).collect::<Vec<_>>(), 1000);
        assert!(matches!(Members::of((0..200).collect(), 1000), Members::Bits(_)));
        assert!(matches!(Members::of((0..9).collect(), 1000), Members::List(_)));
    }
}
