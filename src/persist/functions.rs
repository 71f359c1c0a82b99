//! Libraries of functions in the dump, and as FUNCTION DUMP gives them and FUNCTION RESTORE takes
//! them.
//!
//! ```text
//!   F5 <string code>                            one library, any number of them
//!   F6 <string name> <string engine>            the same as release candidates of 7.0 wrote it
//!      <length: 1 if there is a description> <string description> <string code>
//!   <version, 2 bytes> <CRC-64 of all before, 8 bytes>              of a payload, little endian
//! ```
//!
//! The code of a library says its name and engine in its first line. What a library registers is
//! found out by running it, which is not for this layer: a [`FunctionStore`] does that.

use crate::persist::checksum::Checksum;
use crate::persist::format::opcode;
use crate::persist::format::{CHECKSUM_BYTES, MAGIC, VERSION_READ_MAX, VERSION_WITH_FUNCTIONS};
use crate::persist::lzf::Packer;
use crate::persist::read::{Item, RdbReader, ReadOptions, Record};
use crate::persist::write;
use std::fmt;
use std::io::Read;

const VERSION_BYTES: usize = 2;

/// Where libraries are kept while the server runs.
pub trait FunctionStore: Send + Sync + fmt::Debug {
    /// The code of all libraries, at one moment.
    fn codes(&self) -> Vec<Vec<u8>>;

    /// Puts these libraries in the place of all that there are.
    ///
    /// # Errors
    /// Why one of them cannot be used; all is as it was then.
    fn replace(&self, codes: &[Vec<u8>]) -> Result<(), String>;
}

/// A place for libraries that keeps none, for tools that only care for keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFunctions;

impl FunctionStore for NoFunctions {
    fn codes(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn replace(&self, _codes: &[Vec<u8>]) -> Result<(), String> {
        Ok(())
    }
}

/// Why a payload is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionsError {
    /// It is cut short, of a newer version, or damaged.
    Footer,
    /// It holds something else.
    NotAFunction,
    /// A library is damaged.
    Damaged,
}

impl fmt::Display for FunctionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Footer => "DUMP payload version or checksum are wrong",
            Self::NotAFunction => "given type is not a function",
            Self::Damaged => "failed loading the given functions payload",
        })
    }
}

impl std::error::Error for FunctionsError {}

/// Adds one library to a dump or a payload. Cost: O(bytes).
pub fn encode_library(out: &mut Vec<u8>, code: &[u8], packer: Option<&mut Packer>) {
    out.push(opcode::FUNCTION);
    write::encode_string(out, code, packer);
}

/// The payload of all these libraries, their code packed if `compress`. Cost: O(bytes).
#[must_use]
pub fn encode(codes: &[Vec<u8>], compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut packer = compress.then(Packer::new);
    codes.iter().for_each(|code| encode_library(&mut out, code, packer.as_mut()));
    out.extend_from_slice(&(VERSION_WITH_FUNCTIONS as u16).to_le_bytes());
    let checksum = checksum_of(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

fn checksum_of(bytes: &[u8]) -> u64 {
    let mut checksum = Checksum::new();
    checksum.update(bytes);
    checksum.value()
}

/// The code of all libraries of a payload. Cost: O(bytes).
///
/// # Errors
/// When it is not one.
pub fn decode(payload: &[u8]) -> Result<Vec<Vec<u8>>, FunctionsError> {
    let (summed, checksum) =
        payload.split_last_chunk::<CHECKSUM_BYTES>().ok_or(FunctionsError::Footer)?;
    let (body, version) =
        summed.split_last_chunk::<VERSION_BYTES>().ok_or(FunctionsError::Footer)?;
    let is_known = u32::from(u16::from_le_bytes(*version)) <= VERSION_READ_MAX;
    if !is_known || checksum_of(summed) != u64::from_le_bytes(*checksum) {
        return Err(FunctionsError::Footer);
    }
    // It is read as a dump that has nothing else, and no checksum.
    let head = [&MAGIC[..], format!("{VERSION_READ_MAX:04}").as_bytes()].concat();
    let end = [opcode::END, 0, 0, 0, 0, 0, 0, 0, 0];
    let total_bytes = (head.len() + body.len() + end.len()) as u64;
    let options = ReadOptions { verify_checksum: false, ..ReadOptions::default() };
    let source = head.chain(body).chain(&end[..]);
    let damaged = |_| FunctionsError::Damaged;
    let mut reader = RdbReader::new(source, total_bytes, options).map_err(damaged)?;
    let mut codes = Vec::new();
    loop {
        match reader.next_record().map_err(damaged)? {
            Some(Record::Other(Item::Function { code })) => codes.push(code),
            Some(Record::Other(Item::End(_))) => return Ok(codes),
            Some(_) => return Err(FunctionsError::NotAFunction),
            None => return Err(FunctionsError::Damaged),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn libraries_survive_a_payload_and_damage_is_found() {
        let codes = vec![b"#!lua name=a\nredis".to_vec(), vec![b'x'; 5_000], Vec::new()];
        for compress in [false, true] {
            let payload = encode(&codes, compress);
            assert_eq!(decode(&payload), Ok(codes.clone()));
            for len in 0..payload.len() {
                assert_eq!(decode(&payload[..len]), Err(FunctionsError::Footer));
            }
        }
        assert_eq!(decode(&encode(&[], true)), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_library_is_refused() {
        let signed = |body: &[u8]| {
            let mut payload = body.to_vec();
            payload.extend_from_slice(&10_u16.to_le_bytes());
            let checksum = checksum_of(&payload);
            payload.extend_from_slice(&checksum.to_le_bytes());
            payload
        };
        assert_eq!(decode(&signed(b"\xf5\x01a")), Ok(vec![b"a".to_vec()]));
        let old = signed(b"\xf6\x01n\x03LUA\x01\x01d\x01c");
        assert_eq!(decode(&old), Ok(vec![b"#!LUA name=n\nc".to_vec()]));
        assert_eq!(decode(&signed(b"\x00\x01a\x01a")), Err(FunctionsError::NotAFunction));
        for damaged in [&b"\xf5\x05a"[..], b"\xf5\x0aa", b"\xf5", b"\xff", b"\xf6\x01n\x03LUA\x01"]
        {
            assert!(decode(&signed(damaged)).is_err(), "{damaged:?}");
        }
    }
}
