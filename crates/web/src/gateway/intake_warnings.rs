//! Intake warnings, in the log and in answers: applications hand in something that no webhook can
//! get, or that is refused. Each is said once, or once in a while, however often it comes.
//!
//! What is remembered for that is bounded and may be forgotten: then something is said twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::id::TenantId;
use model::limits::{INTAKE_WARNINGS_MAX, UNKNOWN_TYPES_MAX};
use model::tenant::Tenant;
use tokio::time::Instant;

use crate::sync::lock;

/// How often one tenant's refusals of one status are logged.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

/// The most characters of a reason.
const REASON_CHARS_MAX: usize = 300;

#[derive(Default)]
pub(crate) struct IntakeWarnings {
    unknown: Mutex<BTreeMap<TenantId, UnknownTypes>>,
    refused: Mutex<BTreeMap<(TenantId, u16), RefusalLog>>,
}

/// Of one tenant: action types that nobody can subscribe to, with the warning for each.
#[derive(Default)]
struct UnknownTypes {
    words: BTreeMap<String, Arc<str>>,
    is_full_said: bool,
}

struct RefusalLog {
    said_at: Instant,
    /// Those not logged since.
    others: u64,
}

impl IntakeWarnings {
    /// The warning for an action type that nobody can subscribe to; it is logged once. `judged`
    /// makes it for a type that is new, as long as there is room.
    pub(crate) fn unknown_type(
        &self,
        tenant: &Tenant,
        action_type: &str,
        judged: impl FnOnce() -> String,
    ) -> Arc<str> {
        let mut all = lock(&self.unknown);
        if all.len() >= INTAKE_WARNINGS_MAX && !all.contains_key(&tenant.id) {
            all.clear();
        }
        let own = all.entry(tenant.id).or_default();
        if let Some(words) = own.words.get(action_type) {
            return Arc::clone(words);
        }
        let tenant = tenant.key.as_str();
        if own.words.len() >= UNKNOWN_TYPES_MAX {
            if !own.is_full_said {
                own.is_full_said = true;
                tracing::warn!(
                    tenant,
                    "very many action types that nobody can subscribe to are handed in; no more \
                     of them are named"
                );
            }
            return Arc::from("No webhook can ask for this action type.");
        }
        let words: Arc<str> = Arc::from(judged());
        own.words.insert(action_type.to_owned(), Arc::clone(&words));
        drop(all);
        tracing::warn!(
            tenant,
            action_type,
            warning = &*words,
            "nobody can subscribe to an action type that was handed in"
        );
        words
    }

    /// Logs that something handed in was refused, unless that was logged lately.
    pub(crate) fn refused(
        &self,
        tenant: &Tenant,
        token: &str,
        status: u16,
        reason: impl FnOnce() -> String,
    ) {
        if let Some(others) = self.is_to_be_said((tenant.id, status)) {
            let tenant = tenant.key.as_str();
            let reason: String = reason().chars().take(REASON_CHARS_MAX).collect();
            tracing::warn!(
                tenant,
                token,
                status,
                reason,
                others,
                "what an application handed in was refused"
            );
        }
    }

    /// Whether to log this now, and how many there were since the last time.
    fn is_to_be_said(&self, what: (TenantId, u16)) -> Option<u64> {
        let now = Instant::now();
        let mut all = lock(&self.refused);
        if let Some(refused) = all.get_mut(&what)
            && now.duration_since(refused.said_at) < REFUSED_EVERY
        {
            refused.others = refused.others.saturating_add(1);
            return None;
        }
        if all.len() >= INTAKE_WARNINGS_MAX {
            all.retain(|_, refused| now.duration_since(refused.said_at) < REFUSED_EVERY);
        }
        if all.len() >= INTAKE_WARNINGS_MAX {
            return None;
        }
        let fresh = RefusalLog {
            said_at: now,
            others: 0,
        };
        let before = all.insert(what, fresh);
        Some(before.map_or(0, |refused| refused.others))
    }
}

#[cfg(test)]
mod tests {
    use model::tenant::DialectName;

    use super::*;

    fn tenant(id: i64) -> Tenant {
        Tenant {
            id: TenantId(id),
            dialect: DialectName::new("pretix"),
            key: format!("tenant{id}"),
            name: String::new(),
        }
    }

    #[test]
    fn an_unknown_type_is_judged_once_for_each_tenant_and_so_many_at_most() {
        let intake_warnings = IntakeWarnings::default();
        let mut asked = 0;
        let mut ask = |tenant_id, action_type: &str| {
            let judged = || {
                asked += 1;
                format!("about {action_type}")
            };
            intake_warnings
                .unknown_type(&tenant(tenant_id), action_type, judged)
                .to_string()
        };
        for _ in 0..3 {
            assert_eq!(ask(1, "a"), "about a");
        }
        assert_eq!(ask(2, "a"), "about a");
        for n in 1..UNKNOWN_TYPES_MAX {
            ask(1, &n.to_string());
        }
        assert_eq!(
            ask(1, "one more"),
            "No webhook can ask for this action type."
        );
        assert_eq!(ask(1, "a"), "about a");
        assert_eq!(ask(2, "b"), "about b");
        assert_eq!(asked, UNKNOWN_TYPES_MAX + 2);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_said_once_a_minute_with_how_many_there_were() {
        let intake_warnings = IntakeWarnings::default();
        let said = |tenant, status| intake_warnings.is_to_be_said((TenantId(tenant), status));
        assert_eq!(said(1, 409), Some(0));
        assert_eq!((said(1, 409), said(1, 409)), (None, None));
        // Another tenant's, and those of another kind, are not hidden behind them.
        assert_eq!((said(2, 409), said(1, 400)), (Some(0), Some(0)));
        tokio::time::advance(REFUSED_EVERY).await;
        assert_eq!(said(1, 409), Some(2));
        assert_eq!(said(1, 409), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_of_refusals_is_bounded() {
        let intake_warnings = IntakeWarnings::default();
        let said = |tenant| intake_warnings.is_to_be_said((TenantId(tenant), 400));
        for tenant in (0..).take(INTAKE_WARNINGS_MAX) {
            assert_eq!(said(tenant), Some(0));
        }
        assert_eq!(said(-1), None);
        assert_eq!(lock(&intake_warnings.refused).len(), INTAKE_WARNINGS_MAX);
        tokio::time::advance(REFUSED_EVERY).await;
        assert_eq!(said(-1), Some(0));
        assert_eq!(lock(&intake_warnings.refused).len(), 1);
    }
}
