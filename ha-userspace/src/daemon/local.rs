//! Floating addresses that the host owns while this node serves: kept, whatever other programs do to them.
//!
//! Network managers remove what they did not add, and other programs add what they should not. The kernel tells of each change, and it
//! is undone at once; if somebody insists, at a pace that leaves the machine to others.

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
    let wanted = BTreeSet::new();
    let mut keeper = Keeper { helpers, handle, wanted, up: BTreeSet::new(), undone: 0, since: Instant::now() };
    keeper.follow_role().await;
    loop {
        tokio::select! {
            changed = roles.changed() => match changed {
                Ok(()) => keeper.follow_role().await,
                Err(_) => return,
            },
            change = changes.next() => match change {
                Some(change) => keeper.undo(change).await,
                None => return,
            },
        }
    }
}

/// Removes every floating address from the host: this node leaves.
pub async fn remove_all(helpers: &Helpers, handle: &Handle) {
    for local in helpers.local().0 {
        tell(address::remove(handle, local).await);
    }
}

struct Keeper {
    helpers: Helpers,
    handle: Handle,
    /// What goes with the role.
    wanted: BTreeSet<LocalAddress>,
    /// What was brought up, and should be there.
    up: BTreeSet<LocalAddress>,
    undone: u32,
    since: Instant,
}

impl Keeper {
    /// Makes the host own what goes with the role, and nothing of it without.
    async fn follow_role(&mut self) {
        let (wanted, serves) = self.helpers.local();
        let goal = if serves { wanted.clone() } else { BTreeSet::new() };
        self.wanted = wanted;
        for gone in self.up.union(&self.wanted).filter(|local| !goal.contains(local)) {
            if tell(address::remove(&self.handle, *gone).await) {
                info!(address = %gone.address, ifindex = gone.ifindex, "floating address removed from the host");
            }
        }
        for new in goal.difference(&self.up) {
            if tell(address::add(&self.handle, *new).await) {
                info!(address = %new.address, ifindex = new.ifindex, "floating address added to the host");
            }
        }
        self.up = goal;
    }

    /// Undoes what somebody else did. What this node did itself is as it should be.
    async fn undo(&mut self, change: Change) {
        let serves = self.helpers.serves();
        match change {
            Change::Went(local) if serves && self.up.contains(&local) => {
                self.wait_for_pace().await;
                if self.helpers.serves() && tell(address::add(&self.handle, local).await) {
                    let what = "another program removed a floating address that this node serves; it is back";
                    warn!(address = %local.address, ifindex = local.ifindex, "{what}");
                }
            }
            // Of whatever prefix length: the host would answer for it.
            Change::Came(local) if !serves && self.wanted.iter().any(|own| own.address == local.address) => {
                self.wait_for_pace().await;
                if !self.helpers.serves() && tell(address::remove(&self.handle, local).await) {
                    let what = "another program added a floating address that this node does not serve; it is removed";
                    warn!(address = %local.address, ifindex = local.ifindex, "{what}");
                }
            }
            Change::Came(_) | Change::Went(_) => {}
            // An interface that went down has lost addresses, or events were lost.
            Change::Anything => self.put_back_missing().await,
        }
    }

    async fn put_back_missing(&mut self) {
        if self.up.is_empty() {
            return;
        }
        match address::list(&self.handle).await {
            Ok(present) => {
                let present: BTreeSet<LocalAddress> = present.into_iter().collect();
                self.up.retain(|local| present.contains(local));
                self.follow_role().await;
            }
            Err(error) => warn!(%error, "cannot list the host's addresses"),
        }
    }

    async fn wait_for_pace(&mut self) {
        if self.since.elapsed() >= PACE {
            (self.undone, self.since) = (0, Instant::now());
        }
        self.undone += 1;
        if self.undone > UNDONE_AT_ONCE {
            warn!("another program goes on changing floating addresses of the host; find it, and let it leave them alone");
            tokio::time::sleep_until(self.since + PACE).await;
            (self.undone, self.since) = (0, Instant::now());
        }
    }
}

/// Whether something changed; what the kernel refused is logged.
fn tell(result: Result<bool, address::AddressError>) -> bool {
    result.unwrap_or_else(|error| {
        warn!(%error, "floating address");
        false
    })
}
