//! Understudy.

pub mod clock;
pub mod datapath;
pub mod doctor;
pub mod health;
pub mod net;
