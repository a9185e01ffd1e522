//! The kernel's two clocks at one instant.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aya::programs::Xdp;
use aya::{TestRun, TestRunOptions};
use ha_common::time::{Nanos, Ticks};

/// A frame that is long enough for the kernel to take it.
const FRAME_LEN: usize = 64;

/// The program `clocks`: loaded, never attached, run when asked.
#[derive(Clone, Debug)]
pub struct Clocks(Arc<Xdp>, Arc<OnceLock<(Ticks, Nanos)>>);

impl Clocks {
    pub(super) fn new(program: Xdp) -> Self {
        let clocks = Clocks(Arc::new(program), Arc::default());
        // Where ticks are counted from, for those who ask how long one is.
        if let Ok(first) = clocks.read() {
            let _ = clocks.1.set(first);
        }
        clocks
    }

    /// What a tick is taken for before it was measured: most kernels have 250 of them in a second.
    const TICK: Duration = Duration::from_millis(4);
    /// It is measured over this time at least.
    const MEASURE: Duration = Duration::from_millis(500);

    /// The ticks now, and how long one is.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn tick(&self) -> io::Result<(Ticks, Duration)> {
        let (now, at) = self.read()?;
        let (first, first_at) = *self.1.get_or_init(|| (now, at));
        let (counted, span) = (now.0.wrapping_sub(first.0), at.since(first_at));
        let measured = span >= Self::MEASURE && counted > 0;
        Ok((now, if measured { span.div_f64(counted as f64) } else { Self::TICK }))
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
