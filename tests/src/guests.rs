//! Two virtual machines as a pair: what only a whole machine can suffer, a pause and a step of its clock.
//!
//! | room | question it answers |
//! |---|---|
//! | [`kernel`] | which kernel boots, and where does it come from? |
//! | [`image`] | what does a guest find when it comes up? |
//! | [`guest`] | how is a guest started, stopped, continued, told what to do? |
//! | [`cables`] | how do frames get from guest to guest, who answers for the VIP, and when? |
//!
//! The guests run under qemu without acceleration, a few times slower than a machine: intervals are the public defaults (200 ms, 3 s), and
//! what is asserted is an order of events, not a speed. Nothing of the host's network is touched: every cable is a pair of unix sockets
//! with this process in the middle, which is the switch and the client too.

pub mod cables;
pub mod guest;
pub mod image;
pub mod kernel;
