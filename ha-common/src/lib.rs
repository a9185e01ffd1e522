//! Understudy minus the kernel: everything that can be right or wrong without one.
//!
//! | room | the question it answers |
//! |---|---|
//! | [`time`] | what time is it, and who said so? |
//! | [`abi`] | which bytes are shared with kernel maps? |
//! | [`wire`] | which bytes are shared with the network? |
//! | [`packet`], [`tables`] | what may the pipeline ask of its surroundings? |
//! | [`pipeline`] | what happens to this packet, and why? |
//! | [`maglev`] | which backend owns which slot of a ring? |
//! | [`turns`] | whose turn is it, where the client does not say? |
//! | [`ha`] | who serves? |
//! | [`health`] | is this service usable? |
//! | [`witness`] | which node may serve when neither hears the other? |
//!
//! Nothing here owns a clock, a socket, a thread or a source of randomness: the same functions run on the host, under a
//! simulator's virtual time and in XDP.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
// Compare-and-swap in the kernel, see `word`.
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics, asm_experimental_arch), allow(internal_features))]

pub mod abi;
pub mod ha;
pub mod health;
#[cfg(any(test, feature = "std"))]
pub mod maglev;
pub mod packet;
pub mod pipeline;
pub mod tables;
pub mod time;
#[cfg(any(test, feature = "std"))]
pub mod turns;
pub mod wire;
#[cfg(any(test, feature = "std"))]
pub mod witness;
pub mod word;
