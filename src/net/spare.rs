//! The buffers of a thread that its connections use in turn.
//!
//! A connection reads, runs what came and sends the replies in one go, without waiting in between.
//! So most of the time it needs no buffers, and while it does no other connection of the same
//! thread needs any. Each thread keeps one for input and one for output, which stay in the
//! processor's cache; only a connection in the middle of a request, or with replies that the peer
//! does not take, has some of its own. An idle client has none.

use bytes::BytesMut;
use std::cell::Cell;

/// A buffer larger than this is not kept for the next connection.
pub(super) const KEPT_BYTES_MAX: usize = 256 * 1024;

/// What a buffer is for.
#[derive(Debug, Clone, Copy)]
pub enum Use {
    Input,
    Output,
}

thread_local! {
    static INPUT: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static OUTPUT: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

impl Use {
    fn exchange(self, buffer: Option<BytesMut>) -> Option<BytesMut> {
        let swap = |kept: &Cell<Option<BytesMut>>| kept.replace(buffer);
        let swapped = match self {
            Self::Input => INPUT.try_with(swap),
            Self::Output => OUTPUT.try_with(swap),
        };
        // Who still sends while its thread ends does without.
        swapped.unwrap_or_default()
    }

    /// The buffer of this thread, empty; one without room if another connection has it.
    pub fn borrow(self) -> BytesMut {
        self.exchange(None).unwrap_or_default()
    }

    /// Leaves a buffer, of which nothing is needed any more, to the next connection.
    pub fn give_back(self, mut buffer: BytesMut) {
        if (1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            drop(self.exchange(Some(buffer)));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::net::{Connection, Exchange, Until};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn a_buffer_goes_round_and_a_large_one_does_not() {
        assert_eq!(Use::Input.borrow().capacity(), 0);
        Use::Input.give_back(BytesMut::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(Use::Input.borrow().capacity(), 0);
        let buffer = BytesMut::from(&b"of another client"[..]);
        let place = buffer.as_ptr();
        Use::Input.give_back(buffer);
        assert_eq!(Use::Output.borrow().capacity(), 0);
        let again = Use::Input.borrow();
        assert!(again.is_empty() && again.as_ptr() == place);
        assert_eq!(Use::Input.borrow().capacity(), 0);
    }

    #[tokio::test]
    async fn a_connection_holds_buffers_only_while_there_is_something_in_them() {
        let (stream, mut peer) = tokio::io::duplex(1 << 16);
        let mut connection = Connection::new(stream);
        for round in 0..3 {
            peer.write_all(b"in and more").await.unwrap();
            let exchange = connection.exchange(Until::Received, |_| false).await;
            assert_eq!(exchange.unwrap(), Exchange::Received);
            connection.consume(3);
            let (input, output) = connection.buffers();
            assert_eq!(input, b"and more", "{round}");
            output.put(b"out");
            // A second one meanwhile sees nothing of the first.
            assert_eq!(Use::Input.borrow().capacity(), 0);
            let other = connection.exchange(Until::Received, |waiting| waiting == 0).await;
            assert_eq!(other.unwrap(), Exchange::Interrupted);
            let mut sent = [0; 3];
            peer.read_exact(&mut sent).await.unwrap();
            assert_eq!(&sent, b"out");
            assert!(connection.input_capacity() > 0, "in the middle of a request");
            connection.consume(8);
            let idle = connection.exchange(Until::Received, |_| true).await;
            assert_eq!(idle.unwrap(), Exchange::Interrupted);
            assert_eq!((connection.input_capacity(), connection.output_len()), (0, 0));
        }
        assert!(Use::Input.borrow().capacity() > 0 && Use::Output.borrow().capacity() > 0);
    }
}
