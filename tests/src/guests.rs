//! Virtual machines: two as a pair, for what only a whole machine can suffer (a pause, a step of its clock), and one for kernels and network
//! cards that this machine does not have.
//!
//! | room | question it answers |
//! |---|---|
//! | [`kernel`] | which kernel boots, and where does it come from? |
//! | [`image`] | what does a guest find when it comes up? |
//! | [`scratch`] | where do its image and its sockets lie? |
//! | [`guest`] | how is a guest started, stopped, continued, told what to do? |
//! | [`inside`] | what is checked within a guest, on its own kernel and cards? |
//! | [`cables`] | how do frames get from guest to guest, who answers for the VIP, and when? |
//!
//! The guests run under qemu without acceleration, a few times slower than a machine: intervals are the public defaults (200 ms, 3 s), and
//! what is asserted is an order of events, not a speed. Nothing of the host's network is touched: every cable is a pair of unix sockets
//! with this process in the middle, which is the switch and the client too, or a hub within qemu.

pub mod cables;
pub mod guest;
pub mod image;
pub mod inside;
pub mod kernel;
pub mod scratch;
