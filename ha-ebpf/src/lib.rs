//! Empty: the kernel programs are the binary of this crate.
