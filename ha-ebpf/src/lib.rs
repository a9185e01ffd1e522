//! Empty: the kernel programs are the binary of this crate.
#![no_std]
