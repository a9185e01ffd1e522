//! Understudy.

pub mod clock;
pub mod doctor;
pub mod health;
pub mod net;
