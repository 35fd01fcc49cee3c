//! The action types of pretix 2026.8: which there are, how the log entries of an application map to
//! them, and their labels (`docs/pretix.md`).
//!
//! An operator can register more, as plugins do.

use std::collections::BTreeMap;

use super::classes::{self, NotificationClass};
use crate::dialect::nearest::nearest;
use crate::dialect::options::ActionType;

/// A registered action type.
#[derive(Debug, Clone)]
pub(super) struct ActionTypeEntry {
    pub(super) key: String,
    pub(super) label: String,
    pub(super) help: String,
    /// The shape of its notifications; an operator's own types have none in particular.
    pub(super) class: Option<&'static NotificationClass>,
}

impl ActionTypeEntry {
    /// Whether its notifications belong to a show, so that limits to shows hold for them.
    pub(super) fn is_of_show(&self) -> bool {
        self.class.is_some_and(NotificationClass::has_scope)
    }
}

/// All of them, in the order in which people see them.
#[derive(Debug)]
pub(super) struct ActionTypes {
    all: Vec<ActionTypeEntry>,
    by_key: BTreeMap<String, usize>,
}

impl ActionTypes {
    pub(super) fn with(extra: &[ActionType]) -> Self {
        let own = BUILT_IN
            .iter()
            .map(|(key, label, help, class)| ActionTypeEntry {
                key: (*key).to_owned(),
                label: (*label).to_owned(),
                help: (*help).to_owned(),
                class: Some(class),
            });
        let more = extra.iter().map(|extra| ActionTypeEntry {
            key: extra.key.clone(),
            label: extra.label.clone(),
            help: extra.help.clone(),
            class: None,
        });
        let mut action_types = Self {
            all: Vec::new(),
            by_key: BTreeMap::new(),
        };
        for kind in own.chain(more) {
            if !action_types.by_key.contains_key(&kind.key) {
                action_types
                    .by_key
                    .insert(kind.key.clone(), action_types.all.len());
                action_types.all.push(kind);
            }
        }
        action_types
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ActionTypeEntry> {
        self.all.iter()
    }

    pub(super) fn is_registered(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// The one type that stands for a concrete action: itself, else the nearest wildcard above.
    pub(super) fn of(&self, action: &str) -> Option<&ActionTypeEntry> {
        if let Some(kind) = self.get(action) {
            return Some(kind);
        }
        let mut rest = action;
        while let Some((shorter, _)) = rest.rsplit_once('.') {
            if let Some(kind) = self.get(&format!("{shorter}.*")) {
                return Some(kind);
            }
            rest = shorter;
        }
        None
    }

    /// The action of a registered type that somebody most likely meant.
    pub(super) fn nearest(&self, action: &str) -> Option<String> {
        let (_, last) = action.rsplit_once('.').unwrap_or(("", action));
        // What stands for many is shown as one of them.
        let concrete = |kind: &ActionTypeEntry| match kind.key.strip_suffix(".*") {
            Some(stem) => format!("{stem}.{last}"),
            None => kind.key.clone(),
        };
        let all: Vec<String> = self.all.iter().map(concrete).collect();
        let found = nearest(action, all.iter().map(String::as_str));
        found.map(str::to_owned)
    }

    /// What is said of an action that no registered type stands for.
    pub(super) fn unknown(&self, action: &str) -> String {
        let instead = match self.nearest(action) {
            Some(known) => format!("Did you mean \"{known}\"?"),
            None => "If webhooks should get it, its operator adds it to the setting \
                     \"action_types\"."
                .to_owned(),
        };
        format!("No webhook can ask for the action \"{action}\". {instead}")
    }

    /// The registered type of this key.
    pub(super) fn get(&self, key: &str) -> Option<&ActionTypeEntry> {
        self.all.get(*self.by_key.get(key)?)
    }
}

/// Key, label, what the label leaves open, shape.
type BuiltIn = (
    &'static str,
    &'static str,
    &'static str,
    &'static NotificationClass,
);

#[rustfmt::skip]
static BUILT_IN: [BuiltIn; 47] = [
    ("pretix.event.order.placed", "New order placed", "", &classes::ORDER),
    ("pretix.event.order.placed.require_approval", "New order requires approval", "", &classes::ORDER),
    ("pretix.event.order.paid", "Order marked as paid", "", &classes::ORDER),
    ("pretix.event.order.canceled", "Order canceled", "", &classes::ORDER),
    ("pretix.event.order.reactivated", "Order reactivated", "", &classes::ORDER),
    ("pretix.event.order.expired", "Order expired", "", &classes::ORDER),
    ("pretix.event.order.expirychanged", "Order expiry date changed", "", &classes::ORDER),
    ("pretix.event.order.modified", "Order information changed", "", &classes::ORDER),
    ("pretix.event.order.contact.changed", "Order contact address changed", "", &classes::ORDER),
    ("pretix.event.order.changed.*", "Order changed", "", &classes::ORDER),
    ("pretix.event.order.refund.created", "Refund of payment created", "", &classes::ORDER),
    ("pretix.event.order.refund.created.externally", "External refund of payment",
     "", &classes::ORDER),
    ("pretix.event.order.refund.requested", "Refund of payment requested by customer",
     "", &classes::ORDER),
    ("pretix.event.order.refund.done", "Refund of payment completed", "", &classes::ORDER),
    ("pretix.event.order.refund.canceled", "Refund of payment canceled", "", &classes::ORDER),
    ("pretix.event.order.refund.failed", "Refund of payment failed", "", &classes::ORDER),
    ("pretix.event.order.payment.confirmed", "Payment confirmed", "", &classes::ORDER),
    ("pretix.event.order.approved", "Order approved", "", &classes::ORDER),
    ("pretix.event.order.denied", "Order denied", "", &classes::ORDER),
    ("pretix.event.order.deleted", "Order deleted",
     "Only orders in test mode can be deleted.", &classes::ORDER_DELETED),
    ("pretix.event.checkin", "Ticket checked in", "", &classes::CHECKIN),
    ("pretix.event.checkin.reverted", "Ticket check-in reverted", "", &classes::CHECKIN),
    ("pretix.event.added", "Event created", "", &classes::EVENT),
    ("pretix.event.changed", "Event details changed", "", &classes::EVENT),
    ("pretix.event.deleted", "Event deleted", "", &classes::EVENT_DELETED),
    ("pretix.subevent.added", "Event series date added", "", &classes::SUBEVENT),
    ("pretix.subevent.changed", "Event series date changed", "", &classes::SUBEVENT),
    ("pretix.subevent.deleted", "Event series date deleted", "", &classes::SUBEVENT),
    ("pretix.event.item.*", "Product changed",
     "New and deleted products count, and so does what belongs to a product.", &classes::ITEM),
    ("pretix.event.quota.*", "Quota changed",
     "When one is created, deleted, opened or closed. Availability does not count.", &classes::ITEM),
    ("pretix.event.live.activated", "Shop taken live", "", &classes::EVENT),
    ("pretix.event.live.deactivated", "Shop taken offline", "", &classes::EVENT),
    ("pretix.event.testmode.activated", "Test-Mode of shop has been activated", "", &classes::EVENT),
    ("pretix.event.testmode.deactivated", "Test-Mode of shop has been deactivated",
     "", &classes::EVENT),
    ("pretix.event.orders.waitinglist.added", "Waiting list entry added", "", &classes::WAITING),
    ("pretix.event.orders.waitinglist.changed", "Waiting list entry changed", "", &classes::WAITING),
    ("pretix.event.orders.waitinglist.deleted", "Waiting list entry deleted", "", &classes::WAITING),
    ("pretix.event.orders.waitinglist.voucher_assigned", "Waiting list entry received voucher",
     "", &classes::WAITING),
    ("pretix.voucher.added", "Voucher added", "", &classes::VOUCHER),
    ("pretix.voucher.changed", "Voucher changed",
     "When somebody edits it, not when it is redeemed.", &classes::VOUCHER),
    ("pretix.voucher.deleted", "Voucher deleted", "", &classes::VOUCHER),
    ("pretix.customer.created", "Customer account created", "", &classes::CUSTOMER),
    ("pretix.customer.changed", "Customer account changed", "", &classes::CUSTOMER),
    ("pretix.customer.anonymized", "Customer account anonymized", "", &classes::CUSTOMER),
    ("pretix.giftcards.created", "Gift card added", "", &classes::GIFTCARD),
    ("pretix.giftcards.modified", "Gift card modified", "", &classes::GIFTCARD),
    ("pretix.giftcards.transaction.*", "Gift card used in transaction", "", &classes::GIFTCARD_USED),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(action: &str) -> Option<String> {
        let extra = ActionType {
            key: "plugin.badge.*".to_owned(),
            label: String::new(),
            help: String::new(),
        };
        let action_types = ActionTypes::with(&[extra]);
        action_types.of(action).map(|kind| kind.key.clone())
    }

    #[test]
    fn an_action_stands_for_the_most_specific_type() {
        for (action, key) in [
            ("pretix.event.order.paid", "pretix.event.order.paid"),
            (
                "pretix.event.order.changed.item",
                "pretix.event.order.changed.*",
            ),
            ("pretix.event.item.added", "pretix.event.item.*"),
            ("pretix.event.item.variation.added", "pretix.event.item.*"),
            ("pretix.event.quota.closed", "pretix.event.quota.*"),
            (
                "pretix.giftcards.transaction.manual",
                "pretix.giftcards.transaction.*",
            ),
            ("plugin.badge.printed.twice", "plugin.badge.*"),
        ] {
            assert_eq!(mapped(action).as_deref(), Some(key));
        }
    }

    #[test]
    fn what_nobody_can_subscribe_to_stands_for_none() {
        for action in [
            "",
            ".",
            "pretix.event.order",
            "pretix.event.order.comment",
            "pretix.event.order.changed",
            "pretix.event.checkin.denied",
            "pretix.subevent.quota.added",
            "pretix.subevent.canceled",
            "pretix.voucher.redeemed",
            "pretix.voucher.added.waitinglist",
            "pretix.customer.membership.created",
            "pretix.event.settings",
            "pretix.event.order.payment.started",
        ] {
            assert_eq!(mapped(action), None, "{action}");
        }
    }

    #[test]
    fn what_was_most_likely_meant_is_a_concrete_action() {
        let action_types = ActionTypes::with(&[]);
        for (action, meant) in [
            ("order.paid", Some("pretix.event.order.paid")),
            (
                "order.changed.item",
                Some("pretix.event.order.changed.item"),
            ),
            ("pretix.event.items.added", Some("pretix.event.item.added")),
            (
                "pretix.event.order.plcaed",
                Some("pretix.event.order.placed"),
            ),
            ("my.plugin.badge", None),
        ] {
            assert_eq!(action_types.nearest(action).as_deref(), meant, "{action}");
        }
    }

    #[test]
    fn an_operator_cannot_register_a_type_twice() {
        let extra = ActionType {
            key: "pretix.event.order.paid".to_owned(),
            label: "Another".to_owned(),
            help: String::new(),
        };
        let action_types = ActionTypes::with(&[extra]);
        assert_eq!(action_types.iter().count(), 47);
        assert!(action_types.iter().all(|kind| kind.label != "Another"));
    }
}
