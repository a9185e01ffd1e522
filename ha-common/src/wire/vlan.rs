//! 802.1Q tags.
//!
//! ```text
//! 12 0x8100 · 14 priority (3 bits), drop eligible (1), VLAN id (12) · 16 type of what follows
//! ```

/// Length of a tag, in bytes.
pub const LEN: usize = 4;

/// Offset of the tag's control information, in a tagged frame.
pub const CONTROL: usize = 14;

/// Offset of the type of what follows, in a tagged frame.
pub const TYPE: usize = 16;

/// The bits of the control information that are the VLAN id. Id 0 is a priority tag: the frame belongs to no VLAN.
pub const ID: u16 = 0x0fff;
