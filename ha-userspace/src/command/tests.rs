//! The language as people type it, and as it prints itself.

mod executor;
mod grammar;
mod round_trip;
