//! Words in, answer out, with a recorded living side.

use std::future::Future;
use std::task::{Context, Poll, Waker};

use crate::command::runtime::recorder::{Asked, Recorder};
use crate::command::{CommandError, Executor, Reply, tokens};
use crate::config::{Config, Touched};

fn node() -> (Executor<Recorder>, Recorder) {
    let recorder = Recorder::default();
    (Executor::new(Config::default(), recorder.clone()), recorder)
}

/// Executes a line whose answer is ready at once, as every recorded one is.
fn say(executor: &mut Executor<Recorder>, line: &str) -> Reply {
    let answer = executor.execute(&tokens(line).unwrap());
    match Box::pin(answer.reply()).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(reply) => reply,
        Poll::Pending => panic!("{line}: no answer"),
    }
}

#[test]
fn a_change_reaches_the_living_side_and_is_answered_done() {
    let (mut executor, recorder) = node();
    assert_eq!(say(&mut executor, "add service s1 10.2.0.11 TCP 80").text, " Done\n");
    let asked = recorder.asked.borrow();
    assert_eq!(*asked, [Asked::Reconcile(executor.config().identity(), vec![Touched::Service("s1".into())])]);
}

#[test]
fn a_refused_command_reaches_nothing_and_exits_with_1() {
    let (mut executor, recorder) = node();
    let reply = say(&mut executor, "rm service s1");
    assert_eq!((reply.exit, reply.json["errorcode"].as_u64()), (1, Some(258)));
    assert!(reply.text.starts_with("ERROR: No such resource [name, s1]"), "{}", reply.text);
    assert!(recorder.asked.borrow().is_empty());
}

#[test]
fn what_the_living_side_refuses_is_taken_back_and_its_index_stays_used() {
    let (mut executor, recorder) = node();
    let before = executor.config().identity();
    recorder.errors.borrow_mut().push(CommandError::refused("the table is full"));
    let reply = say(&mut executor, "add service s1 10.2.0.11 TCP 80");
    assert_eq!(reply.text, "ERROR: Operation not permitted: the table is full\n");
    assert_eq!(executor.config().identity(), before);
    let asked: Vec<u64> = recorder
        .asked
        .borrow()
        .iter()
        .map(|asked| if let Asked::Reconcile(identity, _) = asked { *identity } else { 0 })
        .collect();
    assert_eq!(asked.last(), Some(&before), "the node is asked to be the old one again");
    assert_eq!(say(&mut executor, "add service s1 10.2.0.11 TCP 80").exit, 0);
    assert_eq!(executor.config().service("s1").unwrap().index, 1);
}

#[test]
fn failover_stop_and_save_are_passed_on() {
    let (mut executor, recorder) = node();
    for line in ["force ha failover", "force ha failover -force", "set ns hostName a", "save ns config", "stop"] {
        assert_eq!(say(&mut executor, line).text, " Done\n", "{line}");
    }
    let asked = recorder.asked.borrow();
    assert_eq!((&asked[0], &asked[1]), (&Asked::Failover(false), &Asked::Failover(true)));
    assert_eq!((&asked[3], &asked[4]), (&Asked::Save("set ns hostName a\n".into()), &Asked::Stop(false)));
}

#[test]
fn a_failed_failover_is_printed_with_its_public_code() {
    let (mut executor, recorder) = node();
    recorder.errors.borrow_mut().push(CommandError::new(363, "Operation not permitted on stand-alone node"));
    let reply = say(&mut executor, "force ha failover");
    assert_eq!((reply.exit, reply.text.as_str()), (1, "ERROR: Operation not permitted on stand-alone node\n"));
    assert_eq!(reply.json["errorcode"], 363);
}

#[test]
fn an_unwise_change_is_done_with_a_warning_once() {
    let (mut executor, _) = node();
    say(&mut executor, "set ns config -IPAddress 10.9.0.1 -netmask 255.255.255.0");
    say(&mut executor, "add ha node 1 10.9.0.2");
    let reply = say(&mut executor, "set ha node -helloInterval 10 -deadInterval 30ms");
    assert!(reply.text.starts_with("WARNING: deadInterval 30 msecs with 0 HA link(s)"), "{}", reply.text);
    assert!(reply.text.ends_with("\n Done\n"));
    assert_eq!(say(&mut executor, "set ns hostName a").text, " Done\n", "said once");
    for link in ["ha0", "ha1"] {
        say(&mut executor, &format!("set interface {link} -haMonitor OFF"));
    }
    assert_eq!(executor.config().warnings(), Vec::<String>::new());
}

#[test]
fn the_configuration_counts_as_saved_only_after_a_save_that_succeeded() {
    let (mut executor, recorder) = node();
    let changed = |executor: &mut Executor<Recorder>| say(executor, "show ns config").json["nsconfig"]["configchanged"].clone();
    assert_eq!(changed(&mut executor), false);
    say(&mut executor, "set ns hostName a");
    assert_eq!(changed(&mut executor), true);
    recorder.errors.borrow_mut().push(CommandError::refused("no space"));
    say(&mut executor, "save ns config");
    assert_eq!(changed(&mut executor), true);
    say(&mut executor, "save ns config");
    assert_eq!(changed(&mut executor), false);
}

#[test]
fn help_lists_verbs_objects_and_attributes() {
    let (mut executor, _) = node();
    assert!(say(&mut executor, "help").text.contains("force   ha failover"));
    assert!(say(&mut executor, "help unbind").text.contains("unbind lb vserver <name> [<serviceName>]"));
    assert!(say(&mut executor, "help set node").text.contains("-deadInterval"));
    let about = say(&mut executor, "help service").text;
    assert!(about.contains("add service <name> <IP>") && about.contains("rm service <name>"), "{about}");
    assert!(say(&mut executor, "help me").text.starts_with("ERROR: No such command [me]"));
}

#[test]
fn an_address_or_all_of_them_are_announced_on_request() {
    let (mut executor, recorder) = node();
    assert_eq!(say(&mut executor, "send arp -IPAddress 10.1.0.100").exit, 0);
    assert_eq!(say(&mut executor, "send arp -all").exit, 0);
    assert_eq!(*recorder.asked.borrow(), [Asked::Arp(Some([10, 1, 0, 100].into())), Asked::Arp(None)]);
    for line in ["send arp", "send arp -all -IPAddress 10.1.0.100"] {
        assert!(say(&mut executor, line).text.contains("name one address, or give -all"), "{line}");
    }
    recorder.errors.borrow_mut().push(CommandError::new(785, "on the Primary only"));
    assert_eq!(say(&mut executor, "send arp -IPAddress 10.1.0.100").json["errorcode"], 785);
}
