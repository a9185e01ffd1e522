//! Understudy's daemon as a library: the language, the running configuration, the socket by which operators reach it, and the
//! examination of a host.

pub mod api;
pub mod command;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod options;
