//! Bytes on the heap behind one word, which is pointer and length at once.
//!
//! No process has an address above 48 bits unless it asks for one, so the upper 16 have the length
//! of nearly all that is small. What is longer is behind one more pointer.
//!
//! ```text
//!   [length: 16][address: 48]        fewer than 65,535 bytes
//!   [65,535][address: 48]            of a `Box<[u8]>` that has them
//! ```
//!
//! In a table of many small things the words that are saved are worth the file: what stands beside
//! them costs nothing (docs/decisions/0018-memory-ceiling.md).

#![allow(unsafe_code, reason = "a pointer that is more than a pointer")]

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: usize = (1 << ADDRESS_BITS) - 1;
/// In the place of the length: the address is that of a `Box<[u8]>`.
const FAR: usize = usize::MAX >> ADDRESS_BITS;

/// A `Box<[u8]>` of the size of a pointer.
///
/// The word is made from what `Box::into_raw` gave and owns that; it changes only as a whole.
pub struct ThinBytes(NonNull<u8>);

// SAFETY: it owns its bytes, as a `Box<[u8]>` does.
unsafe impl Send for ThinBytes {}
// SAFETY: as above.
unsafe impl Sync for ThinBytes {}

impl ThinBytes {
    #[inline]
    fn len_or_far(&self) -> usize {
        self.0.as_ptr().addr() >> ADDRESS_BITS
    }

    #[inline]
    fn address(&self) -> *mut u8 {
        self.0.as_ptr().map_addr(|word| word & ADDRESS_MASK)
    }

    #[cold]
    fn far(&self) -> &[u8] {
        // SAFETY: with this length there is a box at the address, which is this value's own.
        unsafe { &*self.address().cast::<Box<[u8]>>() }
    }

    #[cold]
    fn far_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { &mut *self.address().cast::<Box<[u8]>>() }
    }
}

impl Deref for ThinBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self.len_or_far() {
            FAR => self.far(),
            // SAFETY: the address and the length are those of a box that is this value's own.
            len => unsafe { slice::from_raw_parts(self.address(), len) },
        }
    }
}

impl DerefMut for ThinBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self.len_or_far() {
            FAR => self.far_mut(),
            // SAFETY: as above, and nobody else has it.
            len => unsafe { slice::from_raw_parts_mut(self.address(), len) },
        }
    }
}

impl From<Box<[u8]>> for ThinBytes {
    #[inline]
    fn from(bytes: Box<[u8]>) -> Self {
        let len = bytes.len().min(FAR);
        let address = match len {
            FAR => Box::into_raw(Box::new(bytes)).cast::<u8>(),
            _ => Box::into_raw(bytes).cast::<u8>(),
        };
        assert_eq!(address.addr() & !ADDRESS_MASK, 0, "an address of more than 48 bits");
        let word = address.map_addr(|address| address | len << ADDRESS_BITS);
        // SAFETY: the address of a box is not 0.
        Self(unsafe { NonNull::new_unchecked(word) })
    }
}

impl From<ThinBytes> for Box<[u8]> {
    #[inline]
    fn from(bytes: ThinBytes) -> Self {
        let bytes = ManuallyDrop::new(bytes);
        match bytes.len_or_far() {
            // SAFETY: it is what `Box::into_raw` gave, and its owner is not dropped.
            FAR => *unsafe { Box::from_raw(bytes.address().cast::<Box<[u8]>>()) },
            // SAFETY: as above.
            len => unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(bytes.address(), len)) },
        }
    }
}

impl Drop for ThinBytes {
    #[inline]
    fn drop(&mut self) {
        drop(Box::<[u8]>::from(Self(self.0)));
    }
}

impl Default for ThinBytes {
    fn default() -> Self {
        Box::<[u8]>::default().into()
    }
}

impl Clone for ThinBytes {
    fn clone(&self) -> Self {
        Box::<[u8]>::from(&**self).into()
    }
}

impl fmt::Debug for ThinBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_stay_what_they_are() {
        assert_eq!((size_of::<ThinBytes>(), size_of::<Option<ThinBytes>>()), (8, 8));
        assert!(ThinBytes::default().is_empty());
        for len in (0..300).chain(65_530..65_540).chain([200_000]) {
            let expected: Vec<u8> = (0..len).map(|n: usize| n as u8).collect();
            let mut thin = ThinBytes::from(expected.clone().into_boxed_slice());
            assert_eq!((thin.len(), &*thin), (len, &expected[..]));
            let other = thin.clone();
            thin.iter_mut().for_each(|byte| *byte ^= 0xff);
            assert!(thin.iter().zip(&expected).all(|(byte, before)| *byte == !before));
            drop(thin);
            let back = std::thread::spawn(move || Box::<[u8]>::from(other)).join();
            assert_eq!(back.unwrap_or_default(), expected.into_boxed_slice());
        }
    }
}
