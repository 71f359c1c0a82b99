//! The client's encoder: a request is an array of bulk strings, whatever its arguments are.

use crate::protocol::output::OutputBuffer;
use crate::util::number::IntegerText;

/// Appends one request to `output`: `*n`, then each argument as `$length` and its bytes.
///
/// Cost: O(bytes of the arguments), which are copied.
pub fn encode_request<A: AsRef<[u8]>>(arguments: &[A], output: &mut OutputBuffer) {
    let mut number = IntegerText::new();
    output.put(b"*");
    output.put(number.format_usize(arguments.len()));
    output.put(b"\r\n");
    for argument in arguments {
        let argument = argument.as_ref();
        output.put(b"$");
        output.put(number.format_usize(argument.len()));
        output.put(b"\r\n");
        output.put(argument);
        output.put(b"\r\n");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use bytes::Buf;

    fn encoded(arguments: &[&[u8]]) -> Vec<u8> {
        let mut output = OutputBuffer::new();
        encode_request(arguments, &mut output);
        output.copy_to_bytes(output.remaining()).to_vec()
    }

    #[test]
    fn a_request_is_an_array_of_bulks() {
        assert_eq!(encoded(&[b"GET", b"key"]), b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
        assert_eq!(encoded(&[b"ECHO", b""]), b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n");
        assert_eq!(encoded(&[b"\r\n\0"]), b"*1\r\n$3\r\n\r\n\0\r\n");
    }

    #[test]
    fn what_is_encoded_decodes_as_the_same_arguments() {
        use crate::protocol::response::{ResponseDecoder, Value};
        let arguments: &[&[u8]] = &[b"SET", b"a\xff", b"", &[b'x'; 100_000]];
        let (_, value) = ResponseDecoder::new().decode(&encoded(arguments)).unwrap();
        let expected = arguments.iter().map(|a| Value::Bulk(a.to_vec())).collect();
        assert_eq!(value, Some(Value::Array(expected)));
    }
}
