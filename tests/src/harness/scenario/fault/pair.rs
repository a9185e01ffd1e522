//! What happens to both nodes at once.

use super::{Event, Host, Lab, Result, at_once};

/// Both daemons end on request at once and start again, within the interval after which a peer would take over.
pub fn restart_both(lab: &mut Lab, _: Host) -> Result<Event> {
    at_once(|| {
        Host::BOTH.into_iter().try_for_each(|host| lab.node_mut(host).ask_to_end())?;
        Host::BOTH.into_iter().try_for_each(|host| lab.node_mut(host).wait_end())?;
        lab.start_nodes()
    })
}
