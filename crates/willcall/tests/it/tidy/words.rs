//! One word per thing: `docs/words.md` as a check, and no dialect named outside its folder. Tests
//! may speak as their readers do.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::{Kind, identifiers, only};
use super::{File, judge, rust_files, tree};

/// What must not be a name of ours, and what to say instead.
const BANNED: &[(&str, &str)] = &[
    ("account", "tenant"),
    ("ack", "settle"),
    ("bystander", "match explanation"),
    ("common", "what is in it"),
    ("compat", "dialect"),
    ("consumer", "receiver"),
    ("desk", "executor"),
    ("destination", "webhook"),
    ("dice", "rng"),
    ("errand", "bulk job"),
    ("flavor", "dialect"),
    ("flavour", "dialect"),
    ("fortune", "circuit breaker"),
    ("helper", "what it does"),
    ("hook", "webhook"),
    ("keeper", "retention worker"),
    ("manager", "what it does"),
    ("org", "tenant"),
    ("payload", "notification, body"),
    ("platform", "dialect"),
    ("provider", "dialect"),
    ("requeue", "replay"),
    ("service", "what it does"),
    ("spread", "jitter"),
    ("util", "what is in it"),
    ("wish", "subscription"),
];

/// Names that a library gives.
const FOREIGN: &[&str] = &[
    "CommonName",
    "NoCipherSuitesInCommon",
    "NoEcPointFormatsInCommon",
    "NoKxGroupsInCommon",
    "NoSignatureSchemesInCommon",
    "PAYLOAD_TOO_LARGE",
    "SERVICE_UNAVAILABLE",
    "SubscriberExt",
    "SubscriberInitExt",
    "buckets",
    "builder_with_provider",
    "default_provider",
    "exponential_buckets",
    "hooks",
    "http_body_util",
    "hyper_util",
    "partition_point",
    "service",
    "service_fn",
    "set_hook",
    "take_hook",
    "tracing_subscriber",
    "wal_hook",
];

/// `word in file`, and why it is right there.
const LEGITIMATE: &[(&str, &str)] = &[
    (
        "provider in crates/engine/src/tls/roots.rs",
        "rustls calls its cryptography so",
    ),
    (
        "payload in crates/store/src/postgres/session.rs",
        "PostgreSQL calls the text of a notification so",
    ),
    (
        "payload in crates/willcall/src/telemetry.rs",
        "what a panic carries",
    ),
    (
        "util in crates/willcall/src/telemetry.rs",
        "a module of tracing-subscriber",
    ),
    (
        "platform in crates/web/src/dialect/dashboard.rs",
        "whom we speak for: what sells the tickets",
    ),
    (
        "platform in crates/web/src/dialects/alerts/form.rs",
        "whom we speak for: what sells the tickets",
    ),
    (
        "platform in crates/web/src/dialects/openticket/form.rs",
        "whom we speak for: what sells the tickets",
    ),
    (
        "platform in crates/web/src/dialects/pretix/form.rs",
        "whom we speak for: what sells the tickets",
    ),
    (
        "platform in crates/web/src/dashboard/overview.rs",
        "whom we speak for: what sells the tickets",
    ),
    (
        "platform in crates/web/src/dashboard/tenants.rs",
        "whom we speak for: what sells the tickets",
    ),
];

const DIALECTS: &[&str] = &["pretix", "openticket"];

/// Files that name a dialect and are neither its own nor tests.
const NAMING: &[(&str, &str)] = &[(
    "crates/sim/src/dialects.rs",
    "speaks both as those outside do: the one such file of the simulator",
)];

#[test]
fn names_use_the_words_of_the_house() {
    let mut found = BTreeMap::new();
    for file in rust_files() {
        let code = only(Kind::Code, file.product());
        for (line, name) in identifiers(&code) {
            for part in parts(name).iter().filter(|_| !FOREIGN.contains(&name)) {
                let singular = part.strip_suffix('s').unwrap_or(part);
                let is_banned = |(banned, _): &&(&str, &str)| *banned == singular;
                if let Some((banned, instead)) = BANNED.iter().find(is_banned) {
                    let place = format!("{banned} in {}", file.path);
                    found.insert(place, format!("line {line}, `{name}`: say {instead}"));
                }
            }
        }
    }
    for name in FOREIGN.iter().copied() {
        let used = |file: &File| identifiers(file.product()).any(|(_, word)| word == name);
        assert!(
            rust_files().any(used) || tree().is_empty(),
            "nobody uses {name}: take it out of FOREIGN in tests/it/tidy/words.rs"
        );
    }
    judge(
        &found,
        LEGITIMATE,
        "Use the words of docs/words.md in names. A name that a library gives goes into FOREIGN in \
         tests/it/tidy/words.rs.",
    );
}

#[test]
fn a_dialect_is_named_in_its_folder_only() {
    let mut found = BTreeMap::new();
    for file in tree()
        .iter()
        .filter(|file| file.path.starts_with("crates/"))
    {
        for dialect in DIALECTS.iter().copied() {
            let at_home = file.path.contains(&format!("/dialects/{dialect}/"))
                || file.path.ends_with("/dialects/mod.rs");
            let product = file.product();
            let named = product
                .lines()
                .position(|line| line.to_lowercase().contains(dialect));
            if let Some(index) = named.filter(|_| !at_home) {
                let detail = format!("line {}, {dialect}", index + 1);
                found.insert(file.path.clone(), detail);
            }
        }
    }
    judge(
        &found,
        NAMING,
        "Say it without the dialect, or move it into crates/web/src/dialects/<name>/.",
    );
}

#[test]
fn every_banned_word_is_in_the_glossary() {
    let Some(glossary) = super::file("docs/words.md") else {
        assert!(tree().is_empty(), "docs/words.md is gone");
        return;
    };
    let words: BTreeSet<String> = identifiers(&glossary.text)
        .map(|(_, word)| word.to_lowercase())
        .collect();
    for (banned, _) in BANNED.iter().copied() {
        assert!(
            words.contains(banned),
            "docs/words.md does not say that \"{banned}\" is not to be used"
        );
    }
}

/// `HTTPCallHandler` and `http_call_handler` are made of http, call, handler.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let chars: Vec<char> = name.chars().collect();
    for (index, c) in chars.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| chars.get(before));
        let after = chars.get(index + 1);
        let begins = c.is_uppercase()
            && (before.is_some_and(|before| !before.is_uppercase())
                || after.is_some_and(|after| after.is_lowercase()));
        if begins || *c == '_' {
            parts.push(String::new());
        }
        if *c != '_' {
            parts.last_mut().unwrap().extend(c.to_lowercase());
        }
    }
    parts
}

#[test]
fn names_come_apart_into_words() {
    for (name, expected) in [
        ("job_id", "job id"),
        ("JobQueue", "job queue"),
        ("HTTPJob", "http job"),
        ("WORKER_MAX", "worker max"),
        ("webhook", "webhook"),
    ] {
        let parts: Vec<String> = parts(name)
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        assert_eq!(parts.join(" "), expected);
    }
}
