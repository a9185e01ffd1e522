//! How much may go wrong in one history.

use std::fmt;

/// Queues of frames: by link and sender, `link * 2 + sender`.
pub const QUEUES: usize = 2 * crate::sim::node::LINKS;

/// How the pair is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Setup {
    /// There is a witness.
    pub witness: bool,
    /// failSafe is ON, on both nodes.
    pub fail_safe: bool,
    /// The second node is STAYSECONDARY.
    pub stays: bool,
}

/// How often each thing may still go wrong. What undoes it is free where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Losses of power. Its return is free, three ticks later or any time after.
    pub crashes: u8,
    /// Changes of each direction of each link, cut or joined.
    pub cuts: [u8; QUEUES],
    /// Changes of a whole link, cut or joined in both directions at once, between exchanges.
    pub parts: u8,
    /// Stalls of a daemon, between its turns or in the middle of one. Its end is free.
    pub stalls: u8,
    /// Daemons that are killed. Their start is free.
    pub kills: u8,
    /// Changes of a node's legs: isolated, or well again.
    pub legs: u8,
    /// Changes of a node's monitored interface: fails, or works again. What the pair comes to then is checked against the failSafe table.
    pub monitors: u8,
    /// Questions that the witness does not answer.
    pub mutes: u8,
    /// Changes of the key that a node signs with, to one that the other does not know, or back.
    pub keys: u8,
    /// Failovers that the operator forces.
    pub forces: u8,
    /// Single frames that are lost.
    pub losses: u8,
    /// Single frames that come late, or once more.
    pub lates: u8,
    /// Links in use.
    pub links: u8,
    /// Crashes and cuts come between exchanges only, not between the frames of one.
    pub coarse: bool,
    /// Everything that goes wrong comes between exchanges only, and the frames of one come in one of two orders: the nodes take turns,
    /// either of them first.
    pub lockstep: bool,
    /// How the pair is set up.
    pub setup: Setup,
}

impl Bounds {
    /// Nothing goes wrong on one link.
    pub const NONE: Bounds = Bounds {
        crashes: 0,
        cuts: [0; QUEUES],
        parts: 0,
        stalls: 0,
        kills: 0,
        legs: 0,
        monitors: 0,
        mutes: 0,
        keys: 0,
        forces: 0,
        losses: 0,
        lates: 0,
        links: 1,
        coarse: false,
        lockstep: false,
        setup: Setup { witness: false, fail_safe: false, stays: false },
    };

    /// `changes` of each direction of every link.
    #[must_use]
    pub fn with_cuts(self, changes: u8) -> Bounds {
        let used = usize::from(self.links) * 2;
        Bounds { cuts: std::array::from_fn(|queue| if queue < used { changes } else { 0 }), ..self }
    }
}

impl fmt::Display for Bounds {
    /// The arguments of `cargo xtask model` that mean these bounds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cuts = self.cuts.into_iter().max().unwrap_or(0);
        let counts = [
            ("crashes", self.crashes),
            ("cuts", cuts),
            ("parts", self.parts),
            ("stalls", self.stalls),
            ("kills", self.kills),
            ("legs", self.legs),
            ("monitors", self.monitors),
            ("keys", self.keys),
            ("forces", self.forces),
            ("losses", self.losses),
            ("lates", self.lates),
            ("mutes", self.mutes),
            ("links", if self.links == 1 { 0 } else { self.links }),
        ];
        let switches = [
            ("witness", self.setup.witness),
            ("fail-safe", self.setup.fail_safe),
            ("stays", self.setup.stays),
            ("coarse", self.coarse),
            ("lockstep", self.lockstep),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("--{name} {count}"));
        let switches = switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| format!("--{name}"));
        let text: Vec<String> = counts.chain(switches).collect();
        f.pad(&if text.is_empty() { "(nothing goes wrong)".to_owned() } else { text.join(" ") })
    }
}
