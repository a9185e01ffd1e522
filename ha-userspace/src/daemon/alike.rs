//! Are both nodes configured alike in what they have in common?
//!
//! Each says the identity of its configuration in every heartbeat: a hash of the commands that belong to the pair, in canonical order
//! ([`Config::identity`]). What is each node's own (NSIP, name, interfaces, roles, passwords, and with INC its networks) is not in it, so
//! two nodes that were given the same commands say the same number. Whoever changes both nodes by hand has a moment for it.

use std::time::Duration;

use ha_common::time::Nanos;

use crate::alarm::{Board, Kind};
use crate::config::Config;
use crate::ha::Snapshot;
use crate::ha::public::Peer;

/// How long configurations may differ: the same commands are typed on two nodes.
const DIFFER_AFTER: Duration = Duration::from_secs(10);

/// Compares.
#[derive(Debug, Default)]
pub struct Alike {
    /// Since when they have been seen to differ.
    since: Option<Nanos>,
}

impl Alike {
    /// Compares what both nodes say now. Of a peer that is not heard, or runs a release that may write the same command in another way,
    /// nothing new is known.
    pub fn look(&mut self, config: &Config, snapshot: &Snapshot, board: &Board) {
        if config.peer().is_none() {
            self.since = None;
            board.clear(Kind::ConfigurationsDiffer, "");
            return;
        }
        let own = config.identity();
        let Some(theirs) = said(snapshot) else { return };
        self.since = (theirs != own).then(|| self.since.unwrap_or(snapshot.at));
        let holds = self.since.is_some_and(|since| snapshot.at.since(since) >= DIFFER_AFTER);
        board.set(Kind::ConfigurationsDiffer, "", holds, || {
            format!(
                "this node's configuration ({own:016x}) is not the peer's ({theirs:016x}): after a failover other addresses or services would be \
                 served; give both nodes the same commands until show ns config shows the same identity"
            )
        });
    }
}

/// The identity that the peer says, if it is worth comparing: before its daemon has read its configuration it says none.
fn said(snapshot: &Snapshot) -> Option<u64> {
    let alike = Peer::of(&snapshot.links).is_some_and(|peer| !peer.is_other_release());
    let said = snapshot.view.said.filter(|_| snapshot.peer_alive == Some(true) && alike)?;
    Some(said.config_identity).filter(|identity| *identity != 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ha_common::abi::Link;
    use ha_common::ha::view::PeerView;
    use ha_common::wire::heartbeat::Extension;

    use super::*;
    use crate::config::{Indices, load_text};
    use crate::ha::public::RELEASE;

    const PAIR: &str = "
        set ns hostName one
        set interface client0 -haHeartbeat OFF
        set interface ha0 -haMonitor OFF
        set ha node -haStatus STAYPRIMARY -failSafe ON -helloInterval 20 -deadInterval 200ms
        set L2Param -garpReply ENABLED
        add vrid 60
        bind vrid 60 -ifnum client0
        add lb vserver web TCP 10.1.0.100 80
        add service s1 10.2.0.11 TCP 80 -usip YES
        bind lb vserver web s1
        set ha hook -webhook https://hooks.example/T0
    ";

    fn config(text: &str) -> Config {
        load_text(Path::new("node.conf"), text, Indices::default()).unwrap()
    }

    fn one() -> Config {
        config(&format!(
            "set ns config -IPAddress 192.0.2.11 -netmask 255.255.255.0
            {PAIR}
            add ha node 1 192.0.2.12
            set ns rpcNode 192.0.2.11 -password a"
        ))
    }

    /// A peer that says `identity`, looked at after `seconds`.
    fn heard(identity: u64, release: u32, seconds: u64) -> Snapshot {
        let said = Extension { config_identity: identity, ..Extension::default() };
        Snapshot {
            at: Nanos(1_000_000_000 * (seconds + 1)),
            peer_alive: Some(true),
            view: PeerView { said: Some(said), ..PeerView::default() },
            links: vec![Link { echo_at: Nanos(1), peer_release: release, ..Link::default() }],
            ..Snapshot::default()
        }
    }

    fn stands(board: &Board) -> bool {
        board.list().iter().any(|(kind, ..)| *kind == Kind::ConfigurationsDiffer)
    }

    #[test]
    fn nodes_that_were_given_the_same_commands_of_the_pair_say_the_same() {
        let other = PAIR
            .replace("hostName one", "hostName two")
            .replace("client0", "enp3s0")
            .replace("STAYPRIMARY -failSafe ON", "ENABLED")
            .replace("/T0", "/T1");
        let other = config(&format!(
            "set ns config -IPAddress 192.0.2.12 -netmask 255.255.255.0
            {other}
            add ha node 7 192.0.2.11
            set ns rpcNode 192.0.2.12 -password b"
        ));
        assert_eq!(one().identity(), other.identity());
    }

    #[test]
    fn configurations_that_differ_for_long_are_an_alarm_until_they_are_equal() {
        let (config, board, mut alike) = (one(), Board::default(), Alike::default());
        let (same, other) = (config.identity(), 7);
        let mut after = |identity, seconds| {
            alike.look(&config, &heard(identity, RELEASE, seconds), &board);
            stands(&board)
        };
        assert!(!after(other, 0), "the same command is typed on the other node next");
        assert!(!after(other, 9));
        assert!(!after(same, 10) && !after(other, 11), "it counts anew");
        assert!(after(other, 21));
        assert!(!after(same, 22));
    }

    #[test]
    fn nothing_new_is_known_of_a_peer_that_is_silent_starting_or_of_another_release() {
        let (config, board, mut alike) = (one(), Board::default(), Alike::default());
        for silent in
            [heard(0, RELEASE, 100), heard(7, RELEASE + 1, 100), Snapshot { peer_alive: Some(false), ..heard(7, RELEASE, 100) }]
        {
            alike.look(&config, &heard(config.identity(), RELEASE, 0), &board);
            alike.look(&config, &silent, &board);
            alike.look(&config, &Snapshot { at: Nanos(u64::MAX), ..silent }, &board);
            assert!(!stands(&board));
        }
        alike.look(&config, &heard(7, RELEASE, 0), &board);
        alike.look(&config, &heard(7, RELEASE, 10), &board);
        alike.look(&config, &Snapshot { peer_alive: Some(false), ..heard(7, RELEASE, 11) }, &board);
        assert!(stands(&board), "it died as it was");
        alike.look(&self::config(""), &Snapshot::default(), &board);
        assert!(!stands(&board), "there is no peer any more");
    }
}
