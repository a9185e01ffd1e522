//! Whether a VIP answers, as far as that depends on its virtual servers.
//!
//! What else has to be true (the address and the kind of answer are enabled, this node serves) is not asked here. A VIP without virtual
//! servers has nothing to depend on, and what comes to it is the host's own: it answers, whatever the setting.

use crate::command::words::{IcmpResponse, NeighbourResponse};

/// A virtual server of the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it takes connections; one that is out of service does not.
    pub up: bool,
    /// Whether its state counts under [`IcmpResponse::VserverControlled`].
    pub active: bool,
}

/// Whether echo requests are answered.
#[must_use]
pub fn echoes(rule: IcmpResponse, vservers: &[Standing]) -> bool {
    match rule {
        IcmpResponse::None => true,
        IcmpResponse::OneVserver => one(vservers),
        IcmpResponse::AllVservers => all(vservers),
        IcmpResponse::VserverControlled => {
            let active: Vec<Standing> = vservers.iter().copied().filter(|vserver| vserver.active).collect();
            one(&active)
        }
    }
}

/// Whether ARP requests, or neighbour solicitations, are answered.
#[must_use]
pub fn tells_neighbours(rule: NeighbourResponse, vservers: &[Standing]) -> bool {
    match rule {
        NeighbourResponse::None => true,
        NeighbourResponse::OneVserver => one(vservers),
        NeighbourResponse::AllVservers => all(vservers),
    }
}

/// Whether one is up, if there is any.
fn one(vservers: &[Standing]) -> bool {
    vservers.is_empty() || vservers.iter().any(|vserver| vserver.up)
}

fn all(vservers: &[Standing]) -> bool {
    vservers.iter().all(|vserver| vserver.up)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Standing = Standing { up: true, active: false };
    const DOWN: Standing = Standing { up: false, active: false };
    const UP_ACTIVE: Standing = Standing { active: true, ..UP };
    const DOWN_ACTIVE: Standing = Standing { active: true, ..DOWN };

    /// Everything that two or three virtual servers may be.
    fn mixtures() -> Vec<Vec<Standing>> {
        let each = [UP, DOWN, UP_ACTIVE, DOWN_ACTIVE];
        let two = each.iter().flat_map(|&a| each.map(|b| vec![a, b]));
        let three = two.clone().flat_map(|two| each.map(|c| [two.clone(), vec![c]].concat()));
        two.chain(three).collect()
    }

    #[test]
    fn echo_none_any_state_is_answered() {
        assert!(mixtures().iter().all(|vservers| echoes(IcmpResponse::None, vservers)));
    }

    #[test]
    fn echo_one_vserver_is_answered_while_at_least_one_is_up() {
        let rule = IcmpResponse::OneVserver;
        assert!(echoes(rule, &[UP]) && echoes(rule, &[DOWN, UP]) && echoes(rule, &[UP_ACTIVE, DOWN_ACTIVE]));
        assert!(!echoes(rule, &[DOWN]) && !echoes(rule, &[DOWN, DOWN_ACTIVE]));
    }

    #[test]
    fn echo_all_vservers_is_answered_while_every_one_is_up() {
        let rule = IcmpResponse::AllVservers;
        assert!(echoes(rule, &[UP]) && echoes(rule, &[UP, UP_ACTIVE]));
        assert!(!echoes(rule, &[UP, DOWN]) && !echoes(rule, &[DOWN]) && !echoes(rule, &[DOWN_ACTIVE, UP_ACTIVE]));
    }

    #[test]
    fn echo_controlled_by_passive_vservers_is_answered_even_while_all_are_down() {
        let rule = IcmpResponse::VserverControlled;
        assert!(echoes(rule, &[UP, UP]) && echoes(rule, &[UP, DOWN]) && echoes(rule, &[DOWN, DOWN]));
    }

    #[test]
    fn echo_controlled_by_active_vservers_is_answered_while_at_least_one_is_up() {
        let rule = IcmpResponse::VserverControlled;
        assert!(echoes(rule, &[UP_ACTIVE]) && echoes(rule, &[DOWN_ACTIVE, UP_ACTIVE]));
        assert!(!echoes(rule, &[DOWN_ACTIVE]) && !echoes(rule, &[DOWN_ACTIVE, DOWN_ACTIVE]));
    }

    #[test]
    fn echo_controlled_by_both_kinds_is_answered_while_at_least_one_active_vserver_is_up() {
        let rule = IcmpResponse::VserverControlled;
        assert!(echoes(rule, &[DOWN, UP_ACTIVE]) && echoes(rule, &[UP, UP_ACTIVE]));
        assert!(!echoes(rule, &[UP, DOWN_ACTIVE]), "a passive one that is up does not count");
        assert!(!echoes(rule, &[DOWN, DOWN_ACTIVE]));
    }

    #[test]
    fn active_and_passive_are_the_same_unless_the_address_leaves_it_to_them() {
        let passive = |vservers: &[Standing]| vservers.iter().map(|one| Standing { active: false, ..*one }).collect::<Vec<_>>();
        for rule in [IcmpResponse::None, IcmpResponse::OneVserver, IcmpResponse::AllVservers] {
            assert!(mixtures().iter().all(|vservers| echoes(rule, vservers) == echoes(rule, &passive(vservers))), "{rule}");
        }
    }

    #[test]
    fn neighbours_none_any_state_is_answered() {
        assert!(mixtures().iter().all(|vservers| tells_neighbours(NeighbourResponse::None, vservers)));
    }

    #[test]
    fn neighbours_one_vserver_is_answered_while_at_least_one_is_up() {
        let rule = NeighbourResponse::OneVserver;
        assert!(tells_neighbours(rule, &[UP]) && tells_neighbours(rule, &[DOWN, UP]));
        assert!(!tells_neighbours(rule, &[DOWN]) && !tells_neighbours(rule, &[DOWN, DOWN_ACTIVE]));
    }

    #[test]
    fn neighbours_all_vservers_is_answered_while_every_one_is_up() {
        let rule = NeighbourResponse::AllVservers;
        assert!(tells_neighbours(rule, &[UP]) && tells_neighbours(rule, &[UP, UP_ACTIVE]));
        assert!(!tells_neighbours(rule, &[UP, DOWN]) && !tells_neighbours(rule, &[DOWN]));
    }

    #[test]
    fn an_address_without_vservers_answers_whatever_the_setting() {
        use IcmpResponse as Icmp;
        use NeighbourResponse as Neighbour;
        for rule in [Icmp::None, Icmp::OneVserver, Icmp::AllVservers, Icmp::VserverControlled] {
            assert!(echoes(rule, &[]), "{rule}");
        }
        for rule in [Neighbour::None, Neighbour::OneVserver, Neighbour::AllVservers] {
            assert!(tells_neighbours(rule, &[]), "{rule}");
        }
    }
}
