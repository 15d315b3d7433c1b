//! A frame, as far as the pipeline may touch it.

/// An Ethernet frame that can be read and written in pieces of fixed size.
///
/// There are no slices on purpose: the verifier follows `pointer + constant <= end`, not lengths.
pub trait Frame {
    /// Bytes in the frame, Ethernet header included.
    fn len(&self) -> u32;

    /// Whether the frame has no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `N` bytes from offset `at`; `None` past the end.
    fn load<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// Replaces `N` bytes at offset `at`; `None`, and nothing written, past the end.
    fn store<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()>;

    /// Keeps the first `len` bytes only; `None`, and nothing cut, where there are no more.
    fn cut(&mut self, len: u32) -> Option<()>;
}

/// A frame in ordinary memory: tests, the simulator, `forebay trace`.
impl Frame for &mut [u8] {
    fn len(&self) -> u32 {
        <[u8]>::len(self) as u32
    }

    fn load<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn store<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        self.get_mut(at..at.checked_add(N)?)?.copy_from_slice(&bytes);
        Some(())
    }

    fn cut(&mut self, len: u32) -> Option<()> {
        if len >= Frame::len(self) {
            return None;
        }
        let (kept, _) = core::mem::take(self).split_at_mut_checked(len as usize)?;
        *self = kept;
        Some(())
    }
}
