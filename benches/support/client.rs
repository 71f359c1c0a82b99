//! Connections that wait for their replies: one by one, or many requests at once.

use super::server::ANSWER_TIMEOUT;
use super::{Outcome, request, text};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// One connection that asks and waits for each answer.
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects to a server of this machine.
    pub fn connect(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(text)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends one request; gives the line of a simple reply or the bytes of a bulk one.
    pub fn ask(&mut self, args: &[&[u8]]) -> Outcome<String> {
        Ok(String::from_utf8_lossy(&self.ask_bytes(args)?).trim_end().to_owned())
    }

    /// As [`ask`](Self::ask); gives all strings and numbers of a reply, however nested.
    pub fn ask_all(&mut self, args: &[&[u8]]) -> Outcome<Vec<String>> {
        self.0.get_mut().write_all(&request(args)).map_err(text)?;
        let (mut values, mut all) = (1, Vec::new());
        while values > 0 {
            values -= 1;
            let mut line = String::new();
            self.0.read_line(&mut line).map_err(text)?;
            let line = line.trim_end();
            match (line.get(..1), line.get(1..).and_then(|size| size.parse::<usize>().ok())) {
                (Some("*"), Some(size)) => values += size,
                (Some("$"), Some(size)) => {
                    let mut bytes = vec![0; size + 2];
                    self.0.read_exact(&mut bytes).map_err(text)?;
                    all.push(String::from_utf8_lossy(&bytes).trim_end().to_owned());
                }
                (Some("-") | None, _) => return Err(line.to_owned()),
                _ => all.push(line.get(1..).unwrap_or_default().to_owned()),
            }
        }
        Ok(all)
    }

    /// As [`ask`](Self::ask), all bytes as they come.
    pub fn ask_bytes(&mut self, args: &[&[u8]]) -> Outcome<Vec<u8>> {
        self.0.get_mut().write_all(&request(args)).map_err(text)?;
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(text)?;
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("-", error)) => Err(error.to_owned()),
            Some(("$", length)) => {
                let Ok(length) = length.parse::<usize>() else {
                    return Ok(Vec::new());
                };
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).map_err(text)?;
                bytes.truncate(length);
                Ok(bytes)
            }
            Some((_, rest)) => Ok(rest.as_bytes().to_owned()),
            None => Err("the connection has ended".into()),
        }
    }
}

/// A connection that counts replies and reads no more of them than it must.
pub struct Pipe {
    stream: TcpStream,
    chunk: Vec<u8>,
    /// What has been read and not yet looked at.
    rest: Vec<u8>,
}

impl Pipe {
    /// Connects to a server of this machine.
    pub fn connect(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(text)?;
        Ok(Self { stream, chunk: vec![0; 256 * 1024], rest: Vec::new() })
    }

    /// Sends requests without waiting for a reply.
    pub fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.stream.write_all(bytes).map_err(text)
    }

    /// Reads that many replies; an error among them is an error.
    pub fn receive(&mut self, replies: usize) -> Outcome<()> {
        let (mut values, mut skip) = (replies, 0);
        while values > 0 || skip > 0 {
            let mut at = 0;
            loop {
                let step = skip.min(self.rest.len() - at);
                at += step;
                skip -= step;
                let left = self.rest.get(at..).unwrap_or_default();
                let end = left.iter().position(|byte| *byte == b'\n');
                let (Some(end), true) = (end, skip == 0 && values > 0) else {
                    break;
                };
                let line = String::from_utf8_lossy(left.get(..end).unwrap_or_default());
                let size = line.get(1..).and_then(|size| size.trim_end().parse::<usize>().ok());
                match line.bytes().next() {
                    Some(b'-') => return Err(line.trim_end().to_owned()),
                    Some(b'$') => skip = size.map_or(0, |size| size + 2),
                    Some(b'*') => values += size.unwrap_or(0),
                    _ => {}
                }
                at += end + 1;
                values -= 1;
            }
            self.rest.drain(..at);
            if values > 0 || skip > 0 {
                let length = self.stream.read(&mut self.chunk).map_err(text)?;
                if length == 0 {
                    return Err("the connection has ended".into());
                }
                self.rest.extend_from_slice(self.chunk.get(..length).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Sends requests and reads all of their replies without looking at them, however many: a
    /// client that is busy with them would take its time from those who are measured.
    pub fn drain(&mut self, requests: &[u8]) -> Outcome<()> {
        const END: &[u8] = b"the end of all these replies";
        self.send(&[requests, &request(&[b"ECHO", END])].concat())?;
        let mut last = Vec::new();
        while !last.trim_ascii_end().ends_with(END) {
            let length = self.stream.read(&mut self.chunk).map_err(text)?;
            let chunk = self.chunk.get(..length).unwrap_or_default();
            if chunk.is_empty() {
                return Err("the connection has ended".into());
            }
            if last.is_empty() && chunk.starts_with(b"-") {
                return Err(String::from_utf8_lossy(chunk).into_owned());
            }
            last.extend_from_slice(
                chunk.get(length.saturating_sub(2 * END.len())..).unwrap_or_default(),
            );
            last.drain(..last.len().saturating_sub(2 * END.len()));
        }
        Ok(())
    }

    /// Sends requests and meanwhile reads that many replies.
    pub fn exchange(&mut self, requests: &[u8], replies: usize) -> Outcome<()> {
        let mut writer = self.stream.try_clone().map_err(text)?;
        std::thread::scope(|scope| {
            let sending = scope.spawn(move || writer.write_all(requests).map_err(text));
            self.receive(replies)?;
            sending.join().map_err(|_| "the writer panicked")?
        })
    }
}
