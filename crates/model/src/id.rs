//! Ids: what they name, how they print, how they are read back.
//!
//! The store hands them out; [`contract`](crate::contract) says what it guarantees of their order.
//! A delivery has no number of its own: it is one notification owed to one webhook, so that pair
//! names it, and no pair can be owed twice.

use std::fmt;
use std::str::FromStr;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

numbered!(
    /// A tenant, over all dialects.
    TenantId
);
numbered!(
    /// A webhook, over all tenants. Starts at 1 on an empty store.
    WebhookId
);
numbered!(
    /// A notification in this store; the application's own name for it is its key.
    NotificationId
);
numbered!(
    /// Somebody who signs in.
    UserId
);
numbered!(
    /// One listing of a token.
    TokenId
);
numbered!(
    /// Something done to many deliveries.
    BulkJobId
);

/// One notification owed to one webhook. Prints as `dlv_<notification>_<webhook>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    pub notification: NotificationId,
    pub webhook: WebhookId,
}

impl DeliveryId {
    const PREFIX: &'static str = "dlv_";
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}_{}", Self::PREFIX, self.notification, self.webhook)
    }
}

/// What was given is not the id of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a delivery, such as dlv_12_3")]
pub struct InvalidDeliveryId;

impl FromStr for DeliveryId {
    type Err = InvalidDeliveryId;

    fn from_str(text: &str) -> Result<Self, InvalidDeliveryId> {
        let number = |digits: &str| {
            let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
            if plain {
                digits.parse::<i64>().map_err(|_| InvalidDeliveryId)
            } else {
                Err(InvalidDeliveryId)
            }
        };
        let (notification, webhook) = text
            .strip_prefix(Self::PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .ok_or(InvalidDeliveryId)?;
        Ok(Self {
            notification: NotificationId(number(notification)?),
            webhook: WebhookId(number(webhook)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_id_prints_as_it_is_read() {
        let id = DeliveryId {
            notification: NotificationId(128),
            webhook: WebhookId(7),
        };
        assert_eq!(id.to_string(), "dlv_128_7");
        assert_eq!("dlv_128_7".parse(), Ok(id));
    }

    #[test]
    fn what_is_not_a_delivery_id_is_refused() {
        for text in [
            "",
            "dlv_",
            "dlv_1",
            "dlv_1_",
            "dlv_+1_2",
            "dlv_01_2",
            "1_2",
            "dlv_1_2_3",
            "dlv_99999999999999999999_1",
            "dlv_-1_2",
        ] {
            assert_eq!(text.parse::<DeliveryId>(), Err(InvalidDeliveryId), "{text}");
        }
    }

    mod fuzz;
}
