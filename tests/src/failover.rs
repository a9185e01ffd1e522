//! `bench failover`: how long is the VIP without an answer, and what does that speed cost in false takeovers?
//!
//! | room | question it answers |
//! |---|---|
//! | [`event`] | what happens to the Primary? |
//! | [`pair`], [`understudy`], [`keepalived`] | what can be done to a pair, whoever's it is? |
//! | [`measure`] | what did the client see of one event? |
//! | [`steadiness`], [`load`], [`stall`] | how often does a takeover happen that nothing justified, with busy loops beside? |
//! | [`results`] | how are the figures shown? |
//!
//! Every system runs in the same lab: same switch, same client, same prober, same busy loops, one after the other in one run.

pub mod event;
pub mod keepalived;
pub mod load;
pub mod measure;
pub mod pair;
pub mod results;
pub mod stall;
pub mod steadiness;
pub mod understudy;
