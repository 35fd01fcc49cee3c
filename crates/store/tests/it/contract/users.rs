//! Users, roles, sessions, links, failures: who signs in, and what ends it.

use model::contract::{Conflict, StoreError};
use model::id::{TenantId, UserId};
use model::limits;
use model::tenant::TokenHash;
use model::time::TimeBounds;
use model::users::{NewUser, PasswordHash, Role, User, UserChange, name_hash};
use serde_json::json;

use super::harness::{Given, at, read, wait};

fn new_user(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        password: PasswordHash(format!("$hash of {name}")),
        administrator: false,
    }
}

fn user(given: &Given, name: &str) -> User {
    wait(given.store.create_user(new_user(name), at(1))).unwrap()
}

fn role(given: &Given, tenant: TenantId, user: UserId, role: Option<Role>) -> bool {
    let done = given
        .store
        .set_role(tenant, user, role, "anna".to_owned(), at(5));
    wait(done).unwrap()
}

fn names(given: &Given, tenant: Option<TenantId>) -> Vec<String> {
    let users = wait(given.store.users(tenant)).unwrap();
    users.into_iter().map(|user| user.name).collect()
}

fn signed_in(given: &Given, secret: &str, time: i64) -> Option<String> {
    let session = given.store.session(TokenHash::of(secret), at(time));
    wait(session).unwrap().map(|user| user.name)
}

fn begin(given: &Given, secret: &str, user: UserId, until: i64) {
    let counted = Some(name_hash("anna", "here"));
    let begun = given.store.begin_session(
        TokenHash::of(secret),
        user,
        None,
        counted,
        at(until),
        at(10),
    );
    wait(begun).unwrap();
}

#[test]
fn a_user_is_found_by_name_whatever_its_case_and_there_is_only_one() {
    let given = Given::new();
    assert!(!wait(given.store.has_users()).unwrap());
    let anna = user(&given, "Anna");
    assert!(wait(given.store.has_users()).unwrap());
    let (found, password) = wait(given.store.user("aNNA".to_owned())).unwrap().unwrap();
    assert_eq!(found, anna);
    assert_eq!(password, PasswordHash("$hash of Anna".to_owned()));
    assert!(anna.active && !anna.administrator && anna.roles.is_empty());
    let again = wait(given.store.create_user(new_user("ANNA"), at(2)));
    assert!(matches!(
        again,
        Err(StoreError::Conflict(Conflict::UserName))
    ));
    for hostile in ["", "Anna' or 1=1 --", "Ann%", "Ann_", "Anna\0"] {
        assert_eq!(wait(given.store.user(hostile.to_owned())).unwrap(), None);
    }
}

#[test]
fn users_are_listed_by_name_and_at_a_tenant_only_with_a_role_there() {
    let given = Given::new();
    let other = given.another_tenant("other");
    let [bert, anna, carl] = ["bert", "Anna", "Carl"].map(|name| user(&given, name).id);
    assert_eq!(names(&given, None), ["Anna", "bert", "Carl"]);
    assert_eq!(names(&given, Some(given.tenant)), [""; 0]);
    assert!(role(&given, given.tenant, bert, Some(Role::Edit)));
    assert!(role(&given, given.tenant, anna, Some(Role::Look)));
    assert!(role(&given, other, carl, Some(Role::Administer)));
    assert_eq!(names(&given, Some(given.tenant)), ["Anna", "bert"]);
    assert_eq!(names(&given, Some(other)), ["Carl"]);
    let users = wait(given.store.users(Some(other))).unwrap();
    assert_eq!(users[0].role_at(other), Some(Role::Administer));
    assert_eq!(users[0].role_at(given.tenant), None);
    assert!(!role(&given, other, UserId(99), Some(Role::Look)));
}

#[test]
fn roles_are_given_changed_and_taken_and_the_audit_log_says_so() {
    let given = Given::new();
    let anna = user(&given, "anna").id;
    for wanted in [Some(Role::Look), Some(Role::Look), Some(Role::Edit), None] {
        assert!(role(&given, given.tenant, anna, wanted));
    }
    let entries = wait(given.store.audit(given.tenant, 3)).unwrap();
    let lines: Vec<_> = entries
        .iter()
        .map(|entry| (entry.action.as_str(), read(&entry.detail)))
        .collect();
    let line = |action, before, after| {
        let detail = json!({ "user": "anna", "before": before, "after": after });
        (action, detail)
    };
    let (look, edit) = (Some("look"), Some("edit"));
    let expected = [
        line("role.taken", edit, None),
        line("role.changed", look, edit),
        line("role.given", None, look),
    ];
    assert_eq!(lines, expected);
    assert_eq!(names(&given, Some(given.tenant)), [""; 0]);
}

#[test]
fn a_session_holds_until_its_time_and_is_nobody_elses() {
    let given = Given::new();
    let anna = user(&given, "anna").id;
    begin(&given, "secret", anna, 100);
    assert_eq!(signed_in(&given, "secret", 99), Some("anna".to_owned()));
    assert_eq!(signed_in(&given, "secret", 100), None);
    assert_eq!(signed_in(&given, "Secret", 99), None);
    let (found, _) = wait(given.store.user("anna".to_owned())).unwrap().unwrap();
    assert_eq!(found.signed_in_at, Some(at(10)));
    wait(given.store.end_session(TokenHash::of("secret"))).unwrap();
    assert_eq!(signed_in(&given, "secret", 99), None);
    begin(&given, "nobodys", UserId(99), 100);
    assert_eq!(signed_in(&given, "nobodys", 50), None);
}

#[test]
fn a_new_password_or_none_to_sign_in_any_more_ends_sessions_and_links() {
    let given = Given::new();
    let [anna, bert] = ["anna", "bert"].map(|name| user(&given, name).id);
    let change = |change| wait(given.store.change_user(anna, change, at(20))).unwrap();
    let link = |secret: &str| {
        wait(
            given
                .store
                .create_link(TokenHash::of(secret), anna, at(100)),
        )
        .unwrap();
    };
    let use_link =
        |secret: &str| wait(given.store.use_link(TokenHash::of(secret), at(30))).unwrap();
    begin(&given, "bert", bert, 100);
    begin(&given, "one", anna, 100);
    link("first");
    let password = UserChange {
        password: Some(PasswordHash("$new".to_owned())),
        ..UserChange::default()
    };
    assert!(change(password).unwrap().active);
    assert_eq!(signed_in(&given, "one", 30), None);
    assert_eq!(use_link("first"), None);
    let (_, kept) = wait(given.store.user("anna".to_owned())).unwrap().unwrap();
    assert_eq!(kept, PasswordHash("$new".to_owned()));
    begin(&given, "two", anna, 100);
    link("second");
    let promoted = UserChange {
        administrator: Some(true),
        ..UserChange::default()
    };
    assert!(change(promoted).unwrap().administrator);
    assert_eq!(signed_in(&given, "two", 30), Some("anna".to_owned()));
    let shut_out = UserChange {
        active: Some(false),
        ..UserChange::default()
    };
    assert!(!change(shut_out).unwrap().active);
    assert_eq!(signed_in(&given, "two", 30), None);
    assert_eq!(use_link("second"), None);
    begin(&given, "three", anna, 100);
    link("third");
    let back = UserChange {
        active: Some(true),
        ..UserChange::default()
    };
    change(back);
    assert_eq!(signed_in(&given, "three", 30), None);
    assert_eq!(use_link("third"), None);
    assert_eq!(signed_in(&given, "bert", 30), Some("bert".to_owned()));
    let nobody = given
        .store
        .change_user(UserId(99), UserChange::default(), at(1));
    assert_eq!(wait(nobody).unwrap(), None);
}

#[test]
fn a_link_signs_in_once_and_only_in_time() {
    let given = Given::new();
    let anna = user(&given, "anna");
    let link = |secret: &str| {
        let made = given
            .store
            .create_link(TokenHash::of(secret), anna.id, at(100));
        wait(made).unwrap();
    };
    let used = |secret: &str, time| {
        wait(given.store.use_link(TokenHash::of(secret), at(time)))
            .unwrap()
            .map(|user| user.id)
    };
    link("in time");
    link("late");
    assert_eq!(used("in time", 99), Some(anna.id));
    assert_eq!(used("in time", 99), None);
    assert_eq!(used("late", 100), None);
    assert_eq!(used("late", 50), None, "it is used up");
    assert_eq!(used("another", 50), None);
}

#[test]
fn failures_are_counted_for_a_name_until_signing_in_works_or_a_day_has_passed() {
    let given = Given::new();
    let anna = user(&given, "Anna").id;
    let name = name_hash("anna", "here");
    let add = |time| {
        let early = wait(given.store.try_sign_in(name, at(time))).unwrap();
        assert_eq!(early, None);
        wait(given.store.failures(name)).unwrap().unwrap()
    };
    assert_eq!(wait(given.store.failures(name)).unwrap(), None);
    assert_eq!(add(1).count, 1);
    assert_eq!(add(2).count, 2);
    let found = wait(given.store.failures(name)).unwrap().unwrap();
    assert_eq!((found.count, found.latest_at), (2, at(2)));
    let nobody = wait(given.store.try_sign_in(name_hash("nobody", "here"), at(3)));
    assert_eq!(nobody.unwrap(), None);
    assert_eq!(add(2 + limits::SIGN_IN_FAILURE_RETENTION_MS).count, 1);
    begin(&given, "secret", anna, 100);
    assert_eq!(wait(given.store.failures(name)).unwrap(), None);
    assert!(
        wait(given.store.failures(name_hash("nobody", "here")))
            .unwrap()
            .is_some()
    );
}

#[test]
fn of_many_attempts_at_once_no_more_are_judged_than_of_many_in_a_row() {
    let given = Given::new();
    let name = name_hash("anna", "here");
    let judged = (0..50).filter(|_| {
        let early = given.store.try_sign_in(name, at(7));
        wait(early).unwrap().is_none()
    });
    assert_eq!(judged.count(), 3);
    let found = wait(given.store.failures(name)).unwrap().unwrap();
    assert_eq!(found.open_at(), at(1_007));
    assert_eq!(
        wait(given.store.try_sign_in(name, at(1_006))).unwrap(),
        Some(found)
    );
    assert_eq!(
        wait(given.store.try_sign_in(name, at(1_007))).unwrap(),
        None
    );
}

#[test]
fn no_session_begins_with_a_password_that_was_changed_meanwhile() {
    let given = Given::new();
    let anna = user(&given, "anna").id;
    let (_, typed) = wait(given.store.user("anna".to_owned())).unwrap().unwrap();
    let begin = |secret: &str| {
        let (session, typed) = (TokenHash::of(secret), Some(typed.clone()));
        let begun = given
            .store
            .begin_session(session, anna, typed, None, at(100), at(10));
        wait(begun).unwrap()
    };
    assert!(begin("one"));
    let change = UserChange {
        password: Some(PasswordHash("$other".to_owned())),
        ..UserChange::default()
    };
    wait(given.store.change_user(anna, change, at(11))).unwrap();
    assert!(!begin("two"));
    assert_eq!(signed_in(&given, "two", 12), None);
}

#[test]
fn what_signing_in_leaves_behind_is_pruned_after_its_time() {
    let given = Given::kept();
    let anna = user(&given, "anna").id;
    for until in [50, 500] {
        begin(&given, &until.to_string(), anna, until);
        let link = TokenHash::of(&until.to_string());
        wait(given.store.create_link(link, anna, at(until))).unwrap();
    }
    wait(given.store.try_sign_in(name_hash("old", "here"), at(1))).unwrap();
    wait(given.store.try_sign_in(name_hash("new", "here"), at(200))).unwrap();
    let rows = |table: &str| given.number(&format!("select count(*) from {table}"));
    let count = || ["session", "link", "failure"].map(rows);
    wait(given.prune(0, 100)).unwrap();
    assert_eq!(count(), [1, 1, 2]);
    wait(given.prune(0, 100 + limits::SIGN_IN_FAILURE_RETENTION_MS)).unwrap();
    assert_eq!(count(), [0, 0, 1]);
    assert_eq!(names(&given, None), ["anna"]);
}

#[test]
fn what_signing_in_leaves_behind_holds_no_longer_than_promised_though_the_clock_was_ahead() {
    let day = 24 * 3_600_000;
    let given = Given::new();
    let anna = user(&given, "anna").id;
    let links = ["one", "two"].map(TokenHash::of);
    let ahead = 41 * day;
    begin(&given, "ahead", anna, ahead + limits::SESSION_MS);
    for link in links {
        let until = at(ahead + limits::LINK_MS);
        wait(given.store.create_link(link, anna, until)).unwrap();
    }
    let name = name_hash("anna", "there");
    wait(given.store.try_sign_in(name, at(ahead))).unwrap();
    // As long as it may be that late for all that is known, nothing changes.
    let doubted = TimeBounds {
        earliest: at(day),
        latest: at(ahead),
    };
    wait(given.prune_between(0, doubted)).unwrap();
    assert_eq!(
        signed_in(&given, "ahead", 20 * day).as_deref(),
        Some("anna")
    );
    wait(given.prune(0, day)).unwrap();
    let until = day + limits::SESSION_MS;
    assert_eq!(
        signed_in(&given, "ahead", until - 1).as_deref(),
        Some("anna")
    );
    assert_eq!(signed_in(&given, "ahead", until), None);
    let until = day + limits::LINK_MS;
    let uses = |link, time| wait(given.store.use_link(link, at(time))).unwrap();
    assert!(uses(links[0], until - 1).is_some());
    assert_eq!(uses(links[1], until), None);
    // And a failure is forgotten after a day.
    wait(given.prune(0, 2 * day + 1)).unwrap();
    let failures = wait(given.store.try_sign_in(name, at(2 * day + 1))).unwrap();
    assert_eq!(failures, None);
    let failures = wait(given.store.failures(name)).unwrap();
    assert_eq!(failures.map(|failures| failures.count), Some(1));
}

#[test]
fn pages_of_users_go_on_behind_the_last_one() {
    let given = Given::new();
    let all: Vec<UserId> = ["c", "B", "a"]
        .iter()
        .map(|name| user(&given, name).id)
        .collect();
    role(&given, given.tenant, all[2], Some(Role::Edit));
    role(&given, given.tenant, all[0], Some(Role::Look));
    let other = given.another_tenant("other");
    role(&given, other, all[0], Some(Role::Administer));
    let page = |tenant, after, limit| {
        let users = wait(given.store.users_behind(tenant, after, limit)).unwrap();
        let line = |user: User| (user.name, user.roles.into_values().collect::<Vec<_>>());
        users.into_iter().map(line).collect::<Vec<_>>()
    };
    let line = |name: &str, roles: &[Role]| (name.to_owned(), roles.to_vec());
    assert_eq!(page(None, None, 2), [line("c", &[]), line("B", &[])]);
    assert_eq!(page(None, Some(all[1]), 2), [line("a", &[])]);
    let mine = Some(given.tenant);
    let expected = [line("c", &[Role::Look]), line("a", &[Role::Edit])];
    assert_eq!(page(mine, None, 9), expected);
    assert_eq!(page(mine, Some(all[0]), 9), expected[1..]);
    assert_eq!(page(mine, Some(all[2]), 9), []);
}
