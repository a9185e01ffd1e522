//! Why this service, and why this source?

use ha_common::abi::{Choice, FULL_BACKENDS, FlowKey, NO_BACKEND, ReverseKey, Vserver, backend_flags, hash_kind};
use ha_common::pipeline::Placement;
use ha_common::tables::Claimed;

use super::Steps;
use super::words::socket;
use crate::explain::Look;

impl Steps<'_> {
    pub(super) fn ring(&mut self) {
        let slots = std::mem::take(&mut self.slots);
        let vserver = self.vserver.and_then(|index| self.vservers.get(&index).copied());
        let (Some(vserver), false) = (vserver, slots.is_empty()) else {
            return;
        };
        let within = |base: u32, len: u32, slot: u32| slot.checked_sub(base).filter(|place| *place < len);
        let (ring, previous, choices) = (vserver.ring, vserver.previous, vserver.choices);
        let (mut chosen, mut candidates) = (Vec::new(), Vec::new());
        for (slot, content) in slots {
            if within(choices.base(), choices.count(), slot).is_some() {
                candidates.push(self.candidate(Choice::of(content)));
            } else if let Some(place) = within(ring.base(), ring.len(), slot) {
                chosen.push((place, content));
            } else if let Some(place) = within(previous.base(), previous.len(), slot) {
                let name = self.service_name(content);
                self.say("ring before", format!("slot {place} of {}: {name}", previous.len()));
            }
        }
        if !candidates.is_empty() {
            self.say("candidates", candidates.join("; "));
        }
        if let Some((first, others)) = chosen.split_first() {
            self.by_ring(&vserver, *first, others);
        }
    }

    /// The slot that a hash falls into, and the last of those that were looked at instead.
    fn by_ring(&mut self, vserver: &Vserver, first: (u32, u32), others: &[(u32, u32)]) {
        let by = match vserver.hash {
            hash_kind::SOURCE => "the client's address",
            hash_kind::DESTINATION => "the address that it speaks to",
            hash_kind::SOURCE_DESTINATION => "both addresses",
            _ => "the client's address and port",
        };
        let (place, backend) = first;
        let (name, state) = (self.service_name(backend), self.state(backend));
        self.say("ring", format!("slot {place} of {} by {by}: {name}, {state}", vserver.ring.len()));
        let Some((&(place, last), before)) = others.split_last() else {
            return;
        };
        let mut skipped: Vec<String> = Vec::new();
        for (_, backend) in [first].iter().chain(before) {
            let why = format!("{} is {}", self.service_name(*backend), self.state(*backend));
            if *backend != last && !skipped.contains(&why) {
                skipped.push(why);
            }
        }
        if !skipped.is_empty() {
            let (name, state) = (self.service_name(last), self.state(last));
            self.say("second choice", format!("because {}: slot {place}: {name}, {state}", skipped.join(", ")));
        }
    }

    /// A service that has its turn, or is compared.
    fn candidate(&self, choice: Choice) -> String {
        let (name, state) = (self.service_name(choice.backend()), self.state(choice.backend()));
        let flows = self.loads.get(&choice.backend()).map_or_else(String::new, |open| format!(", {open} flows"));
        format!("{name}, {state}{flows}, weight {}", choice.weight())
    }

    pub(super) fn placed(&mut self, placement: Placement) {
        let Placement { backend, older, kept, .. } = placement;
        match backend {
            NO_BACKEND => return self.say("placed", "nowhere: no service is up"),
            FULL_BACKENDS => return self.say("placed", "nowhere: every service that is up is full"),
            _ => self.service = Some(backend),
        }
        let name = self.service_name(backend);
        let why = match () {
            () if older => "the ring before the present one has it, and it may have begun then",
            () if kept => "as before",
            () => return,
        };
        self.say("placed", format!("{name}: {why}"));
    }

    pub(super) fn claim(&mut self, key: &ReverseKey, claimed: Claimed) {
        let what = match claimed {
            Claimed::Yes => "stands for the client",
            Claimed::Taken => "is its own already",
            Claimed::Full => "is free, but REVERSE is full",
        };
        self.say("source", format!("{} {what}", socket(key.addr, key.port)));
    }

    pub(super) fn reverse(&mut self, at: usize, key: &ReverseKey, found: Option<FlowKey>) {
        let place = socket(key.addr, key.port);
        // The pipeline looks before it takes: what it takes is told of then.
        let claims = |look: &Look| matches!(look, Look::Claim(claimed, _) if claimed == key);
        if self.looks[at..].iter().take(2).any(claims) {
            return;
        }
        match found {
            Some(flow) => {
                let (whose, name) = (socket(flow.addr, flow.port), self.vserver_name(flow.index()));
                let towards = self.service_name(key.backend);
                self.say("source", format!("{place} towards {towards} stands for {whose} at {name}"));
            }
            None => self.say("source", format!("{place} stands for nobody")),
        }
    }

    pub(super) fn state(&self, index: u32) -> &'static str {
        let Some(backend) = self.backends.get(&index) else {
            return "not looked at";
        };
        let open = self.loads.get(&index).copied().unwrap_or(0);
        match () {
            () if backend.flags & backend_flags::UP == 0 => "DOWN",
            () if backend.flags & backend_flags::LEAVING != 0 => "UP, but leaving",
            () if backend.flows_max != 0 && open >= backend.flows_max.into() => "UP, but full",
            () => "UP",
        }
    }
}
