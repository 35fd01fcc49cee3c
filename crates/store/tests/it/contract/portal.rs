//! Portal links: they let in once and in time, at one tenant, and all of a tenant's can be ended.

use model::id::TenantId;
use model::limits;
use model::tenant::TokenHash;
use model::time::TimeBounds;
use model::users::{PortalVisitor, Role};
use serde_json::json;

use super::harness::{Given, at, read, wait};

fn visitor(tenant: TenantId, role: Role) -> PortalVisitor {
    PortalVisitor {
        tenant,
        role,
        name: "Anna".to_owned(),
    }
}

fn link(given: &Given, secret: &str, visitor: &PortalVisitor, until: i64) {
    let (link, actor) = (TokenHash::of(secret), "shop".to_owned());
    let made = given
        .store
        .create_portal_link(link, visitor.clone(), at(until), actor, at(10));
    wait(made).unwrap();
}

fn follow(given: &Given, secret: &str, session: &str, time: i64) -> Option<PortalVisitor> {
    let (link, session) = (TokenHash::of(secret), TokenHash::of(session));
    let used = given
        .store
        .use_portal_link(link, session, at(time + 1_000), at(time));
    wait(used).unwrap()
}

fn inside(given: &Given, session: &str, time: i64) -> Option<PortalVisitor> {
    let found = given.store.portal_session(TokenHash::of(session), at(time));
    wait(found).unwrap()
}

fn actions(given: &Given, tenant: TenantId) -> Vec<(String, String)> {
    let entries = wait(given.store.audit(tenant, 50)).unwrap();
    let portals = entries
        .into_iter()
        .filter(|entry| entry.action.starts_with("portal"));
    portals.map(|entry| (entry.actor, entry.action)).collect()
}

#[test]
fn a_portal_link_lets_in_once_as_whom_it_was_made_for() {
    let given = Given::new();
    let anna = visitor(given.tenant, Role::Edit);
    link(&given, "one", &anna, 100);
    // A link is no session, and no link of a user.
    assert_eq!(inside(&given, "one", 20), None);
    let used = given.store.use_link(TokenHash::of("one"), at(20));
    assert_eq!(wait(used).unwrap(), None);
    assert_eq!(follow(&given, "one", "s", 20), Some(anna.clone()));
    assert_eq!(inside(&given, "s", 21), Some(anna.clone()));
    assert_eq!(follow(&given, "one", "t", 22), None);
    assert_eq!(inside(&given, "t", 23), None);
    // A session is no link, and no session of a user.
    assert_eq!(follow(&given, "s", "u", 24), None);
    let session = given.store.session(TokenHash::of("s"), at(24));
    assert_eq!(wait(session).unwrap(), None);
    // The answer may have been lost, so the same question gets it again.
    assert_eq!(follow(&given, "one", "s", 25), Some(anna));
    let entries = wait(given.store.audit(given.tenant, 2)).unwrap();
    let details: Vec<_> = entries.iter().map(|entry| read(&entry.detail)).collect();
    assert_eq!(
        details,
        [
            json!({ "role": "edit" }),
            json!({ "name": "Anna", "role": "edit" })
        ]
    );
    let pair = |actor: &str, action: &str| (actor.to_owned(), action.to_owned());
    assert_eq!(
        actions(&given, given.tenant),
        [
            pair("Anna (portal link)", "portal.signed_in"),
            pair("shop", "portal_link.created")
        ]
    );
}

#[test]
fn a_portal_link_and_its_session_hold_until_their_time() {
    let given = Given::new();
    let anna = visitor(given.tenant, Role::Look);
    link(&given, "late", &anna, 100);
    assert_eq!(follow(&given, "late", "s", 100), None);
    assert_eq!(follow(&given, "late", "s", 50), None);
    link(&given, "in time", &anna, 100);
    assert_eq!(follow(&given, "in time", "s", 99), Some(anna.clone()));
    assert_eq!(inside(&given, "s", 1_098), Some(anna));
    assert_eq!(inside(&given, "s", 1_099), None);
}

#[test]
fn signing_out_ends_a_portal_session_and_no_other() {
    let given = Given::new();
    let anna = visitor(given.tenant, Role::Look);
    for name in ["one", "two", "three"] {
        link(&given, name, &anna, 100);
    }
    follow(&given, "one", "s1", 20);
    follow(&given, "two", "s2", 20);
    wait(given.store.end_session(TokenHash::of("s1"))).unwrap();
    wait(given.store.end_session(TokenHash::of("three"))).unwrap();
    assert_eq!(inside(&given, "s1", 30), None);
    assert_eq!(inside(&given, "s2", 30), Some(anna.clone()));
    assert_eq!(follow(&given, "three", "s3", 30), Some(anna));
}

#[test]
fn ending_the_portal_of_a_tenant_ends_its_links_and_sessions_and_nobody_elses() {
    let given = Given::new();
    let other = given.another_tenant("other");
    let (anna, bert) = (
        visitor(given.tenant, Role::Look),
        visitor(other, Role::Administer),
    );
    link(&given, "in", &anna, 100);
    link(&given, "waiting", &anna, 100);
    link(&given, "other", &bert, 100);
    follow(&given, "in", "s", 20);
    follow(&given, "other", "o", 20);
    let end = || {
        let ended = given
            .store
            .end_portal(given.tenant, "shop".to_owned(), at(30));
        wait(ended).unwrap();
    };
    end();
    assert_eq!(inside(&given, "s", 31), None);
    assert_eq!(follow(&given, "waiting", "w", 31), None);
    assert_eq!(inside(&given, "o", 31), Some(bert));
    end();
    let ended = actions(&given, given.tenant);
    let ended = ended.iter().filter(|(_, action)| action == "portal.ended");
    assert_eq!(ended.count(), 1);
}

#[test]
fn what_portal_links_leave_behind_is_pruned_after_its_time() {
    let given = Given::kept();
    let anna = visitor(given.tenant, Role::Look);
    link(&given, "old", &anna, 50);
    link(&given, "new", &anna, 5_000);
    link(&given, "used", &anna, 50);
    follow(&given, "used", "s", 40);
    let count = || given.number("select count(*) from portal");
    assert_eq!(count(), 3);
    wait(given.prune(0, 100)).unwrap();
    assert_eq!(count(), 2);
    wait(given.prune(0, 2_000)).unwrap();
    assert_eq!(count(), 1);
    wait(given.prune(0, 6_000)).unwrap();
    assert_eq!(count(), 0);
}

#[test]
fn a_portal_session_holds_no_longer_than_promised_though_the_clock_was_ahead() {
    let day = 24 * 3_600_000;
    let given = Given::new();
    let anna = visitor(given.tenant, Role::Look);
    let ahead = 41 * day;
    link(&given, "one", &anna, ahead + limits::PORTAL_LINK_MS_MAX);
    link(&given, "two", &anna, ahead + limits::PORTAL_LINK_MS_MAX);
    let (two, session) = (TokenHash::of("two"), TokenHash::of("s"));
    let until = at(ahead + limits::SESSION_MS);
    wait(given.store.use_portal_link(two, session, until, at(ahead))).unwrap();
    let doubted = TimeBounds {
        earliest: at(day),
        latest: at(ahead),
    };
    wait(given.prune_between(0, doubted)).unwrap();
    assert_eq!(inside(&given, "s", 20 * day), Some(anna.clone()));
    wait(given.prune(0, day)).unwrap();
    let until = day + limits::SESSION_MS;
    assert_eq!(inside(&given, "s", until - 1), Some(anna));
    assert_eq!(inside(&given, "s", until), None);
    let until = day + limits::PORTAL_LINK_MS_MAX;
    assert_eq!(follow(&given, "one", "t", until), None);
}
