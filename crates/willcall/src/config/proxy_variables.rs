//! The variables of the environment by which other programs know proxies. Only their names, and
//! which have a value; `proxy.rs` says whether they count.

use std::collections::BTreeMap;

/// By scheme of the target, each before what counts after it.
pub(super) const FOR_HTTPS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
pub(super) const FOR_HTTP: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
pub(super) const FOR_NONE: [&str; 2] = ["no_proxy", "NO_PROXY"];

pub(super) const VARIABLES: [&str; 8] = [
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

pub(super) fn is_one(name: &str) -> bool {
    VARIABLES.contains(&name)
}

/// Those of them that have a value.
pub(super) fn set(all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let has_value = |(name, value): &(&String, &String)| is_one(name) && !value.trim().is_empty();
    let owned = |(name, value): (&String, &String)| (name.clone(), value.clone());
    all.iter().filter(has_value).map(owned).collect()
}
