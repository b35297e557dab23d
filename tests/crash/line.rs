//! A connection over a socket, carried by whoever calls.

use crate::support::options;
use multi_hyperbee::db::{Db, Peer, Transport};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

pub struct Line {
    stream: TcpStream,
    peer: Peer,
    waiting: Vec<u8>,
    over: bool,
}

impl Line {
    pub fn new(stream: TcpStream, db: &Db, initiator: bool) -> Self {
        stream.set_nonblocking(true).unwrap();
        let transport = if initiator { Transport::Initiator } else { Transport::Responder };
        let peer = db.replicate(options(transport)).unwrap();
        Self { stream, peer, waiting: Vec::new(), over: false }
    }

    /// Carries what is there, both ways.
    pub fn carry(&mut self) {
        let mut bytes = [0; 16 << 10];
        while !self.over && self.peer.ready_for_more() {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.over = true,
                Ok(read) => self.over |= self.peer.receive(&bytes[..read]).is_err(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.over = true,
            }
        }
        while !self.over {
            if self.waiting.is_empty() {
                match self.peer.pull(64 << 10) {
                    Some(bytes) => self.waiting = bytes,
                    None => break,
                }
            }
            match self.stream.write(&self.waiting) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.over = true,
            }
        }
    }

    /// The other side is gone.
    pub fn end(&self) {
        self.peer.ended();
    }
}
