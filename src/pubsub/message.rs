//! A message as it goes over the wire, encoded when the first one who gets it needs it.

use crate::protocol::encode::encode_request;
use crate::protocol::{OutputBuffer, Protocol};
use bytes::{Buf, Bytes, BytesMut};
use std::cell::OnceCell;

/// Something to be sent to clients without being asked for.
#[derive(Debug)]
pub struct Message<'a> {
    parts: &'a [&'a [u8]],
    resp2: OnceCell<Bytes>,
    resp3: OnceCell<Bytes>,
}

impl<'a> Message<'a> {
    /// A message of these byte strings.
    #[must_use]
    pub fn new(parts: &'a [&'a [u8]]) -> Self {
        Self { parts, resp2: OnceCell::new(), resp3: OnceCell::new() }
    }

    /// A message that is encoded already, the same in both protocols.
    #[must_use]
    pub fn encoded(frame: Bytes) -> Self {
        Self { parts: &[], resp2: OnceCell::from(frame.clone()), resp3: OnceCell::from(frame) }
    }

    /// The bytes for a client of this protocol: an array in RESP2, a push in RESP3.
    ///
    /// Cost: O(bytes) at the first call for a protocol, then O(1).
    pub fn frame(&self, protocol: Protocol) -> &Bytes {
        let resp2 = || {
            let mut output = OutputBuffer::new();
            // An array of byte strings, as a request is.
            encode_request(self.parts, &mut output);
            output.copy_to_bytes(output.remaining())
        };
        match protocol {
            Protocol::Resp2 => self.resp2.get_or_init(resp2),
            Protocol::Resp3 => self.resp3.get_or_init(|| {
                let mut frame = BytesMut::from(&resp2()[..]);
                if let Some(marker) = frame.first_mut() {
                    *marker = b'>';
                }
                frame.freeze()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_an_array_or_a_push_and_is_encoded_once() {
        let message = Message::new(&[b"message", b"ch", b"\r\n"]);
        let body = "3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$2\r\n\r\n\r\n";
        for (protocol, marker) in [(Protocol::Resp2, "*"), (Protocol::Resp3, ">")] {
            assert_eq!(message.frame(protocol), format!("{marker}{body}").as_bytes());
            assert_eq!(message.frame(protocol).as_ptr(), message.frame(protocol).as_ptr());
        }
    }
}
