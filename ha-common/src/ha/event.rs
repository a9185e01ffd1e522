//! What happens to the machine, and what it wants done.

use core::fmt;
use core::time::Duration;

use super::dispute::Ruling;
use super::settings::Settings;
use super::view::PeerView;
use super::{Standing, Term};
use crate::time::Nanos;

/// Which of the monitored interfaces and failover interface sets work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Interfaces {
    /// All of them.
    Work,
    /// At least one fails.
    SomeFail,
    /// All of them fail.
    AllFail,
}

/// How the node itself is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Health {
    /// Interfaces and failover interface sets.
    pub interfaces: Interfaces,
    /// At least one leg of clients has carrier.
    pub connected: bool,
    /// At least one HA link has carrier: silence on it says something.
    pub linked: bool,
    /// Every monitored route is there.
    pub routes: bool,
}

impl Health {
    /// Nothing is wrong.
    pub const WELL: Health = Health { interfaces: Interfaces::Work, connected: true, linked: true, routes: true };
}

/// What the witness answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Testimony {
    /// This node came first and may serve alone.
    Granted,
    /// The peer came first.
    Refused,
    /// No answer came in time.
    Silent,
    /// It knows that the nodes hear each other.
    Noted,
}

/// Something that happened. Facts, not orders: what follows from them is the machine's business.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// The kernel's records were read: what was heard, and the term under which the own kernel serves.
    Heard {
        /// All links together.
        view: Box<PeerView>,
        /// See [`crate::abi::Fence::serving_term`].
        serving: Term,
    },
    /// Requests left on at least one link at this instant.
    Asked(Nanos),
    /// The own kernel decided something on a heartbeat.
    Ruled(Ruling),
    /// The state of the own interfaces and routes.
    Health(Health),
    /// When somebody was last heard on a leg of clients (an answer of a probed address, or other traffic); `None` while there is no
    /// address to probe, so that silence says nothing.
    Reached(Option<Nanos>),
    /// What came of [`Action::AskWitness`] or [`Action::ReleaseWitness`].
    Witness(Testimony),
    /// What came of [`Action::Announce`] under this term: whether it was carried out. A failure is tried again.
    Announced {
        /// The term announced.
        term: Term,
        /// Whether it took effect.
        done: bool,
    },
    /// The operator's settings, at the start and whenever they change.
    Settings(Settings),
    /// A configuration was committed: under which term, as which of it, and whether it holds anything.
    Committed {
        /// Term of the committing Primary.
        term: Term,
        /// Number of the commit within that term.
        incarnation: u64,
        /// Whether the node has anything to serve.
        configured: bool,
    },
    /// Everything the peer knew of flows and configuration is here (always so while nothing is mirrored).
    MirrorReady(bool),
    /// What [`Action::Drain`] asked for is done (at once while nothing is mirrored).
    Drained,
    /// A decision to take the role was not carried out: the driver had been stopped in between, and what it was based on is old.
    TooLate,
    /// Term counters up to this one are reserved on disk.
    Reserved(u64),
    /// The operator wants the roles swapped.
    Force {
        /// Even if the peer is not well.
        force: bool,
    },
    /// The operator wants this node to stop serving.
    Stop {
        /// Even if nobody can take over.
        force: bool,
    },
}

/// What the node says of itself in its frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Said {
    /// `wire::heartbeat::flags`.
    pub flags: u16,
    /// Bit by link.
    pub hears: u8,
    /// Place in the one order.
    pub standing: Standing,
    /// Public number of the node state: 1 INIT, 3 UP, 4 PARTIAL_FAIL, 7 COMPLETE_FAIL, 8 DUMB, 9 DISABLED, 11 ROUTEMONITOR_FAIL.
    pub node_state: u8,
    /// Public number of the master state: 0 Secondary, 1 claiming, 2 Primary, 3 always Secondary, 4 force change.
    pub master_state: u8,
}

/// Something to do. Executed in order, each before the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Action {
    /// Put this into the kernel's record and so into every frame.
    Publish(Said),
    /// Write the role: serve under this term, or ([`Term::NONE`]) not at all.
    SetRole(Term),
    /// Be ready to serve under `term` as soon as the peer is proved not to serve under `over`. Frames become claims.
    Arm {
        /// The term to take.
        term: Term,
        /// The peer's term before it.
        over: Term,
    },
    /// Be ready no more.
    Disarm,
    /// Let a claim over this own term take effect at once; [`Term::NONE`] takes that back.
    Consent(Term),
    /// Send a request (a claim while armed) on every link now, and report [`Event::Asked`].
    Send,
    /// Bring to the peer what it must know before it serves, then report [`Event::Drained`].
    Drain,
    /// Announce every floating address from here, and bring up those that the host owns; then report [`Event::Announced`], which may
    /// take as long as it takes.
    Announce(Term),
    /// Stop announcing, drop what is queued, take down what the host owns.
    Withdraw,
    /// Ask the witness for the right to serve alone, and report [`Event::Witness`].
    AskWitness,
    /// Tell the witness that this node hears its peer: no right is needed any more.
    ReleaseWitness,
    /// Reserve term counters up to this one on disk and report [`Event::Reserved`].
    Reserve(u64),
    /// Answer the operator's pending command.
    Answer(Result<(), Refusal>),
    /// Remember why the role changed.
    Record(Transition),
}

/// A role, as the operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RoleName {
    /// Does not serve.
    Secondary,
    /// Is taking over from a peer that is alive.
    Claiming,
    /// Serves.
    Primary,
    /// Serves until the peer has taken over.
    HandingOver,
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RoleName::Secondary => "Secondary",
            RoleName::Claiming => "Claiming",
            RoleName::Primary => "Primary",
            RoleName::HandingOver => "Handing over",
        })
    }
}

/// A change of role and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Transition {
    /// When.
    pub at: Nanos,
    /// The role before.
    pub from: RoleName,
    /// The role after.
    pub to: RoleName,
    /// The term concerned.
    pub term: Term,
    /// The rule that decided, with its evidence.
    pub cause: Cause,
}

/// Why a role changed: the rule, and the facts it was applied to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Cause {
    /// There is no peer.
    Standalone,
    /// The kernel was serving when the daemon came up.
    Adopted,
    /// No echo on any link for this long, and every request since went unanswered.
    PeerDead {
        /// Since the last echo.
        silence: Duration,
    },
    /// The peer never was heard since this node came up.
    PeerNeverHeard {
        /// Since this node listens.
        silence: Duration,
    },
    /// Nobody served, and this node goes before its peer in the one order.
    Election,
    /// The Primary asked its peer to take over.
    PeerHandsOver,
    /// The peer's kernel lives, its controller does not.
    PeerHung {
        /// Age of its last loop.
        age: Duration,
    },
    /// The operator forced it.
    Forced,
    /// The operator stops this node.
    Stopped,
    /// A monitored interface failed here and the peer is well.
    Unhealthy,
    /// No leg of this node reaches anybody and the peer's do.
    Isolated,
    /// A monitored route is missing here and the peer is well.
    RouteMissing,
    /// This node is not well, failSafe is off, and the peer cannot take over: nobody serves.
    NotUp,
    /// Neither node is well, failSafe is on, and this one goes first.
    FailSafe,
    /// The witness gave the right to serve alone to the peer.
    WitnessRefused,
    /// The daemon was stopped between a decision and its execution.
    TooLate,
    /// haStatus says that this node shall not serve.
    Status,
    /// The peer prefers to be Primary and is ready.
    PeerPrefers,
    /// The peer proved that it does not serve; this node's armed term came into force.
    Granted,
    /// The peer's claim was obeyed.
    Yielded,
    /// Both served; the one order went for the peer.
    DisputeLost,
    /// Both served; the peer stopped, and a term above both was taken.
    DisputeWon,
    /// The peer serves and hears nothing from here.
    Unheard,
    /// The peer took over while this machine stood still.
    Overslept,
    /// The peer came under another term meanwhile.
    Overtaken,
    /// The peer's controller runs again.
    PeerRecovered,
    /// The other side did not follow in time.
    TimedOut,
    /// This node may not take over (any more).
    Ineligible,
    /// The peer came or went, or this node's id in the pair changed.
    PairChanged,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Standalone => f.write_str("no peer is configured"),
            Cause::Adopted => f.write_str("the kernel was serving when the daemon came up"),
            Cause::PeerDead { silence } => {
                write!(f, "peer dead: no echo on any link for {silence:.1?}, all requests since unanswered")
            }
            Cause::PeerNeverHeard { silence } => write!(f, "peer not heard on any link in {silence:.1?} since start"),
            Cause::Election => f.write_str("nobody served and this node goes first"),
            Cause::PeerHandsOver => f.write_str("peer asked this node to take over"),
            Cause::PeerHung { age } => write!(f, "peer's controller hung: last completed loop {age:.1?} ago"),
            Cause::Forced => f.write_str("forced failover"),
            Cause::Stopped => f.write_str("node is being stopped"),
            Cause::Unhealthy => f.write_str("a monitored interface failed here, peer is well"),
            Cause::Isolated => f.write_str("nobody is reached on this node's legs, peer is connected"),
            Cause::RouteMissing => f.write_str("a monitored route is missing here, peer is well"),
            Cause::NotUp => f.write_str("this node is NOT UP, the peer cannot take over, and failSafe is OFF"),
            Cause::FailSafe => f.write_str("neither node is UP, failSafe is ON, and this node goes first"),
            Cause::WitnessRefused => f.write_str("the witness gave the right to serve alone to the peer"),
            Cause::TooLate => f.write_str("the daemon was stopped between a decision and its execution"),
            Cause::Status => f.write_str("haStatus"),
            Cause::PeerPrefers => f.write_str("peer prefers to be Primary and is ready"),
            Cause::Granted => f.write_str("peer proved that it stopped serving"),
            Cause::Yielded => f.write_str("peer's claim was obeyed"),
            Cause::DisputeLost => f.write_str("both served; the peer goes first"),
            Cause::DisputeWon => f.write_str("both served; the peer stopped"),
            Cause::Unheard => f.write_str("peer serves and hears nothing from this node"),
            Cause::Overslept => {
                f.write_str("peer took over although it was heard: this machine had stood still, or could not be heard")
            }
            Cause::Overtaken => f.write_str("peer serves under a newer term"),
            Cause::PeerRecovered => f.write_str("peer's controller runs again"),
            Cause::TimedOut => f.write_str("peer did not follow in time"),
            Cause::Ineligible => f.write_str("this node may not take over now"),
            Cause::PairChanged => f.write_str("the pair's definition changed"),
        }
    }
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Refusal {
    /// There is no peer.
    Standalone,
    /// The peer does not answer.
    PeerDown,
    /// The peer's frames are signed with an unknown key.
    PeerUnknown,
    /// This node's own state forbids it.
    OwnState,
    /// A change of role is under way.
    Busy,
    /// One of the nodes is STAYPRIMARY.
    StayPrimary,
    /// The node that would take over is STAYSECONDARY or DISABLED.
    StaySecondary,
    /// The node that would take over is not well.
    PeerNotUp,
    /// The peer did not take over in time; the role stayed here.
    TimedOut,
    /// The peer does not answer, and the witness has not let this node serve alone.
    Witness,
}

impl Refusal {
    /// The public product's error code.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Refusal::Standalone => 363,
            Refusal::PeerDown | Refusal::PeerUnknown | Refusal::StaySecondary | Refusal::Witness => 364,
            Refusal::OwnState => 365,
            Refusal::Busy | Refusal::TimedOut => 366,
            Refusal::StayPrimary => 1441,
            Refusal::PeerNotUp => 1449,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Standalone => "Operation not permitted on stand-alone node",
            Refusal::PeerDown => "Invalid peer state: the peer is DOWN; rectify it and retry",
            Refusal::PeerUnknown => {
                "Invalid peer state: the peer's heartbeats are signed with another password; set the same rpcnode passwords on both nodes, or use -force"
            }
            Refusal::OwnState => "Operation not permitted in this node's own state (see show ha node)",
            Refusal::Busy => "A change of role is under way; wait for it and retry",
            Refusal::StayPrimary => "Operation not permitted: a node of the pair is STAYPRIMARY",
            Refusal::StaySecondary => "Operation not permitted: the node that would take over is STAYSECONDARY or DISABLED",
            Refusal::PeerNotUp => "Operation not permitted: the node that would take over is NOT UP; use -force to insist",
            Refusal::TimedOut => "The peer did not take over in time; the role has stayed here",
            Refusal::Witness => {
                "Invalid peer state: the peer is DOWN, and the witness has not let this node serve alone (it chose the peer, or is silent); if the peer is lost for good, set ha node -witness NONE lets this node serve"
            }
        })
    }
}
