//! The kernel's routing table, asked as the pipeline asks it.

use std::io;

use aya::programs::Xdp;
use aya::{TestRun, TestRunOptions};
use ha_common::abi::Ip;
use ha_common::tables::Route;

/// A frame that is long enough for the kernel to take it.
const FRAME_LEN: usize = 64;

/// The program `way`: loaded, never attached, run when asked, in the network namespace of whoever asks.
#[derive(Debug)]
pub struct Ways(Xdp);

impl Ways {
    pub(super) fn new(program: Xdp) -> Self {
        Ways(program)
    }

    /// The way from `source` to `destination` for a packet that came in on `ifindex`.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn ask(&self, ifindex: u32, source: &Ip, destination: &Ip) -> io::Result<Route> {
        let mut question = [0; FRAME_LEN];
        let words = [&[ifindex][..], &source.0, &destination.0].concat();
        for (place, word) in question.chunks_exact_mut(4).zip(&words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        let mut answer = [0; FRAME_LEN];
        let options = TestRunOptions { data_in: Some(&question), data_out: Some(&mut answer), ..TestRunOptions::default() };
        self.0.test_run(options).map_err(io::Error::other)?;
        let word = |at: usize| u32::from_ne_bytes(answer[4 * at..4 * at + 4].try_into().expect("four bytes"));
        Ok(Route::of_words(std::array::from_fn(word)))
    }
}
