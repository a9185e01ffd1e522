//! The witness: who may serve alone when the nodes cannot hear each other.
//!
//! Asked only while the peer is silent on all links. First come, first served; whoever came second stops, or does not begin. A Secondary
//! asks a little later than a Primary would that noticed the same cut: else every other cut would move the role, and both would serve
//! until the Primary is refused. Without an
//! answer a Secondary does not claim and a Primary goes on. Both nodes say again and again that they hear each other: only then does
//! the witness forget whom it chose, and a lost message must not make it remember for ever.

use super::*;

/// How long an answer other than "granted" is good for.
const ASK_PACE: Duration = Duration::from_millis(500);

/// What a Secondary gives a Primary besides the hello by which the two may notice the same cut apart.
const PRECEDENCE: Duration = Duration::from_millis(5);

/// How often a node says that it hears its peer.
pub(super) const RELEASE_PACE: Duration = Duration::from_secs(10);

/// What is known of the witness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Consultation {
    /// Its last answer since the peer fell silent.
    pub testimony: Option<Testimony>,
    /// When it was asked, or told, last.
    pub spoken_at: Nanos,
    /// Whether it was told, after the peer was heard again.
    pub released: bool,
    /// Whether it did not answer when it was spoken to last: known before it is needed.
    pub silent: bool,
}

impl Machine {
    /// Asks or releases the witness, as the peer is.
    pub(super) fn consult(&mut self, now: Nanos) {
        if !(self.settings.witness && self.settings.paired) {
            return;
        }
        let spoken = self.consultation.spoken_at;
        let due = |pace| spoken == Nanos::NEVER || now.since(spoken) >= pace;
        if self.liveness.is_dead(now, self.settings.dead) {
            let begins = self.consultation.released || spoken == Nanos::NEVER;
            let granted = self.consultation.testimony == Some(Testimony::Granted);
            if self.wants_to_serve() && !granted && now >= self.may_ask_from() && (begins || due(ASK_PACE)) {
                self.consultation.released = false;
                self.consultation.spoken_at = now;
                self.actions.push_back(Action::AskWitness);
            }
        } else if self.peer_alive(now) == Some(true) && (!self.consultation.released || due(RELEASE_PACE)) {
            let silent = self.consultation.silent;
            self.consultation = Consultation { testimony: None, spoken_at: now, released: true, silent };
            self.actions.push_back(Action::ReleaseWitness);
        }
    }

    /// A Secondary lets a Primary ask first.
    pub(super) fn may_ask_from(&self) -> Nanos {
        let dead_at = self.liveness.dead_at(self.settings.dead).unwrap_or(Nanos::NEVER);
        match self.role {
            Role::Secondary => dead_at + self.settings.hello + PRECEDENCE,
            Role::Primary { .. } | Role::HandingOver { .. } | Role::Claiming { .. } => dead_at,
        }
    }

    /// The witness has answered, or has not. What comes after the release belongs to a question that is over.
    pub(super) fn testified(&mut self, testimony: Testimony) {
        self.consultation.silent = testimony == Testimony::Silent;
        if !self.consultation.released && testimony != Testimony::Noted {
            self.consultation.testimony = Some(testimony);
        }
    }

    /// Whether this node serves, or would take over from a dead peer.
    fn wants_to_serve(&self) -> bool {
        match self.role {
            Role::Primary { .. } | Role::HandingOver { .. } | Role::Claiming { .. } => true,
            Role::Secondary => (self.may_take() || self.last_resort() && self.connected()) && !self.consultation_refused(),
        }
    }

    /// The peer came first: nothing more to ask before it is heard again.
    fn consultation_refused(&self) -> bool {
        self.consultation.testimony == Some(Testimony::Refused)
    }

    /// Whether this node may claim although its peer is silent.
    pub(super) fn may_serve_alone(&self) -> bool {
        !self.settings.witness || self.consultation.testimony == Some(Testimony::Granted)
    }

    /// Whether the witness gave the right to the peer.
    pub(super) fn is_refused(&self, now: Nanos) -> bool {
        self.settings.witness && self.consultation_refused() && self.liveness.is_dead(now, self.settings.dead)
    }
}
