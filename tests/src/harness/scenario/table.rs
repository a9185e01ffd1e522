//! All scenarios of the lab.

use super::{Outcome, Overlap, Scenario, fault};

/// All scenarios.
pub static SCENARIOS: &[Scenario] = &[
    Scenario::takeover("kill-node", "all links of the Primary fall silent at once, as by power loss", fault::kill_node),
    Scenario {
        hitless: true,
        ..Scenario::takeover("kill-daemon", "the Primary's daemon is killed and stays dead", fault::kill_daemon)
    },
    Scenario::takeover("freeze-daemon", "the Primary's daemon is frozen, and goes on after the takeover", fault::freeze_daemon),
    Scenario::takeover("cut-client-link", "the Primary's client leg loses carrier", fault::cut_client_link),
    Scenario {
        hitless: true,
        ..Scenario::takeover("force-failover", "force ha failover on the Primary", fault::force_failover)
    },
    Scenario {
        hitless: true,
        outcome: Outcome::SameServes,
        ..Scenario::takeover("restart-daemon", "the Primary's daemon ends (SIGTERM) and starts again", fault::restart_daemon)
    },
    Scenario { hitless: true, ..Scenario::takeover("stop-daemon", "the Primary hands over and stops", fault::stop_daemon) },
    Scenario {
        conflict: true,
        ..Scenario::takeover(
            "control-no-fence",
            "freeze-daemon without the fence: must show both nodes answering",
            fault::freeze_daemon,
        )
    },
    Scenario::takeover(
        "freeze-cgroup",
        "all threads of the Primary's daemon are frozen, and go on after the takeover",
        fault::freeze_cgroup,
    ),
    Scenario::calm("busy-loops", "8 busy loops per CPU run beside the pair", fault::busy_loops),
    Scenario::calm("lossy-links", "each HA link loses 30 % of the frames, in both directions", fault::lossy_links),
    Scenario::calm(
        "duplicating-links",
        "each HA link delivers every frame twice, the second time late",
        fault::duplicating_links,
    ),
    Scenario::calm("reordering-links", "frames overtake each other on each HA link", fault::reordering_links),
    Scenario::calm("cut-link", "one HA link of the Primary falls silent, carrier up", fault::cut_link),
    Scenario::calm("cut-link-out", "one HA link loses what the Primary sends", fault::cut_link_out),
    Scenario::calm("cut-link-in", "one HA link loses what the Primary should receive", fault::cut_link_in),
    Scenario {
        overlap: Overlap::TwoRequests,
        ..Scenario::takeover("cut-links-out", "all HA links lose what the Primary sends", fault::cut_links_out)
    },
    Scenario::calm("cut-links-in", "all HA links lose what the Primary should receive", fault::cut_links_in),
    Scenario::calm("flap-links", "the HA links of the Primary lose and find their carrier in turn", fault::flap_links),
    Scenario {
        hitless: false,
        ..Scenario::calm(
            "spanning-tree",
            "everything through the switches is silent for 2 s; the direct HA link lives",
            fault::spanning_tree,
        )
    },
    Scenario::takeover(
        "cut-client-silently",
        "the Primary's client leg falls silent, carrier up; the HA links live",
        fault::cut_client_silently,
    ),
    Scenario {
        hitless: true,
        ..Scenario::takeover("full-disks", "both nodes' disks are full; force ha failover", fault::full_disks)
    },
    Scenario::calm(
        "flooding-switch",
        "the clients' switch floods every frame to both nodes, which share a virtual MAC",
        fault::flooding_switch,
    ),
    Scenario::calm("restart-both", "both daemons end (SIGTERM) at once and start again", fault::restart_both),
    Scenario::calm("kill-secondary", "the Secondary, directly cabled, loses its power", fault::kill_secondary),
    Scenario::takeover("kill-cabled-node", "the Primary, directly cabled, loses its power", fault::kill_cabled_node),
    Scenario {
        overlap: Overlap::UntilHealed,
        outcome: Outcome::PeerMeanwhile,
        ..Scenario::takeover("split-and-heal", "only the HA links are cut, and heal after the takeover", fault::split_and_heal)
    },
];
