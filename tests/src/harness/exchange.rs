//! A connection whose ends send to each other at the same time, and check every byte that comes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// How long nothing may move.
const STILL_WITHIN: Duration = Duration::from_secs(10);
const BLOCK_BYTES: usize = 16 << 10;

/// Sends `bytes` each way and closes.
pub fn exchange(client: TcpStream, server: TcpStream, bytes: usize) -> Result<()> {
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(STILL_WITHIN))?;
        stream.set_write_timeout(Some(STILL_WITHIN))?;
    }
    thread::scope(|scope| {
        let tasks = [
            ("the client sends", scope.spawn(|| say(&client, 1, bytes))),
            ("the server sends", scope.spawn(|| say(&server, 2, bytes))),
            ("the server hears", scope.spawn(|| hear(&server, 1, bytes))),
            ("the client hears", scope.spawn(|| hear(&client, 2, bytes))),
        ];
        let ends = tasks.map(|(what, task)| task.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).context(what));
        ends.into_iter().collect()
    })
}

/// What `seed` says: no two stretches of it are alike.
struct Speech(u64);

impl Speech {
    fn new(seed: u64) -> Self {
        Speech(seed)
    }

    fn fill(&mut self, block: &mut [u8]) {
        for byte in block {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

fn say(mut stream: &TcpStream, seed: u64, bytes: usize) -> Result<()> {
    let (mut speech, mut block, mut left) = (Speech::new(seed), [0; BLOCK_BYTES], bytes);
    while left > 0 {
        let now = left.min(BLOCK_BYTES);
        speech.fill(&mut block[..now]);
        stream.write_all(&block[..now]).with_context(|| format!("{} of {bytes} bytes were written", bytes - left))?;
        left -= now;
    }
    Ok(stream.shutdown(Shutdown::Write)?)
}

fn hear(mut stream: &TcpStream, seed: u64, bytes: usize) -> Result<()> {
    let (mut speech, mut expected, mut block, mut heard) = (Speech::new(seed), [0; BLOCK_BYTES], [0; BLOCK_BYTES], 0);
    loop {
        let now = stream.read(&mut block).with_context(|| format!("{heard} of {bytes} bytes came"))?;
        if now == 0 {
            ensure!(heard == bytes, "it closed after {heard} of {bytes} bytes");
            return Ok(());
        }
        speech.fill(&mut expected[..now]);
        ensure!(expected[..now] == block[..now], "wrong bytes between {heard} and {}", heard + now);
        heard += now;
    }
}
