//! Classes of notifications: which keys each has, and in which order (`docs/receiving.md`).

/// What notifications of some action types have in common.
#[derive(Debug)]
pub(super) struct NotificationClass {
    pub(super) keys: &'static [(&'static str, KeyRule)],
    /// Whether the log of pretix files them under an event, so that event filters hold.
    has_scope: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum KeyRule {
    /// The notification's id; made if it is not given.
    Id,
    /// The organizer of the path; filled in.
    Organizer,
    Action,
    /// A text that must be there.
    Name,
    /// A text, or null.
    NameOrNull,
    Integer,
    /// Whatever it is; null if it is not given.
    Anything,
}

pub(super) const ID: (&str, KeyRule) = ("notification_id", KeyRule::Id);
pub(super) const ORGANIZER: (&str, KeyRule) = ("organizer", KeyRule::Organizer);
const EVENT_KEY: (&str, KeyRule) = ("event", KeyRule::Name);
pub(super) const ACTION: (&str, KeyRule) = ("action", KeyRule::Action);

/// A class whose notifications are about one thing of an event.
macro_rules! about {
    ($key:literal, $rule:expr) => {
        NotificationClass {
            keys: &[ID, ORGANIZER, EVENT_KEY, ($key, $rule), ACTION],
            has_scope: true,
        }
    };
}

pub(super) static ORDER: NotificationClass = about!("code", KeyRule::Name);
pub(super) static ORDER_DELETED: NotificationClass = about!("code", KeyRule::NameOrNull);
pub(super) static SUBEVENT: NotificationClass = about!("subevent", KeyRule::Integer);
pub(super) static ITEM: NotificationClass = about!("item", KeyRule::Integer);
pub(super) static VOUCHER: NotificationClass = about!("voucher", KeyRule::Integer);
pub(super) static WAITING: NotificationClass = about!("waitinglistentry", KeyRule::Integer);

pub(super) static CHECKIN: NotificationClass = NotificationClass {
    keys: &[
        ID,
        ORGANIZER,
        EVENT_KEY,
        ("code", KeyRule::Name),
        ACTION,
        ("orderposition_id", KeyRule::Anything),
        ("orderposition_positionid", KeyRule::Anything),
        ("checkin_list", KeyRule::Anything),
        ("type", KeyRule::Anything),
        ("first_checkin", KeyRule::Anything),
    ],
    has_scope: true,
};

pub(super) static EVENT: NotificationClass = NotificationClass {
    keys: &[ID, ORGANIZER, EVENT_KEY, ACTION],
    has_scope: true,
};

pub(super) static EVENT_DELETED: NotificationClass = NotificationClass {
    keys: &[ID, ORGANIZER, ("event", KeyRule::NameOrNull), ACTION],
    has_scope: false,
};

pub(super) static CUSTOMER: NotificationClass = NotificationClass {
    keys: &[ID, ORGANIZER, ("customer", KeyRule::Name), ACTION],
    has_scope: false,
};

pub(super) static GIFTCARD: NotificationClass = NotificationClass {
    keys: &[
        ID,
        ("issuer_id", KeyRule::Integer),
        ("issuer_slug", KeyRule::Organizer),
        ("giftcard", KeyRule::Integer),
        ACTION,
    ],
    has_scope: false,
};

pub(super) static GIFTCARD_USED: NotificationClass = NotificationClass {
    keys: &[
        ID,
        ("issuer_id", KeyRule::Integer),
        ("issuer_slug", KeyRule::Organizer),
        ("acceptor_id", KeyRule::Anything),
        ("acceptor_slug", KeyRule::NameOrNull),
        ("giftcard", KeyRule::Integer),
        ACTION,
    ],
    has_scope: false,
};

impl NotificationClass {
    /// The keys of its notifications, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|(name, _)| *name)
    }

    pub(super) fn has_scope(&self) -> bool {
        self.has_scope
    }
}
