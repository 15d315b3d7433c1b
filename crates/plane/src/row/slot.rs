//! Slots.

/// A slot of a ring: who takes new flows, and who took them before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Slot(u32);

const SETTLED: u32 = 0x8000;
const NUMBER: u32 = 0x7fff;

impl Slot {
    /// Nothing is changing: `member` (0 for nobody) takes every flow, and none need be remembered.
    pub const fn steady(member: u32) -> Self {
        Self(member & NUMBER | (member & NUMBER) << 16)
    }

    /// Flows that start go to `current`; flows that are neither starting nor remembered belong to `former`.
    pub const fn changing(current: u32, former: u32) -> Self {
        Self(current & NUMBER | (former & NUMBER) << 16)
    }

    /// Flows that are not remembered belong to `current`; some that are remembered may still be with `former`.
    pub const fn settled(current: u32, former: u32) -> Self {
        Self(current & NUMBER | SETTLED | (former & NUMBER) << 16)
    }

    /// The slot at `index` of a ring whose slots come two a word.
    #[inline(always)]
    pub const fn of_pair(word: u64, index: u32) -> Self {
        Self((word >> ((index & 1) * 32)) as u32)
    }

    /// The word that holds an even slot and the next one.
    pub const fn pair(even: Self, odd: Self) -> u64 {
        even.0 as u64 | (odd.0 as u64) << 32
    }

    /// Who takes new flows; 0 is nobody.
    #[inline(always)]
    pub const fn current(self) -> u32 {
        self.0 & NUMBER
    }

    /// Who took them before the change; the same as [`Self::current`] where there was none.
    #[inline(always)]
    pub const fn former(self) -> u32 {
        self.0 >> 16 & NUMBER
    }

    /// Whether no memory needs to be asked.
    #[inline(always)]
    pub const fn is_steady(self) -> bool {
        self.current() == self.former()
    }

    /// Whether the change is over, though some flows may live on with the former member.
    #[inline(always)]
    pub const fn is_settled(self) -> bool {
        self.0 & SETTLED != 0
    }

    /// Who has flows that are under way and not remembered.
    #[inline(always)]
    pub const fn stable(self) -> u32 {
        if self.is_settled() { self.current() } else { self.former() }
    }
}
