//! The floor under every server of this protocol: a loop that does nothing but what none can avoid.
//!
//! One thread waits for whatever has come, reads it, counts the requests in it by their leading `*`
//! alone, and writes as many fixed replies: no parser, no keys, no locks. What a server takes for a
//! request, divided by what this takes, says how far it stands from the limit of the machine. A
//! bench starts its own program once more with [`FLAG`], so that nothing else has to be built.

use super::{Outcome, number, text};
use memchr::memchr_iter;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

/// The argument, before the port, with which a bench becomes the loop.
pub const FLAG: &str = "--bare-loop";

const REPLY: &[u8] = b"+OK\r\n";
const READ_BYTES_MAX: usize = 64 * 1024;
const EVENTS_MAX: usize = 256;
const LISTENER: Token = Token(usize::MAX);

/// Serves until the process is killed, if the command line asks for it.
pub fn serve_if_asked() -> Option<Outcome<()>> {
    let mut args = std::env::args().skip(1);
    let is_asked = args.next().is_some_and(|arg| arg == FLAG);
    is_asked.then(|| number(&args.next().unwrap_or_default()).and_then(serve))
}

fn serve(port: usize) -> Outcome<()> {
    let port = u16::try_from(port).map_err(|_| format!("not a port: {port}"))?;
    let mut listener =
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(text)?;
    let mut poll = Poll::new().map_err(text)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(text)?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut input = vec![0; READ_BYTES_MAX];
    let output = REPLY.repeat(READ_BYTES_MAX);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(text(error)),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut streams)?;
                continue;
            }
            let Some(slot) = streams.get_mut(event.token().0) else { continue };
            let is_open =
                slot.as_mut().is_some_and(|stream| answer(stream, &mut input, &output).is_ok());
            if !is_open {
                *slot = None;
            }
        }
    }
}

/// Takes all connections that wait.
fn accept(
    listener: &TcpListener,
    poll: &Poll,
    streams: &mut Vec<Option<TcpStream>>,
) -> Outcome<()> {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true).map_err(text)?;
        let token = Token(streams.len());
        poll.registry().register(&mut stream, token, Interest::READABLE).map_err(text)?;
        streams.push(Some(stream));
    }
    Ok(())
}

/// Answers what has come; an error is the end of the connection.
fn answer(stream: &mut TcpStream, input: &mut [u8], output: &[u8]) -> std::io::Result<()> {
    loop {
        let length = match stream.read(input) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            read => read?,
        };
        let requests = memchr_iter(b'*', input.get(..length).unwrap_or_default()).count();
        stream.write_all(output.get(..requests * REPLY.len()).unwrap_or_default())?;
        // What comes after a read that was not full is an event of its own.
        if length < input.len() {
            return Ok(());
        }
    }
}
