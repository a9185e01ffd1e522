//! Floating addresses that the host owns while this node serves: kept, whatever other programs do to them.
//!
//! Network managers remove what they did not add, and other programs add what they should not. The kernel tells of each change, and it
//! is undone at once; if somebody insists, at a pace that leaves the machine to others. What the kernel did not tell, or refused, is found
//! by listing all addresses. A change of role waits for none of this.

use std::collections::BTreeSet;

use futures::StreamExt;
use rtnetlink::Handle;
use tokio::time::{Duration, Instant};
use tracing::{error, info, warn};

use super::helpers::Helpers;
use crate::net::address::{self, Change, LocalAddress};

/// Changes of others that are undone at once within one [`PACE`]; more wait for the next.
const UNDONE_AT_ONCE: u32 = 100;
/// See [`UNDONE_AT_ONCE`].
const PACE: Duration = Duration::from_secs(1);
/// Changes of interfaces within this span lead to one list of addresses.
const SETTLE: Duration = Duration::from_millis(3);

/// Brings addresses of the host up and down with the role, and undoes what others do to them.
pub async fn keep(helpers: Helpers, handle: Handle) {
    let mut roles = helpers.changes();
    let mut changes = match address::watch() {
        Ok(changes) => changes,
        Err(error) => {
            error!(%error, "cannot follow the host's addresses: floating ones are not put back");
            return;
        }
    };
    let mut keeper = Keeper::new(helpers, handle);
    keeper.follow_role().await;
    keeper.put_right().await;
    loop {
        tokio::select! {
            changed = roles.changed() => match changed {
                Ok(()) => keeper.follow_role().await,
                Err(_) => return,
            },
            () = keeper.due() => keeper.put_right().await,
            change = changes.next() => match change {
                Some(change) => keeper.undo(change).await,
                None => {
                    error!("the host's addresses cannot be followed any more: floating ones are not put back; restart the daemon");
                    return;
                }
            },
        }
    }
}

/// Removes every floating address from the host: this node leaves.
pub async fn remove_all(helpers: &Helpers, handle: &Handle) {
    for local in helpers.local().0 {
        if let Err(error) = address::remove(handle, local).await {
            warn!(%error, "floating address");
        }
    }
}

struct Keeper {
    helpers: Helpers,
    handle: Handle,
    /// What goes with the role.
    wanted: BTreeSet<LocalAddress>,
    /// What was brought up, and should be there.
    up: BTreeSet<LocalAddress>,
    /// What the kernel refused, and was told so.
    refused: BTreeSet<LocalAddress>,
    pace: Pace,
    /// When to look whether everything is as it should be.
    look_at: Option<Instant>,
}

impl Keeper {
    fn new(helpers: Helpers, handle: Handle) -> Keeper {
        let [wanted, up, refused] = Default::default();
        Keeper { helpers, handle, wanted, up, refused, pace: Pace::new(Instant::now()), look_at: None }
    }

    /// Makes the host own what goes with the role, and nothing of it without.
    async fn follow_role(&mut self) {
        self.follow(|_| true).await;
    }

    async fn follow(&mut self, may_be_there: impl Fn(&LocalAddress) -> bool) {
        let (wanted, serves) = self.helpers.local();
        let goal = if serves { wanted.clone() } else { BTreeSet::new() };
        self.wanted = wanted;
        let known = self.up.union(&self.wanted);
        let gone: Vec<LocalAddress> = known.filter(|local| !goal.contains(local) && may_be_there(local)).copied().collect();
        for local in gone {
            if self.remove(local).await {
                info!(address = %local.address, ifindex = local.ifindex, "floating address removed from the host");
            }
        }
        let new: Vec<LocalAddress> = goal.difference(&self.up).copied().collect();
        for local in new {
            if self.add(local).await {
                info!(address = %local.address, ifindex = local.ifindex, "floating address added to the host");
            }
        }
    }

    /// Undoes what somebody else did. What this node did itself is as it should be.
    async fn undo(&mut self, change: Change) {
        let serves = self.helpers.serves();
        match change {
            Change::Went(local) if serves && self.up.contains(&local) => {
                if self.may_undo() {
                    self.put_back(local).await;
                }
            }
            Change::Came(local) if !serves && self.floats(local) => {
                if self.may_undo() {
                    self.take_away(local).await;
                }
            }
            Change::Came(_) | Change::Went(_) => {}
            // An interface that went down has lost addresses, or events were lost.
            Change::Anything => self.look_in(SETTLE),
        }
    }

    /// Lists the host's addresses and undoes what is not as it should be.
    async fn put_right(&mut self) {
        self.look_at = None;
        let present: BTreeSet<LocalAddress> = match address::list(&self.handle).await {
            Ok(present) => present.into_iter().collect(),
            Err(error) => {
                warn!(%error, "cannot list the host's addresses; tried again");
                return self.look_in(PACE);
            }
        };
        self.up.retain(|local| present.contains(local));
        let copies: Vec<LocalAddress> = present.iter().filter(|local| self.floats(**local)).copied().collect();
        for local in copies {
            self.take_away(local).await;
        }
        self.follow(|local| present.contains(local)).await;
    }

    /// Of whatever prefix length: the host would answer for it.
    fn floats(&self, local: LocalAddress) -> bool {
        self.wanted.iter().any(|own| own.address == local.address)
    }

    async fn put_back(&mut self, local: LocalAddress) {
        self.up.remove(&local);
        if self.helpers.local().0.contains(&local) && self.helpers.serves() && self.add(local).await {
            let what = "another program removed a floating address that this node serves; it is back";
            warn!(address = %local.address, ifindex = local.ifindex, "{what}");
        }
    }

    async fn take_away(&mut self, local: LocalAddress) {
        if !self.helpers.serves() && self.remove(local).await {
            let what = "another program added a floating address that this node does not serve; it is removed";
            warn!(address = %local.address, ifindex = local.ifindex, "{what}");
        }
    }

    /// Whether something changed. What the kernel refuses is tried again.
    async fn add(&mut self, local: LocalAddress) -> bool {
        let added = address::add(&self.handle, local).await;
        if added.is_ok() {
            self.up.insert(local);
        }
        self.take_note(local, added)
    }

    /// Whether something changed. What the kernel refuses is tried again.
    async fn remove(&mut self, local: LocalAddress) -> bool {
        let removed = address::remove(&self.handle, local).await;
        if removed.is_ok() {
            self.up.remove(&local);
        }
        self.take_note(local, removed)
    }

    fn take_note(&mut self, local: LocalAddress, result: Result<bool, address::AddressError>) -> bool {
        match result {
            Ok(changed) => {
                self.refused.remove(&local);
                changed
            }
            Err(error) => {
                if self.refused.insert(local) {
                    warn!(%error, "floating address; tried again");
                }
                self.look_in(PACE);
                false
            }
        }
    }

    /// Whether a change of another program is undone now; if not, later.
    fn may_undo(&mut self) -> bool {
        let now = Instant::now();
        let Some(later) = self.pace.take(now) else { return true };
        if self.pace.is_first_refusal() {
            warn!("another program goes on changing floating addresses of the host; find it, and let it leave them alone");
        }
        self.look_in(later.duration_since(now));
        false
    }

    fn look_in(&mut self, span: Duration) {
        let at = Instant::now() + span;
        self.look_at = Some(self.look_at.map_or(at, |known| known.min(at)));
    }

    /// Returns when it is time to look.
    async fn due(&self) {
        match self.look_at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// How many changes were undone, and since when.
struct Pace {
    undone: u32,
    since: Instant,
}

impl Pace {
    fn new(now: Instant) -> Pace {
        Pace { undone: 0, since: now }
    }

    /// Counts one more; when to go on, if these are too many.
    fn take(&mut self, now: Instant) -> Option<Instant> {
        if now.duration_since(self.since) >= PACE {
            *self = Pace::new(now);
        }
        self.undone = self.undone.saturating_add(1);
        (self.undone > UNDONE_AT_ONCE).then(|| self.since + PACE)
    }

    fn is_first_refusal(&self) -> bool {
        self.undone == UNDONE_AT_ONCE + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_insists_is_undone_a_hundred_times_in_a_second_and_then_in_the_next() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        assert!((0..UNDONE_AT_ONCE).all(|_| pace.take(began).is_none()));
        let later = pace.take(began + PACE / 2);
        assert!(later == Some(began + PACE) && pace.is_first_refusal());
        assert!(pace.take(began + PACE / 2).is_some() && !pace.is_first_refusal(), "said once");
        assert_eq!(pace.take(began + PACE), None);
    }
}
