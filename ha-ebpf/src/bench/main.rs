//! Programs that `bench packet` and `bench rate` measure with, and measure against. Never part of the product.
//!
//! A program that changes its packet cannot be run a million times over the same buffer: from the second time on it would see what it
//! made of the first. `outer` puts the packet back, with another client's address each time, and goes on as the program under test.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs;
#[cfg(target_arch = "bpf")]
mod rate;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
