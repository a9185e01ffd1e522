//! Keeps what legs let in as the configuration wants it, on both nodes.

use std::path::PathBuf;

use rtnetlink::Handle;

use super::helpers::Helpers;
use crate::net::reception::Receiver;

/// Follows the configuration; `state` is the directory of what the next daemon must know.
pub async fn keep(helpers: Helpers, handle: Handle, state: PathBuf) {
    let mut changes = helpers.changes();
    // The first time in any case: a daemon before may have left what is not wanted any more.
    let (mut receiver, mut present) = (Receiver::new(&state), None);
    loop {
        changes.mark_unchanged();
        let wanted = Some(helpers.reception());
        if wanted != present {
            receiver.follow(&handle, &wanted.clone().unwrap_or_default()).await;
            present = wanted;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
