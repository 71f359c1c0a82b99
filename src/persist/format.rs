//! The dump file, byte by byte.
//!
//! The file is Redis' own RDB, so that data moves between this server and Redis, Valkey, KeyDB or
//! Dragonfly with the file alone. Written is version 9 with the plain types only, which every one
//! of them since Redis 5.0 reads; nothing is lost by that but some compactness. The exceptions are
//! a hash whose fields have deadlines, which only Redis 7.4 and later can read, and a stream that
//! did more than grow, which Redis 7.0 and later can; `stream` has its form. With libraries of
//! functions it says version 10, that of Redis 7.0, so that an older one refuses it at once. Read
//! is whatever Redis 2.4 to 7.4 and Valkey 8 write for values that are not of modules.
//!
//! ```text
//!   "REDIS" "0009"                              magic and version, ASCII
//!   FA <string name> <string value>             notes about the writer, any number
//!   F5 <string>                                 a library of functions, see `functions`
//!   FE <length>                                 the database of the keys that follow
//!   FB <length> <length>                        how many keys, how many with a deadline (a hint)
//!   then for every key:
//!     FC <8 bytes, little endian>               deadline in unix milliseconds, if it has one
//!     F8 <length> or F9 <1 byte>                seconds since its last use, or how often it is
//!                                               used, under a policy that acts on that
//!     <type, 1 byte> <string key> <value>
//!   FF <8 bytes, little endian>                 end, CRC-64 of every byte before these eight
//!
//!   length   00xxxxxx                           0 .. 63
//!            01xxxxxx xxxxxxxx                  0 .. 16,383, high byte first
//!            10000000 + 4 bytes, big endian     up to 2^32 - 1
//!            10000001 + 8 bytes, big endian     up to 2^64 - 1
//!            11xxxxxx                           not a length: a string in special form x
//!   string   <length> <bytes>
//!            C0 + 1 byte                        decimal digits of an i8
//!            C1 + 2 bytes, little endian        of an i16
//!            C2 + 4 bytes, little endian        of an i32
//!            C3 <length packed> <length plain> <packed bytes>     LZF
//!
//!   value of type 0 string       <string>
//!            type 1 list         <length> then so many <string>, head first
//!            type 2 set          <length> then so many <string>
//!            type 4 hash         <length> then so many pairs <string field> <string value>
//!            type 24 hash        <8 bytes, little endian: the earliest deadline of a field>
//!                                <length> then so many <deadline> <string field> <string value>;
//!                                a deadline is a length: 0 for none, else 1 for the earliest, 2
//!                                for a millisecond later, and so on
//!            type 5 sorted set   <length> then so many <string member> <f64, little endian>
//! ```
//!
//! The other types hold a whole collection as one string in one of Redis' in-memory encodings;
//! `compact` describes those.

/// The first five bytes of a dump.
pub const MAGIC: &[u8; 5] = b"REDIS";
/// The first six bytes of a dump by Valkey 9 and newer, a format of its own since then.
pub const MAGIC_VALKEY: &[u8; 6] = b"VALKEY";
/// Magic and version together.
pub const HEADER_BYTES: usize = 9;
/// The version this server writes.
pub const VERSION_WRITTEN: u32 = 9;
/// The newest version this server reads: that of Redis 7.4 and 8.0.
pub const VERSION_READ_MAX: u32 = 12;
/// The first version with deadlines of fields: that of Redis 7.4.
pub const VERSION_WITH_FIELD_DEADLINES: u32 = 12;
/// The first version with streams that remember what was deleted: that of Redis 7.0.
pub const VERSION_WITH_STREAM_2: u32 = 10;
/// The first version with libraries of functions: that of Redis 7.0.
pub const VERSION_WITH_FUNCTIONS: u32 = 10;
/// From this version on a checksum follows the end mark.
pub const VERSION_WITH_CHECKSUM: u32 = 5;
/// Bytes of the checksum at the end of the file.
pub const CHECKSUM_BYTES: usize = 8;

/// The version of Redis whose behaviour and file this server has, as the file states it.
pub const REDIS_VERSION: &str = "7.0.15";

/// The longest string that LZF may expand to: Redis' own bound of a string.
pub const LZF_PLAIN_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// LZF copies at most 264 bytes for three bytes of input, so nothing expands by more than this.
pub const LZF_RATIO_MAX: u64 = 88;
/// Shorter strings are not worth a try at LZF.
pub const LZF_PLAIN_BYTES_MIN: usize = 21;

/// What the first byte of a record says when it is not the type of a key.
pub mod opcode {
    /// Cluster slot and its key counts: three lengths (Redis 7.4, Valkey 8).
    pub const SLOT_INFO: u8 = 244;
    /// A function library.
    pub const FUNCTION: u8 = 245;
    /// A function library as release candidates of 7.0 wrote it.
    pub const FUNCTION_PRE_RELEASE: u8 = 246;
    /// Data of a module that belongs to no key.
    pub const MODULE_AUX: u8 = 247;
    /// Idle time of the next key: a length, in seconds.
    pub const IDLE: u8 = 248;
    /// Access frequency of the next key: one byte.
    pub const FREQUENCY: u8 = 249;
    /// A note about the writer: two strings.
    pub const AUX: u8 = 250;
    /// How many keys follow and how many of them have a deadline: two lengths.
    pub const RESIZE_DB: u8 = 251;
    /// Deadline of the next key: eight bytes, milliseconds.
    pub const EXPIRE_MS: u8 = 252;
    /// Deadline of the next key: four bytes, seconds.
    pub const EXPIRE_SECONDS: u8 = 253;
    /// Database of the keys that follow: a length.
    pub const SELECT_DB: u8 = 254;
    /// The end of the file.
    pub const END: u8 = 255;
}

/// How a value is stored.
pub mod kind {
    /// A string.
    pub const STRING: u8 = 0;
    /// A list, element by element.
    pub const LIST: u8 = 1;
    /// A set, member by member.
    pub const SET: u8 = 2;
    /// A sorted set with scores in decimal digits (before Redis 4.0).
    pub const ZSET_DECIMAL: u8 = 3;
    /// A hash, field by field.
    pub const HASH: u8 = 4;
    /// A sorted set with binary scores.
    pub const ZSET: u8 = 5;
    /// A module's value as release candidates of 4.0 wrote it.
    pub const MODULE_PRE_RELEASE: u8 = 6;
    /// A module's value.
    pub const MODULE: u8 = 7;
    /// A hash as one zipmap (before Redis 2.6).
    pub const HASH_ZIPMAP: u8 = 9;
    /// A list as one ziplist (before Redis 3.2).
    pub const LIST_ZIPLIST: u8 = 10;
    /// A set of integers.
    pub const SET_INTSET: u8 = 11;
    /// A sorted set as one ziplist (before Redis 7.0).
    pub const ZSET_ZIPLIST: u8 = 12;
    /// A hash as one ziplist (2.6 to 6.2).
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list as several ziplists (3.2 to 6.2).
    pub const LIST_QUICKLIST: u8 = 14;
    /// A stream (5.0).
    pub const STREAM: u8 = 15;
    /// A hash as one listpack (7.0).
    pub const HASH_LISTPACK: u8 = 16;
    /// A sorted set as one listpack (7.0).
    pub const ZSET_LISTPACK: u8 = 17;
    /// A list as several listpacks and single large elements (7.0).
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// A stream (7.0).
    pub const STREAM_2: u8 = 19;
    /// A set as one listpack (7.2).
    pub const SET_LISTPACK: u8 = 20;
    /// A stream (7.2).
    pub const STREAM_3: u8 = 21;
    /// A hash whose fields have deadlines, as release candidates of 7.4 wrote it.
    pub const HASH_DEADLINES_PRE_RELEASE: u8 = 22;
    /// The same as one listpack.
    pub const HASH_LISTPACK_DEADLINES_PRE_RELEASE: u8 = 23;
    /// A hash whose fields have deadlines (7.4).
    pub const HASH_DEADLINES: u8 = 24;
    /// The same as one listpack.
    pub const HASH_LISTPACK_DEADLINES: u8 = 25;
}

/// First bytes of the special forms of a string.
pub mod string_form {
    /// One byte: an i8.
    pub const INT8: u8 = 0xC0;
    /// Two bytes: an i16.
    pub const INT16: u8 = 0xC1;
    /// Four bytes: an i32.
    pub const INT32: u8 = 0xC2;
    /// LZF: length packed, length plain, packed bytes.
    pub const LZF: u8 = 0xC3;
}

/// How one node of a list of type `LIST_QUICKLIST_2` is stored.
pub mod node {
    /// One element.
    pub const PLAIN: u64 = 1;
    /// A listpack of elements.
    pub const PACKED: u64 = 2;
}

/// The highest two bits of a length's first byte.
pub mod length_form {
    /// The other six bits are the length.
    pub const BITS_6: u8 = 0b00;
    /// Six bits and one more byte.
    pub const BITS_14: u8 = 0b01;
    /// `LENGTH_32` or `LENGTH_64` as a whole.
    pub const WIDE: u8 = 0b10;
    /// Not a length but a `string_form`.
    pub const SPECIAL: u8 = 0b11;
    /// First byte of a length of four bytes.
    pub const LENGTH_32: u8 = 0x80;
    /// First byte of a length of eight bytes.
    pub const LENGTH_64: u8 = 0x81;
}

/// The name of a value's storage for messages; types that this server cannot hold included.
#[must_use]
pub fn kind_name(kind: u8) -> &'static str {
    match kind {
        kind::STRING => "string",
        kind::LIST => "list",
        kind::SET => "set",
        kind::ZSET_DECIMAL => "sorted set with decimal scores",
        kind::HASH => "hash",
        kind::ZSET => "sorted set",
        kind::MODULE_PRE_RELEASE | kind::MODULE => "module value",
        kind::HASH_ZIPMAP => "hash as zipmap",
        kind::LIST_ZIPLIST => "list as ziplist",
        kind::SET_INTSET => "set as intset",
        kind::ZSET_ZIPLIST => "sorted set as ziplist",
        kind::HASH_ZIPLIST => "hash as ziplist",
        kind::LIST_QUICKLIST => "list as ziplist nodes",
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => "stream",
        kind::HASH_LISTPACK => "hash as listpack",
        kind::ZSET_LISTPACK => "sorted set as listpack",
        kind::LIST_QUICKLIST_2 => "list as listpack nodes",
        kind::SET_LISTPACK => "set as listpack",
        kind::HASH_DEADLINES_PRE_RELEASE
        | kind::HASH_LISTPACK_DEADLINES_PRE_RELEASE
        | kind::HASH_DEADLINES
        | kind::HASH_LISTPACK_DEADLINES => "hash whose fields have deadlines",
        _ => "unknown",
    }
}
