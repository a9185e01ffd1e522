//! Every schedule of a bounded pair, over the shipped rules: two nodes, their links, crashes, stalls, cuts, mistakes.
//!
//! [`stateright`] explores. A state ([`Pair`]) is two `SimNode`s, the very kernel rules and machine that ship, and the frames
//! between them; a [`Step`] is one delivery, one turn of a daemon, one tick of time or one fault. Numbers are renamed (`canon`) so
//! that the space is finite without a bound on time or on claims: only faults are bounded ([`Bounds`]).
//!
//! **Time.** One tick is longer than every pace the machine falls into by itself, so that hello, dead and controllerDead (1, 3
//! and 5 ticks) are all that is left. In each tick a running daemon asks once and takes a turn; frames are delivered within their
//! tick, in any order between the directions, unless a fault holds one back: such a frame comes whenever it likes, also as a
//! recording of one that did arrive. A kernel may judge any number of frames before its daemon looks.
//!
//! **Checked** in every state (`judge`): what a fence stopped stays stopped (invariant 3); a dispute stops one, not both, and
//! not the better one (4); both do not serve over a working link for longer than it takes to prove lives and hearing, nor over one that
//! works in one direction for longer than a dead interval more, nor beside a witness that answers (5); nobody takes over from a Primary
//! that it hears or can reach, on a proof that is none, or isolated; a claim over a running controller is not obeyed (6); no term is
//! claimed twice. From every state, healed, exactly one Primary is reached, and with all mended but interfaces and legs, who serves is
//! who the failSafe table names (`heal`).
//!
//! **Fewer states, same answer.** A frame that decides nothing and wakes nobody is delivered at once where nothing else can touch its
//! node first (`next`). **Fewer on purpose**: `coarse` keeps power and cuts out of exchanges; `parts` cuts both directions at once;
//! `lockstep` keeps every fault out of exchanges, whose frames then come in two orders. What one of these leaves out, bounds without
//! it visit with fewer faults.
//!
//! **Not in it**: holds longer than some ticks (STAYPRIMARY's, route monitors), isolation by silence, several nodes behind one witness.
//!
//! **A check that cannot fail proves nothing**, so each [`Rule`] can be taken out (`Rule`): then a violation must be found.

mod bounds;
mod canon;
mod explore;
mod heal;
mod judge;
mod next;
mod pair;
mod rule;
mod step;
mod table;

pub use bounds::{Bounds, Setup};
pub use explore::{Limits, Report, Violation, check};
pub use pair::Pair;
pub use rule::Rule;
pub use step::Step;
pub use table::{long, quick};

use std::time::Duration;

use canon::TICK;
use ha_common::ha::settings::Settings;

/// A little less than a number of ticks: what happened in the tick that many ticks ago is over.
const MARGIN: Duration = Duration::from_millis(10);

/// Ticks after which a peer may be dead.
const DEAD_TICKS: u32 = 3;

/// Ticks after which a controller is hung.
const HUNG_TICKS: u32 = 5;

fn settings() -> Settings {
    Settings {
        node_id: 0,
        paired: true,
        hello: TICK - MARGIN,
        dead: TICK * DEAD_TICKS - MARGIN,
        controller_dead: TICK * HUNG_TICKS - MARGIN,
        isolation_hold: TICK * DEAD_TICKS - MARGIN,
        route_hold: Duration::ZERO,
        ..Settings::default()
    }
}
