//! Resources, triggers, and which triggers reach the webhooks of related resources: data, with
//! the source of every line beside it.
//!
//! The vendor's trigger table lost its empty cells in every public copy, and the labels of its
//! propagation table contradict its own prose. So every known resource goes with every known
//! trigger, and these tables decide only what is known to fire. A rule acts only if an
//! application reports its trigger: one too many does nothing, one too few would lose deliveries.

use std::collections::{BTreeMap, BTreeSet};

use crate::dialect::options::Trigger;

/// Where a rule comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleSource {
    /// The vendor's table, under both ways to read it.
    Both,
    /// The table as it is printed.
    Printed,
    /// The table if its last three rows are labelled Order, Scanner, Shop: then the page agrees
    /// with its own worked example, in which an order is paid.
    Corrected,
}

/// A trigger on one resource reaches webhooks for the same trigger on another: source, trigger,
/// target, and who says so.
pub(super) type ReachRule = (&'static str, &'static str, &'static str, RuleSource);

pub(super) const RULES: &[ReachRule] = &[
    ("ticket", "create", "event", RuleSource::Both),
    ("ticket", "update", "event", RuleSource::Both),
    ("ticket", "delete", "event", RuleSource::Both),
    ("product", "create", "event", RuleSource::Both),
    ("product", "update", "event", RuleSource::Both),
    ("product", "delete", "event", RuleSource::Both),
    ("shop", "paid", "event", RuleSource::Printed),
    ("shop", "update", "event", RuleSource::Printed),
    ("shop", "paid", "ticket", RuleSource::Printed),
    ("shop", "paid", "product", RuleSource::Printed),
    ("order", "create", "event", RuleSource::Printed),
    ("order", "delete", "event", RuleSource::Printed),
    ("order", "scan", "event", RuleSource::Printed),
    ("order", "scan", "ticket", RuleSource::Printed),
    ("order", "scan", "product", RuleSource::Printed),
    ("order", "paid", "event", RuleSource::Corrected),
    ("order", "update", "event", RuleSource::Corrected),
    ("order", "paid", "ticket", RuleSource::Corrected),
    ("order", "paid", "product", RuleSource::Corrected),
    ("scanner", "create", "event", RuleSource::Corrected),
    ("scanner", "delete", "event", RuleSource::Corrected),
    ("scanner", "scan", "event", RuleSource::Corrected),
    ("scanner", "scan", "ticket", RuleSource::Corrected),
    ("scanner", "scan", "product", RuleSource::Corrected),
];

/// Pairs that fire by themselves, and why the marks of the trigger table are taken to be theirs.
pub(super) const DIRECT: &[(&str, &str, &str)] = &[
    ("event", "create", "the page's prose has it as an example"),
    ("event", "update", "the page's prose has it as an example"),
    (
        "event",
        "delete",
        "the third mark of the row, as in the others",
    ),
    (
        "ticket",
        "create",
        "three marks, and the propagation row has these three",
    ),
    (
        "ticket",
        "update",
        "three marks, and the propagation row has these three",
    ),
    (
        "ticket",
        "delete",
        "three marks, and the propagation row has these three",
    ),
    (
        "product",
        "create",
        "three marks, and the propagation row has these three",
    ),
    (
        "product",
        "update",
        "three marks, and the propagation row has these three",
    ),
    (
        "product",
        "delete",
        "three marks, and the propagation row has these three",
    ),
    ("order", "paid", "the page's worked example"),
    (
        "order",
        "update",
        "the second mark; the one row of two triggers has these two",
    ),
    ("scanner", "scan", "one mark, and nothing else is scanned"),
];

/// Known to the vendor's pages: five rows of the newer table, one of the older, and the resource
/// of the sample request.
const RESOURCES: [&str; 7] = [
    "event", "ticket", "product", "shop", "order", "scanner", "metadata",
];

/// Every trigger of the newer table, with the word for that it has happened. The vendor shows
/// only `scanned`; the others are made alike.
const TRIGGERS: [(&str, &str); 7] = [
    ("create", "created"),
    ("update", "updated"),
    ("delete", "deleted"),
    ("paid", "paid"),
    ("scan", "scanned"),
    ("relation", "related"),
    ("reorder", "reordered"),
];

/// What is scanned is always the ticket of an order, whatever reports it: the only value the
/// vendor's pages show.
const SCANNED: &str = "order.ticket.scanned";
const SCANNING: [&str; 3] = ["scanner", "ticket", "order"];

/// Every resource, trigger and rule there is.
#[derive(Debug)]
pub(super) struct TriggerTable {
    resources: Vec<String>,
    triggers: Vec<String>,
    direct: BTreeSet<(String, String)>,
    /// By source and trigger, whose webhooks hear of it, too.
    reached: BTreeMap<(String, String), BTreeSet<String>>,
    names: BTreeMap<(String, String), String>,
}

/// What makes a webhook for one resource and this trigger fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TriggerOption<'a> {
    pub(super) trigger: &'a str,
    /// The resource itself.
    pub(super) direct: bool,
    /// Related resources, if the webhook listens to them.
    pub(super) sources: Vec<&'a str>,
}

/// "an order is paid": a trigger on a resource as a clause.
pub(super) fn happening(resource: &str, trigger: &str) -> String {
    let thing = with_article(resource);
    let done = TRIGGERS.iter().find(|(own, _)| *own == trigger);
    match (resource, trigger, done) {
        ("scanner", "scan", _) => "a scanner scans a ticket".to_owned(),
        ("order", "scan", _) => "a ticket of an order is scanned".to_owned(),
        (_, "relation", _) => format!("something is related to {thing}"),
        (_, _, Some((_, done))) => format!("{thing} is {done}"),
        (_, _, None) => format!("\u{201c}{trigger}\u{201d} happens to {thing}"),
    }
}

/// "an order, a product or a ticket is created": the same of several resources.
pub(super) fn happenings(resources: &[&str], trigger: &str) -> String {
    let all: Vec<String> = resources
        .iter()
        .map(|own| happening(own, trigger))
        .collect();
    let parts: Vec<(&str, &str)> = all
        .iter()
        .filter_map(|own| own.split_once(" is "))
        .collect();
    let (Some((_, done)), true) = (parts.first(), parts.len() == all.len()) else {
        return all.join(" or ");
    };
    if parts.iter().any(|(_, own)| own != done) {
        return all.join(" or ");
    }
    let things: Vec<&str> = parts.iter().map(|(thing, _)| *thing).collect();
    match things.split_last() {
        Some((last, [])) => format!("{last} is {done}"),
        Some((last, others)) => format!("{} or {last} is {done}", others.join(", ")),
        None => String::new(),
    }
}

/// "an order", "a ticket type".
pub(super) fn with_article(resource: &str) -> String {
    let article = match resource.starts_with(['a', 'e', 'i', 'o', 'u']) {
        true => "an",
        false => "a",
    };
    format!("{article} {}", resource.replace('_', " "))
}

impl TriggerTable {
    /// The built-in ones, and what the operator adds.
    pub(super) fn with(extra: &[Trigger]) -> Self {
        let owned = |text: &str| text.to_owned();
        let mut triggers = Self {
            resources: RESOURCES.into_iter().map(owned).collect(),
            triggers: TRIGGERS.into_iter().map(|(name, _)| owned(name)).collect(),
            direct: BTreeSet::new(),
            reached: BTreeMap::new(),
            names: BTreeMap::new(),
        };
        for (resource, trigger, _) in DIRECT {
            triggers.direct.insert(pair(resource, trigger));
        }
        for (source, trigger, target, _) in RULES {
            let targets = triggers.reached.entry(pair(source, trigger));
            targets.or_default().insert(owned(target));
        }
        for resource in RESOURCES {
            for (trigger, done) in TRIGGERS {
                let scanned = trigger == "scan" && SCANNING.contains(&resource);
                let name = match scanned {
                    true => SCANNED.to_owned(),
                    false => format!("{resource}.{done}"),
                };
                triggers.names.insert(pair(resource, trigger), name);
            }
        }
        for extra in extra {
            triggers.add(extra);
        }
        triggers
    }

    fn add(&mut self, extra: &Trigger) {
        let key = pair(&extra.resource, &extra.trigger);
        let reached = extra.reaches.iter();
        for resource in reached.clone().chain([&extra.resource]) {
            if !self.resources.contains(resource) {
                self.resources.push(resource.clone());
            }
        }
        if !self.triggers.contains(&extra.trigger) {
            self.triggers.push(extra.trigger.clone());
        }
        self.direct.insert(key.clone());
        for target in reached {
            let targets = self.reached.entry(key.clone());
            targets.or_default().insert(target.clone());
        }
        if let Some(name) = &extra.name {
            self.names.insert(key, name.clone());
        }
    }

    /// The resource of this name, or what is wrong with it.
    pub(super) fn resource(&self, name: &str) -> Result<String, String> {
        known(&self.resources, name, |_| None)
            .map_err(|hint| format!("The selected resource is invalid: {hint}"))
    }

    /// The trigger of this name, or what is wrong with it.
    pub(super) fn trigger(&self, name: &str) -> Result<String, String> {
        let present = |text: &str| {
            let found = TRIGGERS.iter().find(|(_, done)| *done == text);
            found.map(|(trigger, _)| *trigger)
        };
        known(&self.triggers, name, present)
            .map_err(|hint| format!("The selected trigger is invalid: {hint}"))
    }

    /// The kinds of related resources whose webhooks hear of this trigger, too.
    pub(super) fn reached(&self, source: &str, trigger: &str) -> BTreeSet<String> {
        let found = self.reached.get(&pair(source, trigger));
        found.cloned().unwrap_or_default()
    }

    /// What receivers are told has happened.
    pub(super) fn name(&self, resource: &str, trigger: &str) -> String {
        let found = self.names.get(&pair(resource, trigger)).cloned();
        found.unwrap_or_else(|| format!("{resource}.{trigger}"))
    }

    /// Every resource with the triggers that can fire for its webhooks, by themselves or by way of
    /// related resources.
    pub(super) fn offered(&self) -> Vec<(&str, Vec<TriggerOption<'_>>)> {
        let of = |resource: &str| {
            let offers = self
                .triggers
                .iter()
                .map(|trigger| self.offer(resource, trigger));
            let offers = offers.filter(|offer| offer.direct || !offer.sources.is_empty());
            offers.collect::<Vec<_>>()
        };
        let all = self.resources.iter().map(|own| (own.as_str(), of(own)));
        all.filter(|(_, offers)| !offers.is_empty()).collect()
    }

    /// Whether this is known to fire: for webhooks of its own resource, or of related ones.
    pub(super) fn is_known(&self, resource: &str, trigger: &str) -> bool {
        let pair = pair(resource, trigger);
        self.direct.contains(&pair) || self.reached.contains_key(&pair)
    }

    /// Whether what receivers are told has happened stands only for what is not known to fire.
    pub(super) fn is_unknown_name(&self, name: &str) -> bool {
        let mut named = self.names.iter().filter(|(_, own)| *own == name).peekable();
        let any = named.peek().is_some();
        any && named.all(|((resource, trigger), _)| !self.is_known(resource, trigger))
    }

    /// What is said of a trigger that is not known to fire.
    pub(super) fn unknown(&self, resource: &str, trigger: &str) -> String {
        let own = self.triggers.iter().map(String::as_str);
        let own: Vec<&str> = own.filter(|own| self.is_known(resource, own)).collect();
        let instead = match own.as_slice() {
            [] => format!("Nothing is known to happen to \"{resource}\"."),
            own => format!("Of \"{resource}\" there are {}.", own.join(", ")),
        };
        format!(
            "\"{trigger}\" on \"{resource}\" is not known to fire, so hardly a webhook asks for it. \
             {instead} The setting \"triggers\" adds others."
        )
    }

    /// What makes a webhook for this fire.
    pub(super) fn offer<'a>(&'a self, resource: &str, trigger: &'a str) -> TriggerOption<'a> {
        let sources = self
            .reached
            .iter()
            .filter(|((_, own), targets)| own == trigger && targets.contains(resource));
        TriggerOption {
            trigger,
            direct: self.direct.contains(&pair(resource, trigger)),
            sources: sources.map(|((source, _), _)| source.as_str()).collect(),
        }
    }

    /// Why a webhook for this would never be called, as far as is known; `related` is its switch.
    pub(super) fn doubt(&self, resource: &str, trigger: &str, related: bool) -> Option<String> {
        if self.direct.contains(&pair(resource, trigger)) {
            return None;
        }
        let TriggerOption { sources, .. } = self.offer(resource, trigger);
        if sources.is_empty() {
            return Some(format!(
                "Nothing is known to trigger \"{trigger}\" on \"{resource}\"; this webhook will \
                 not be called unless an application reports it."
            ));
        }
        (!related).then(|| {
            format!(
                "\"{trigger}\" on \"{resource}\" comes about only through related resources \
                 ({}); switch triggered_by_child_resources on.",
                sources.join(", ")
            )
        })
    }
}

/// The name if it is one of these, else a sentence that helps; `instead` knows other words for
/// some.
fn known(
    all: &[String],
    name: &str,
    instead: impl Fn(&str) -> Option<&'static str>,
) -> Result<String, String> {
    if all.iter().any(|own| own == name) {
        return Ok(name.to_owned());
    }
    let small = name.trim().to_ascii_lowercase();
    let own = all.iter().find(|own| **own == small);
    match own.map(String::as_str).or_else(|| instead(&small)) {
        Some(right) => Err(format!("write \"{right}\" instead.")),
        None => Err(format!("it must be one of {}.", all.join(", "))),
    }
}

fn pair(resource: &str, trigger: &str) -> (String, String) {
    (resource.to_owned(), trigger.to_owned())
}
