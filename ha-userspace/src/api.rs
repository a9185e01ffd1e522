//! The way in: one request and one reply per connection over a unix socket, whose permissions are the access control.
//!
//! A request is one line of JSON, `{"words": [...]}`; a reply is one line of JSON, a [`Reply`](crate::command::Reply). The server
//! trusts nobody with memory or time: sizes, times and the number of connections are bounded.

mod client;
mod server;
mod socket;

#[cfg(test)]
mod tests;

pub use client::{NoDaemon, STAT_EVERY, ask, ask_within, times};
pub use server::{Handle, serve};
pub use socket::{BindError, Socket};

use serde::{Deserialize, Serialize};

use crate::command::{CommandError, Token, tokens};

/// Largest request line.
const MAX_REQUEST_BYTES: u64 = 64 << 10;

/// One command as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The words as the shell split them; a single word with spaces is a line, split here.
    pub words: Vec<String>,
}

impl Request {
    /// Returns the words for the parser.
    fn tokens(&self) -> Result<Vec<Token>, CommandError> {
        match &self.words[..] {
            [line] => tokens(line),
            words => Ok(words.iter().map(|word| Token::from(word.as_str())).collect()),
        }
    }
}
