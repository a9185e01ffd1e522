//! Understudy.
pub mod doctor;
