//! What this node knows of its peer: all links together.

use crate::abi::{Link, MAX_LINKS, Term};
use crate::time::Nanos;
use crate::wire::heartbeat::Extension;

/// The kernel's link records, merged. Instants are by this node's clock; [`Nanos::NEVER`] where nothing came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PeerView {
    /// By link: when the last fresh frame came.
    pub heard_at: [Nanos; MAX_LINKS],
    /// When an own request was last echoed, on any link.
    pub echo_at: Nanos,
    /// When the peer last asked, on any link.
    pub request_at: Nanos,
    /// When a serving peer last asked without proof that it means this life of ours.
    pub unproved_at: Nanos,
    /// When a frame with the peer's address and an unknown key last came.
    pub unknown_key_at: Nanos,
    /// Whether the newest such frame says that its sender serves.
    pub unknown_key_serves: bool,
    /// Round trip of the newest echo, in nanoseconds.
    pub rtt: u64,
    /// The newest fresh frame of the peer's present life.
    pub said: Option<Extension>,
}

impl PeerView {
    /// Merges `links`. `peer_nonce` is the proved life of the peer; what a former life said is forgotten.
    #[must_use]
    pub fn merge(links: &[Link], peer_nonce: u64) -> PeerView {
        let mut view = PeerView::default();
        for (link, heard_at) in links.iter().zip(&mut view.heard_at) {
            let newest = link.request_at.max(link.echo_at);
            *heard_at = newest;
            if link.echo_at > view.echo_at {
                view.echo_at = link.echo_at;
                view.rtt = link.rtt;
            }
            view.request_at = view.request_at.max(link.request_at);
            view.unproved_at = view.unproved_at.max(link.unproved_at);
            if link.unknown_key_at > view.unknown_key_at {
                view.unknown_key_at = link.unknown_key_at;
                view.unknown_key_serves = link.unknown_key_serves != 0;
            }
            let newer = view.said.is_none_or(|said| link.said.said_at > said.said_at);
            if newest != Nanos::NEVER && newer && link.said.sender_nonce == peer_nonce {
                view.said = Some(link.said);
            }
        }
        view
    }

    /// The term under which the peer last said that it serves.
    #[must_use]
    pub fn term(&self) -> Term {
        self.said.map_or(Term::NONE, |said| said.groups[0].term)
    }

    /// Whether the peer last said `flag` (see `wire::heartbeat::flags`).
    #[must_use]
    pub fn says(&self, flag: u16) -> bool {
        self.said.is_some_and(|said| said.flags & flag != 0)
    }
}
