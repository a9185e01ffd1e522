use super::{
    super::{
        facts::{Attached, Interface},
        report::Level,
    },
    *,
};

/// A machine as it should be: recorded on Linux 6.18 as root.
fn good_host() -> Host {
    Host {
        kernel: "6.18.44-amd64".into(),
        cpus: 2,
        capabilities: 0x1ff_ffff_ffff,
        btf: true,
        memlock: Some(8 << 20),
        bpffs: true,
        fifo_refused: None,
        features: vec![("ring buffer", None), ("XDP program", None)],
    }
}

/// A veth end without a program: recorded on Linux 6.18.
fn good_link() -> Link {
    Link {
        driver: "veth".into(),
        mtu: 1500,
        carrier: true,
        rx_queues: 2,
        max_rx_queues: 2,
        lro: Some(false),
        rx_vlan_offload: Some(false),
        xdp_features: Some(0x23),
        attached: None,
    }
}

fn examined(argument: &str, link: Link) -> Examined {
    Examined { interface: Interface::from_argument(argument), link: Some(link) }
}

/// The findings that are not ok, as (level, subject, remedy).
fn faults(findings: &[Finding]) -> Vec<(Level, &str, &str)> {
    let bad = findings.iter().filter(|finding| finding.level != Level::Ok);
    bad.map(|finding| (finding.level, finding.subject.as_str(), finding.remedy.as_deref().unwrap_or(""))).collect()
}

#[test]
fn a_good_machine_has_no_fault() {
    assert_eq!(faults(&host(&good_host())), []);
    assert_eq!(faults(&interfaces(&[examined("eth1", good_link())], 2)), []);
}

#[test]
fn every_fault_has_a_remedy() {
    let bad = Host {
        kernel: "5.10.0".into(),
        capabilities: 0,
        btf: false,
        memlock: Some(64 << 10),
        bpffs: false,
        fifo_refused: Some("Operation not permitted".into()),
        features: vec![("ring buffer", Some("Operation not permitted".into()))],
        ..good_host()
    };
    let findings = host(&bad);
    assert_eq!(faults(&findings).len(), findings.len());
    assert!(findings.iter().all(|finding| finding.remedy.as_ref().is_some_and(|remedy| !remedy.is_empty())));
}

#[test]
fn kernels_are_refused_doubted_or_accepted_by_version() {
    let level = |kernel: &str| host(&Host { kernel: kernel.into(), ..good_host() })[0].level;
    assert_eq!(level("5.11.22"), Level::Fail);
    assert_eq!(level("5.15.0-105-generic"), Level::Warn);
    assert_eq!(level("6.1.0-56-cloud-amd64"), Level::Ok);
    assert_eq!(level("10.0-rc1"), Level::Ok);
    assert_eq!(level("custom"), Level::Warn);
}

#[test]
fn missing_capabilities_are_named() {
    let without = |bits: &[u32]| {
        let capabilities = bits.iter().fold(good_host().capabilities, |all, bit| all & !(1 << bit));
        host(&Host { capabilities, ..good_host() })[1].what.clone()
    };
    assert_eq!(without(&[12, 23, 39, 21]), "missing: CAP_NET_ADMIN CAP_SYS_NICE CAP_BPF");
    assert_eq!(without(&[38, 39]), "all capabilities that a node needs");
}

#[test]
fn a_small_memlock_limit_binds_only_without_the_capability() {
    let memlock = |capabilities| {
        let findings = host(&Host { memlock: Some(64 << 10), capabilities, ..good_host() });
        findings.into_iter().find(|finding| finding.subject == "memlock").map(|finding| finding.level)
    };
    assert_eq!(memlock(1 << 14), Some(Level::Ok));
    assert_eq!(memlock(0), Some(Level::Fail));
}

#[test]
fn a_foreign_program_is_named_and_ours_is_not_foreign() {
    let with = |program: &str| {
        let attached = Some(Attached { mode: Mode::Native, id: 7, name: program.into() });
        interfaces(&[examined("eth1", Link { attached, ..good_link() })], 2)
    };
    let findings = with("xdp_fw");
    assert_eq!(faults(&findings), [(Level::Fail, "eth1", "stop what loaded it, or: ip link set dev eth1 xdp off")]);
    assert!(findings[1].what.contains("xdp_fw (id 7)"), "{findings:?}");
    assert_eq!(faults(&with("ingress")), []);
}

#[test]
fn offloads_that_hide_frames_are_switched_off() {
    let link = Link { lro: Some(true), rx_vlan_offload: Some(true), ..good_link() };
    assert_eq!(
        faults(&interfaces(&[examined("eth1", link)], 2)),
        [(Level::Warn, "eth1", "ethtool -K eth1 lro off"), (Level::Warn, "eth1", "ethtool -K eth1 rxvlan off")]
    );
}

#[test]
fn native_xdp_is_judged_by_driver_and_mtu() {
    let what = |link: Link| interfaces(&[examined("eth1", link)], 2)[0].clone();
    assert_eq!(what(good_link()).what, "native XDP (driver veth), MTU 1500");
    assert_eq!(what(Link { mtu: 3498, ..good_link() }).level, Level::Ok);
    assert_eq!(what(Link { mtu: 3499, ..good_link() }).remedy.unwrap(), "ip link set dev eth1 mtu 3498");
    assert_eq!(what(Link { xdp_features: Some(0), ..good_link() }).level, Level::Warn);
    assert_eq!(what(Link { xdp_features: None, ..good_link() }).level, Level::Warn);
    let generic = Some(Attached { mode: Mode::Generic, id: 7, name: "ingress".into() });
    assert_eq!(what(Link { attached: generic, ..good_link() }).level, Level::Warn);
}

#[test]
fn idle_queues_are_put_to_use_up_to_the_cpus() {
    let link = Link { rx_queues: 1, max_rx_queues: 16, ..good_link() };
    assert_eq!(
        faults(&interfaces(&[examined("eth1", link)], 4)),
        [(Level::Warn, "eth1", "ethtool -L eth1 combined 4 (or rx 4)")]
    );
}

#[test]
fn an_ha_link_must_carry_a_whole_frame_of_the_largest_leg() {
    let mtu = |argument: &str, mtu| examined(argument, Link { mtu, ..good_link() });
    let pair = |ha| interfaces(&[mtu("client0=leg", 1500), mtu("server0=leg", 1400), mtu("ha0=ha", ha)], 2);
    assert_eq!(faults(&pair(1560)), []);
    assert_eq!(
        faults(&pair(1559)),
        [(Level::Fail, "ha0", "ip link set dev ha0 mtu 1560 (on both nodes, and the switch in between)")]
    );
    assert_eq!(faults(&interfaces(&[mtu("ha0=ha", 1500)], 2)), []);
}

#[test]
fn an_interface_that_is_not_there_is_a_fault() {
    let missing = Examined { interface: Interface::from_argument("eth9=leg"), link: None };
    assert_eq!(faults(&interfaces(&[missing], 2)), [(Level::Fail, "eth9", "ip link show")]);
}
