//! Understudy's daemon as a library: the language, the running configuration, the socket by which operators reach it, the kernel's
//! side, the HA driver and the record of it, and the examination of a host.

pub mod alarm;
pub mod api;
pub mod clock;
pub mod command;
pub mod config;
pub mod conflict;
pub mod connections;
pub mod daemon;
pub mod datapath;
pub mod disk;
pub mod doctor;
pub mod explain;
pub mod glance;
pub mod ha;
pub mod health;
pub mod hook;
pub mod keys;
pub mod net;
pub mod options;
pub mod realtime;
pub mod replay;
pub mod trace;
pub mod witness;
