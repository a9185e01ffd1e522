//! `bench rate`: what does a packet cost on a live path, and what is left of the service under a flood?
//!
//! ```text
//!   near ─────────────── middle ─────────────── far
//!   generator   near0 ══ client0  server0 ══ far0   counts, drops, answers SYNs
//! ```
//! Each device under test stands in the middle of a bed of its own, three namespaces; all beds are alike, and stand at the same time, so that
//! rounds interleave. Frames are live frames of `BPF_PROG_TEST_RUN`: made on CPU 0, they cross real interfaces and whatever runs there. What
//! is compared runs as it would in service: the product is its daemon with commands, the kernel its routes, nftables a ruleset.
//!
//! | room | question it answers |
//! |---|---|
//! | [`rows`] | what is measured, and against what? One line per row: a new way of forwarding is one more |
//! | [`programs`], [`traffic`], [`generator`] | how are frames made, paced and counted? |
//! | [`bed`], [`device`] | where does a device stand, and how is it set up, filled and emptied? |
//! | [`measure`] | what did one round of one row cost? |
//! | [`report`] | how are the figures shown? |
//! | [`flood`] | does service go on under random SYNs? |
//! | [`nic`], [`pktgen`] | how is a device measured that is another machine? |
//!
//! A kernel that lacks what this one lacks (IPVS, flowtables) can be measured in a guest: the binary is started there as it is, and only
//! [`device::Kind`] and [`rows::ROWS`] grow; figures of an emulated machine are ratios within it.

pub mod bed;
pub mod conntrack;
pub mod device;
pub mod flood;
pub mod generator;
pub mod measure;
pub mod nic;
pub mod pktgen;
pub mod programs;
pub mod report;
pub mod rows;
pub mod traffic;
