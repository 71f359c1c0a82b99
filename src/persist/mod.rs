//! Layer 3: keeping data in a file.
//!
//! The file format stands on its own here, independent of the keyspace: `write` turns values into
//! bytes, `read` turns bytes of unknown origin into values or says why not. Below them are the
//! layout (`format`), the encodings of older and newer Redis (`compact`), the packing of long
//! strings (`lzf`), the checksum, and the values themselves (`value`). Loading (`load`) lets
//! several threads decode what `skim` has found the ends of, and `build` makes structures of the
//! keyspace of it. `payload` is one value on its own, `functions` are libraries of functions.
//! `file` is the dump on the disk: locked for one server, replaced whole; `saver` decides when.

mod build;
pub mod checksum;
pub mod compact;
pub mod dump;
pub mod error;
pub mod file;
pub mod format;
pub mod functions;
pub mod load;
pub mod lzf;
pub mod payload;
pub mod planted;
pub mod read;
pub mod saver;
mod skim;
mod source;
mod stream;
#[cfg(test)]
mod tests;
pub mod value;
pub mod write;
