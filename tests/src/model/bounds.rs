//! How much may go wrong in one history.

/// Queues of frames: by link and sender, `link * 2 + sender`.
pub const QUEUES: usize = 2 * crate::sim::node::LINKS;

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
        keys: 0,
        forces: 0,
        losses: 0,
        lates: 0,
        links: 1,
        coarse: false,
    };

    /// `changes` of each direction of every link.
    #[must_use]
    pub fn with_cuts(self, changes: u8) -> Bounds {
        let used = usize::from(self.links) * 2;
        Bounds { cuts: std::array::from_fn(|queue| if queue < used { changes } else { 0 }), ..self }
    }
}
