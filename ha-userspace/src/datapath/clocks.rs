//! The kernel's two clocks at one instant.

use std::io;
use std::sync::Arc;

use aya::programs::Xdp;
use aya::{TestRun, TestRunOptions};
use ha_common::time::{Nanos, Ticks};

/// A frame that is long enough for the kernel to take it.
const FRAME_LEN: usize = 64;

/// The program `clocks`: loaded, never attached, run when asked.
#[derive(Clone, Debug)]
pub struct Clocks(Arc<Xdp>);

impl Clocks {
    pub(super) fn new(program: Xdp) -> Self {
        Clocks(Arc::new(program))
    }

    /// Ticks and `CLOCK_MONOTONIC`, now.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn read(&self) -> io::Result<(Ticks, Nanos)> {
        let mut answer = [0; FRAME_LEN];
        let options =
            TestRunOptions { data_in: Some(&[0; FRAME_LEN]), data_out: Some(&mut answer), ..TestRunOptions::default() };
        self.0.test_run(options).map_err(io::Error::other)?;
        let word = |at: usize| u64::from_ne_bytes(answer[at..at + 8].try_into().expect("eight bytes"));
        Ok((Ticks(word(0)), Nanos(word(8))))
    }
}
