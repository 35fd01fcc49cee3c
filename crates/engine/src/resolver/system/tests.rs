//! What the system says, told on; and in which order addresses are tried.

use super::*;

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    let parse = |text: &&str| SocketAddr::new(text.parse().unwrap(), 0);
    texts.iter().map(parse).collect()
}

#[test]
fn families_take_turns_and_each_keeps_its_order() {
    let found = addresses(&["2001::1", "2001::2", "2001::3", "192.0.2.1", "192.0.2.2"]);
    let wanted = ["2001::1", "192.0.2.1", "2001::2", "192.0.2.2", "2001::3"];
    assert_eq!(mixed(&found), addresses(&wanted));
    let found = addresses(&["192.0.2.2", "192.0.2.1", "2001::9"]);
    let wanted = ["192.0.2.2", "2001::9", "192.0.2.1"];
    assert_eq!(mixed(&found), addresses(&wanted));
    assert_eq!(mixed(&[]), vec![]);
}

#[test]
fn very_many_addresses_of_one_family_leave_the_other_its_half() {
    let many: Vec<String> = (1..=20).map(|number| format!("2001::{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let all = [many.as_slice(), &["192.0.2.1", "192.0.2.2"]].concat();
    let mixed = mixed(&addresses(&all));
    assert_eq!(mixed.len(), ADDRESSES_MAX);
    assert_eq!(mixed.iter().filter(|address| address.is_ipv4()).count(), 2);
    assert_eq!(mixed[1..=1], addresses(&["192.0.2.1"]));
}

#[test]
fn a_name_of_this_machine_is_found_with_its_ports_left_open() {
    let found = look_up("localhost").unwrap();
    assert!(!found.is_empty());
    for address in found.iter() {
        assert!(
            address.ip().is_loopback() && address.port() == 0,
            "{address}"
        );
    }
}

#[test]
fn what_the_system_says_is_told_in_plain_words() {
    let told = |code| reason(&LookupError::new(code)).words("a.test");
    // The numbers of glibc.
    let cases = [
        (-2, "there is no such name (a.test)"),
        (-5, "the name has no address (a.test)"),
        (-9, "the name has no address (a.test)"),
        (-3, "the resolver did not answer, or failed itself (a.test)"),
        (
            -4,
            "the resolver says \"Non-recoverable failure in name resolution\" (a.test)",
        ),
        (
            -10,
            "this machine could not ask for it: Memory allocation failure (a.test)",
        ),
    ];
    for (code, words) in cases {
        assert_eq!(told(code), words);
    }
    let other = told(-105);
    assert!(other.starts_with("the resolver says \""), "{other}");
    let ours = "it gives no further thread".to_owned();
    let words = "this machine could not ask for it: it gives no further thread (a.test)";
    assert_eq!(NameError::Ours(ours).words("a.test"), words);
}

#[test]
fn what_cannot_be_a_name_is_refused_with_a_word() {
    for bad in ["a\0b", ""] {
        let error = look_up(bad).unwrap_err();
        assert!(
            !matches!(error, NameError::Ours(_) | NameError::NoAnswer),
            "{error:?}"
        );
    }
}
