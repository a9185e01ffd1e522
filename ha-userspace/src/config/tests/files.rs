//! Loading and saving.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{NODE, apply, config};
use crate::command::Secrets;
use crate::config::{Indices, LoadError, Store, load, load_text};

/// A directory of its own for one test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("understudy-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join("node.conf");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_faulty_line_is_named_with_the_fault_and_what_is_allowed() {
    let table = [
        ("# one\n\nfrobnicate all\n", "node.conf:3: No such command [frobnicate]: verbs are add"),
        (
            "add lb vserver web TCP 10.1.0.300 80\n",
            "node.conf:1: Invalid argument value [IPAddress, 10.1.0.300]: an IPv4 or IPv6 address is needed",
        ),
        ("add lb vserver web TCP 10.1.0.1 0\n", "node.conf:1: Invalid argument value [port, 0]: a port is 1 to 65534"),
        (
            "add service s 10.2.0.1 TCP 80\nadd service s 10.2.0.2 TCP 80\n",
            "node.conf:2: Resource already exists [name, s]: set service changes it",
        ),
        ("show ha node\n", "node.conf:1: Operation not permitted: show ha node changes no configuration"),
    ];
    for (text, start) in table {
        let error = load_text(Path::new("node.conf"), text, Indices::default()).unwrap_err().to_string();
        assert!(error.starts_with(start), "{text}: {error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nonexistent/node.conf"), Indices::default()).unwrap_err();
    assert!(matches!(error, LoadError::Missing(_)));
    assert!(error.to_string().contains("/nonexistent/node.conf does not exist"), "{error}");
}

#[test]
fn a_password_that_others_can_read_is_refused_with_the_remedy() {
    let directory = Directory::new("loose");
    let path = directory.file(NODE, 0o640);
    let error = load(&path, Indices::default()).unwrap_err().to_string();
    assert!(error.contains("mode 0640") && error.ends_with(&format!("type: chmod 600 {}", path.display())), "{error}");
    assert_eq!(load(&directory.file(NODE, 0o600), Indices::default()).unwrap().text(Secrets::Clear), NODE);
    directory.file("set ha hook -webhook https://hooks.example/T0/s3cret\n", 0o604);
    assert!(load(&path, Indices::default()).unwrap_err().to_string().contains("mode 0604"), "a URL may be a secret, too");
    directory.file("set ns hostName a\n", 0o644);
    assert!(load(&path, Indices::default()).is_ok(), "without a password anyone may read it");
}

#[test]
fn a_saved_configuration_loads_again_and_five_older_ones_are_kept() {
    let directory = Directory::new("saves");
    let path = directory.0.join("node.conf");
    let store = Store::new(&path);
    let mut node = config(NODE);
    for save in 0..8 {
        apply(&mut node, &format!("set ns hostName n{save}")).unwrap();
        store.save(&node.saved_form()).unwrap();
    }
    assert_eq!(load(&path, Indices::default()).unwrap().text(Secrets::Clear), node.text(Secrets::Clear));
    let name = |suffix: &str| {
        fs::read_to_string(directory.0.join(format!("node.conf{suffix}")))
            .ok()
            .and_then(|text| text.lines().nth(1).map(str::to_owned))
    };
    let names = ["", ".0", ".1", ".2", ".3", ".4", ".5"].map(name);
    let kept = ["n7", "n6", "n5", "n4", "n3", "n2"].map(|name| Some(format!("set ns hostName {name}")));
    assert_eq!(names[..6], kept);
    assert_eq!(names[6], None);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 6, "nothing is left beside them");
}

#[test]
fn an_older_configuration_never_replaces_a_newer_one() {
    let directory = Directory::new("order");
    let store = Store::new(directory.0.join("node.conf"));
    let mut node = config(NODE);
    let old = node.saved_form();
    apply(&mut node, "set ns hostName newer").unwrap();
    store.save(&node.saved_form()).unwrap();
    store.save(&old).unwrap();
    assert!(fs::read_to_string(store.path()).unwrap().contains("newer"));
}

#[test]
fn a_save_that_fails_says_where_and_leaves_the_file() {
    let store = Store::new("/nonexistent/node.conf");
    let error = store.save(&config(NODE).saved_form()).unwrap_err();
    assert!(error.message.starts_with("Configuration not saved to /nonexistent/node.conf: No such file"), "{error}");
}

#[test]
fn a_restart_gives_every_virtual_server_and_service_its_index_again() {
    let node = config(NODE);
    let kept = serde_json::to_string(node.indices()).unwrap();
    let inherited = || serde_json::from_str::<Indices>(&kept).unwrap().inherit();
    // The same things in another order, one of them new and one changed.
    let text = "add service s6 2001:db8:2::1 TCP 80\nadd service s0 10.2.0.10 TCP 80\nadd service s1 10.2.0.99 TCP 80\nadd lb vserver web6 TCP 2001:db8::1 80\n";
    let again = load_text(Path::new("node.conf"), text, inherited()).unwrap();
    let index = |name: &str| again.service(name).unwrap().index;
    assert_eq!(index("s6"), node.service("s6").unwrap().index);
    assert_eq!(again.vserver("web6").unwrap().index, node.vserver("web6").unwrap().index);
    assert_eq!((index("s0"), index("s1")), (3, 4), "new ones, also under an old name, get new indices");
}
