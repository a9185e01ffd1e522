//! Keeps what legs let in as the configuration wants it, on both nodes.

use rtnetlink::Handle;

use super::helpers::Helpers;
use crate::net::reception::{Receiver, Reception};

/// Follows the configuration.
pub async fn keep(helpers: Helpers, handle: Handle) {
    let mut changes = helpers.changes();
    let (mut receiver, mut present) = (Receiver::default(), Reception::default());
    loop {
        changes.mark_unchanged();
        let wanted = helpers.reception();
        if wanted != present {
            receiver.follow(&handle, &wanted).await;
            present = wanted;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
