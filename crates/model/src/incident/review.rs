//! The review: what the watch has found becomes incidents that begin, go on or end, and alerts.
//! A plain function of what is known.

use std::collections::BTreeMap;

use super::{
    AlertKind, AlertRules, Audience, Condition, Incident, IncidentChange, IncidentKind,
    OldestRound, ToldKinds, Watched, WebhookState,
};
use crate::id::{TenantId, WebhookId};
use crate::time::Timestamp;

/// An incident with what there is to tell of it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub incident: Incident,
    /// What holds now, told or not.
    pub holds: Vec<AlertKind>,
    /// It is over: it ends once those are told so who were told that it began.
    pub is_over: bool,
    /// It ends, and nobody is told.
    pub is_void: bool,
    /// As it was read; `None` if it begins.
    before: Option<Incident>,
    oldest: Option<OldestRound>,
    /// When the oldest delivery of the webhook is given up.
    pub gives_up_at: Option<Timestamp>,
    /// Of a server's: what is wrong.
    pub words: Option<String>,
}

/// Which alerts who wants, of those that may have something to tell.
pub type Audiences = BTreeMap<Audience, Vec<AlertKind>>;

/// An alert: one kind for one audience, about one or more incidents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub audience: Audience,
    pub kind: AlertKind,
    /// By their places in the cases, those that began first first.
    pub cases: Vec<usize>,
}

/// What comes of looking at everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Review {
    pub changes: Vec<IncidentChange>,
    pub messages: Vec<Message>,
}

/// The incidents there are, from what was seen. `gives_up_at` says when a delivery is given up.
pub fn review(
    watched: &Watched,
    conditions: &[Condition],
    rules: &AlertRules,
    now: Timestamp,
    gives_up_at: impl Fn(&OldestRound) -> Option<Timestamp>,
) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (incident, state) in &watched.open {
        cases.push(match incident.about {
            Some(_) => of_webhook(incident, state, rules, now),
            None => of_server(incident, conditions, rules, now),
        });
    }
    let is_open = |kind, webhook: Option<WebhookId>| {
        let mut open = watched.open.iter().map(|(incident, _)| incident);
        open.any(|own| own.kind == kind && own.about.map(|(_, webhook)| webhook) == webhook)
    };
    for failing in &watched.failing {
        if !is_open(IncidentKind::Failing, Some(failing.webhook)) {
            let about = Some((failing.tenant, failing.webhook));
            let state = WebhookState {
                enabled: true,
                is_held: false,
                failing_since: Some(failing.since),
                oldest: failing.oldest.clone(),
            };
            let fresh = begun(IncidentKind::Failing, about, failing.since);
            cases.push(Case {
                before: None,
                ..of_webhook(&fresh, &state, rules, now)
            });
        }
    }
    for gone in &watched.gone {
        let about = Some((gone.tenant, gone.webhook));
        let fresh = begun(IncidentKind::Gone, about, gone.at);
        cases.push(Case {
            before: None,
            ..of_webhook(&fresh, &WebhookState::default(), rules, now)
        });
    }
    for condition in conditions {
        if !is_open(condition.kind, None) {
            let fresh = begun(condition.kind, None, now);
            cases.push(Case {
                before: None,
                ..of_server(&fresh, conditions, rules, now)
            });
        }
    }
    for case in &mut cases {
        case.foresee(rules, now, &gives_up_at);
    }
    cases
}

fn begun(
    kind: IncidentKind,
    about: Option<(TenantId, WebhookId)>,
    began_at: Timestamp,
) -> Incident {
    Incident {
        id: None,
        kind,
        about,
        began_at,
        quiet_since: None,
        told_tenant: ToldKinds::default(),
        told_server: ToldKinds::default(),
    }
}

fn of_webhook(
    incident: &Incident,
    state: &WebhookState,
    rules: &AlertRules,
    now: Timestamp,
) -> Case {
    let mut case = Case::of(incident);
    if incident.kind == IncidentKind::Gone {
        // It happened; there is nothing to wait for but that it is told.
        let is_old = now.ms_since(incident.began_at) > GONE_TOLD_WITHIN_MS;
        case.is_void = is_old;
        case.is_over = true;
        case.holds.push(AlertKind::Gone);
        return case;
    }
    if !state.enabled {
        case.is_void = true;
        return case;
    }
    if state.is_held {
        case.incident.quiet_since = None;
        return case;
    }
    if state.failing_since.is_some() {
        case.incident.quiet_since = None;
        case.oldest.clone_from(&state.oldest);
        case.holds.push(AlertKind::Failing);
        if now.ms_since(incident.began_at) >= rules.failing_for_long_after_ms {
            case.holds.push(AlertKind::FailingForLong);
        }
        return case;
    }
    case.quiet(AlertKind::Recovered, rules, now);
    case
}

/// That a webhook was disabled is told within this time, or not any more.
const GONE_TOLD_WITHIN_MS: i64 = 24 * 60 * 60 * 1_000;

fn of_server(
    incident: &Incident,
    conditions: &[Condition],
    rules: &AlertRules,
    now: Timestamp,
) -> Case {
    let mut case = Case::of(incident);
    let found = conditions.iter().find(|own| own.kind == incident.kind);
    let (begins, ends) = incident.kind.alerts();
    match (found, ends) {
        (Some(condition), _) => {
            case.words = Some(condition.words.clone());
            case.incident.quiet_since = None;
            if now.ms_since(incident.began_at) >= rules.server_after_ms {
                case.holds.push(begins);
            }
        }
        (None, Some(ends)) => case.quiet(ends, rules, now),
        (None, None) => case.is_void = true,
    }
    case
}

impl Case {
    fn of(incident: &Incident) -> Self {
        Self {
            incident: incident.clone(),
            holds: Vec::new(),
            is_over: false,
            is_void: false,
            before: Some(incident.clone()),
            oldest: None,
            gives_up_at: None,
            words: None,
        }
    }

    /// Nothing is wrong any more, at this moment.
    fn quiet(&mut self, ends: AlertKind, rules: &AlertRules, now: Timestamp) {
        let since = self.incident.quiet_since.unwrap_or(now);
        self.incident.quiet_since = Some(since);
        if now.ms_since(since) >= rules.quiet_ms {
            self.is_over = true;
            self.holds.push(ends);
        }
    }

    /// When its oldest delivery is given up, and whether that is soon.
    fn foresee(
        &mut self,
        rules: &AlertRules,
        now: Timestamp,
        gives_up_at: &impl Fn(&OldestRound) -> Option<Timestamp>,
    ) {
        let Some(oldest) = &self.oldest else {
            return;
        };
        self.gives_up_at = gives_up_at(oldest);
        let is_soon = |at: Timestamp| at.ms_since(now) <= rules.giving_up_before_ms;
        // A schedule that is shorter than that would say so of every outage.
        let lasts_ms = now.ms_since(self.incident.began_at);
        let is_late = lasts_ms >= rules.failing_after_ms.saturating_mul(2);
        if self.gives_up_at.is_some_and(is_soon) && is_late {
            self.holds.push(AlertKind::GivingUp);
        }
    }

    /// Whose it is; those who run the server hear of everything.
    pub fn audiences(&self) -> impl Iterator<Item = Audience> {
        let own = self.incident.about.map(|(tenant, _)| Some(tenant));
        own.into_iter().chain([None])
    }

    /// Whether this audience may have something to hear of it.
    pub fn may_be_news(&self, audience: Audience) -> bool {
        let mut holds = self.holds.iter();
        holds.any(|kind| self.is_news(audience, *kind))
    }

    /// Whether this audience is to be given an alert of this kind about it.
    fn is_news(&self, audience: Audience, kind: AlertKind) -> bool {
        let told = self.incident.told(audience);
        let (begins, ends) = self.incident.kind.alerts();
        // An end is news to those who know of the beginning.
        let is_known = Some(kind) != ends || told.has(begins);
        !self.is_void && self.holds.contains(&kind) && !told.has(kind) && is_known
    }
}

impl Review {
    /// What is told and written down. An audience that is not in `audiences` is told nothing.
    pub fn of(
        mut cases: Vec<Case>,
        audiences: &Audiences,
        watched: &Watched,
        rules: &AlertRules,
        now: Timestamp,
    ) -> (Self, Vec<Case>) {
        let mut messages = Vec::new();
        for (audience, kinds) in audiences {
            for kind in kinds {
                let last = watched.told.get(&(*audience, *kind));
                if last.is_some_and(|at| *at <= now && now.ms_since(*at) < rules.gap_ms) {
                    continue;
                }
                let about = |case: &Case| case.audiences().any(|own| own == *audience);
                let mut found: Vec<usize> = Vec::new();
                for (index, case) in cases.iter().enumerate() {
                    if about(case) && case.is_news(*audience, *kind) {
                        found.push(index);
                    }
                }
                if found.is_empty() {
                    continue;
                }
                found.sort_by_key(|index| cases.get(*index).map(|case| case.incident.began_at));
                for index in &found {
                    if let Some(case) = cases.get_mut(*index) {
                        case.incident.tell(*audience, *kind);
                    }
                }
                messages.push(Message {
                    audience: *audience,
                    kind: *kind,
                    cases: found,
                });
            }
        }
        let changes = cases.iter().filter_map(|case| case.change(audiences));
        let changes = changes.collect();
        (Self { changes, messages }, cases)
    }
}

impl Case {
    fn change(&self, audiences: &Audiences) -> Option<IncidentChange> {
        let is_left = |audience: Audience| {
            let kinds = audiences.get(&audience).into_iter().flatten();
            let mut kinds = kinds.filter(|kind| self.holds.contains(kind));
            kinds.any(|kind| self.is_news(audience, *kind))
        };
        let ends = self.is_void || (self.is_over && !self.audiences().any(is_left));
        let is_new = self.before.is_none();
        // One that nobody would ever hear of is not even begun.
        if is_new && self.is_void {
            return None;
        }
        let is_changed = self.before.as_ref() != Some(&self.incident);
        (ends || is_changed).then(|| IncidentChange {
            incident: self.incident.clone(),
            ends,
        })
    }
}

impl Incident {
    fn tell(&mut self, audience: Audience, kind: AlertKind) {
        match audience {
            Some(_) => self.told_tenant = self.told_tenant.with(kind),
            None => self.told_server = self.told_server.with(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{FailingState, GoneState};
    use crate::tenant::DialectName;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const TENANT: TenantId = TenantId(1);

    /// A store of incidents, and what was told.
    #[derive(Default)]
    struct Story {
        watched: Watched,
        conditions: Vec<Condition>,
        /// What each webhook fails since; in the order of their numbers.
        failing: BTreeMap<i64, i64>,
        told: Vec<(Audience, AlertKind, usize)>,
        next_id: i64,
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + ms)
    }

    fn everything() -> Audiences {
        Audiences::from([
            (None, AlertKind::ALL.to_vec()),
            (Some(TENANT), AlertKind::ALL.to_vec()),
        ])
    }

    impl Story {
        fn fails(&mut self, webhook: i64, since: i64) {
            self.failing.insert(webhook, since);
        }

        fn succeeds(&mut self, webhook: i64) {
            self.failing.remove(&webhook);
        }

        /// Looks at this time, with these audiences, and tells.
        fn look(&mut self, now: i64, audiences: &Audiences) {
            let rules = AlertRules::default();
            let oldest = |since: i64| OldestRound {
                began_at: at(since),
                dialect: DialectName::new("a"),
                retries_max: None,
                schedule: None,
            };
            let failing = self
                .failing
                .iter()
                .filter(|(_, since)| now - **since >= rules.failing_after_ms);
            self.watched.failing = failing
                .map(|(webhook, since)| FailingState {
                    tenant: TENANT,
                    webhook: WebhookId(*webhook),
                    since: at(*since),
                    oldest: Some(oldest(*since)),
                })
                .collect();
            for (incident, state) in &mut self.watched.open {
                let webhook = incident.about.map_or(0, |(_, webhook)| webhook.0);
                let since = self.failing.get(&webhook).copied();
                *state = WebhookState {
                    enabled: true,
                    is_held: false,
                    failing_since: since.map(at),
                    oldest: since.map(oldest),
                };
            }
            let gives_up = |oldest: &OldestRound| Some(oldest.began_at.plus_ms(72 * HOUR));
            let cases = review(&self.watched, &self.conditions, &rules, at(now), gives_up);
            let (review, _) = Review::of(cases, audiences, &self.watched, &rules, at(now));
            for message in &review.messages {
                let key = (message.audience, message.kind);
                self.watched.told.insert(key, at(now));
                self.told
                    .push((message.audience, message.kind, message.cases.len()));
            }
            for change in review.changes {
                let open = &mut self.watched.open;
                open.retain(|(own, _)| own.id.is_none() || own.id != change.incident.id);
                if change.incident.kind == IncidentKind::Gone {
                    self.watched.gone.clear();
                }
                if !change.ends {
                    self.next_id += 1;
                    let id = change.incident.id.or(Some(self.next_id));
                    open.push((
                        Incident {
                            id,
                            ..change.incident
                        },
                        WebhookState::default(),
                    ));
                }
            }
        }

        fn told_server(&self) -> Vec<(AlertKind, usize)> {
            let own = self.told.iter().filter(|(audience, ..)| audience.is_none());
            own.map(|(_, kind, count)| (*kind, *count)).collect()
        }
    }

    #[test]
    fn an_outage_is_told_once_when_it_has_lasted_and_once_when_it_is_over() {
        let mut story = Story::default();
        story.fails(7, 0);
        for minute in 0..30 {
            story.look(minute * MINUTE, &everything());
        }
        story.succeeds(7);
        for minute in 30..60 {
            story.look(minute * MINUTE, &everything());
        }
        let each = [(AlertKind::Failing, 1), (AlertKind::Recovered, 1)];
        assert_eq!(story.told_server(), each);
        assert_eq!(story.told.len(), 4, "those of the tenant as well");
        assert!(story.watched.open.is_empty());
    }

    #[test]
    fn a_receiver_that_comes_and_goes_makes_one_alert() {
        let mut story = Story::default();
        // Six minutes down, six up, for ten hours: it is never quiet for ten.
        for minute in 0..600 {
            if minute % 12 == 0 {
                story.fails(7, minute * MINUTE);
            }
            if minute % 12 == 6 {
                story.succeeds(7);
            }
            story.look(minute * MINUTE, &everything());
        }
        let failing = |(kind, _): &(AlertKind, usize)| *kind == AlertKind::Failing;
        assert_eq!(story.told_server().into_iter().filter(failing).count(), 1);
        let over = |(kind, _): &(AlertKind, usize)| *kind == AlertKind::Recovered;
        assert!(!story.told_server().iter().any(over));
    }

    #[test]
    fn an_outage_of_many_is_told_at_once_and_those_that_follow_together() {
        let mut story = Story::default();
        for webhook in 1..=80 {
            // One after the other within a minute.
            story.fails(webhook, webhook * 700);
        }
        for quarter in 0..80 {
            story.look(quarter * 15_000, &everything());
        }
        let told = story.told_server();
        assert!(told.len() <= 2, "{told:?}");
        assert_eq!(told.iter().map(|(_, count)| count).sum::<usize>(), 80);
    }

    #[test]
    fn what_lasts_for_hours_and_what_is_nearly_given_up_is_told_once_more() {
        let mut story = Story::default();
        story.fails(7, 0);
        for half_hour in 0..144 {
            story.look(half_hour * 30 * MINUTE, &everything());
        }
        let kinds: Vec<AlertKind> = story.told_server().iter().map(|(kind, _)| *kind).collect();
        let each = [
            AlertKind::Failing,
            AlertKind::FailingForLong,
            AlertKind::GivingUp,
        ];
        assert_eq!(kinds, each);
    }

    #[test]
    fn whoever_asks_later_is_told_of_what_is_wrong_now_and_not_of_what_was() {
        let mut story = Story::default();
        story.fails(7, 0);
        story.fails(8, 0);
        let nobody = Audiences::new();
        for minute in 0..20 {
            story.look(minute * MINUTE, &nobody);
        }
        story.succeeds(8);
        for minute in 20..40 {
            story.look(minute * MINUTE, &nobody);
        }
        story.look(40 * MINUTE, &everything());
        assert_eq!(story.told_server(), [(AlertKind::Failing, 1)]);
        story.succeeds(7);
        for minute in 41..60 {
            story.look(
                minute * MINUTE,
                &Audiences::from([(None, vec![AlertKind::Failing])]),
            );
        }
        assert_eq!(
            story.told_server(),
            [(AlertKind::Failing, 1)],
            "nothing else is wanted"
        );
        assert!(story.watched.open.is_empty());
    }

    #[test]
    fn a_webhook_that_is_disabled_meanwhile_is_not_told_of_again() {
        let mut story = Story::default();
        story.fails(7, 0);
        for minute in 0..10 {
            story.look(minute * MINUTE, &everything());
        }
        story.failing.clear();
        let disabled = WebhookState::default();
        for (_, state) in &mut story.watched.open {
            *state = disabled.clone();
        }
        let rules = AlertRules::default();
        let now = at(11 * MINUTE);
        story.watched.failing.clear();
        let cases = review(&story.watched, &[], &rules, now, |_| None);
        let (review, _) = Review::of(cases, &everything(), &story.watched, &rules, now);
        assert!(review.messages.is_empty());
        assert!(matches!(review.changes.as_slice(), [change] if change.ends));
    }

    #[test]
    fn a_pause_ends_nothing_and_what_goes_on_behind_it_is_not_told_again() {
        let mut story = Story::default();
        story.fails(7, 0);
        for minute in 0..10 {
            story.look(minute * MINUTE, &everything());
        }
        let rules = AlertRules::default();
        for (_, state) in &mut story.watched.open {
            state.is_held = true;
        }
        story.watched.failing.clear();
        let now = at(60 * MINUTE);
        let cases = review(&story.watched, &[], &rules, now, |_| None);
        let (held, _) = Review::of(cases, &everything(), &story.watched, &rules, now);
        assert_eq!(held, Review::default());
        story.look(61 * MINUTE, &everything());
        assert_eq!(story.told_server(), [(AlertKind::Failing, 1)]);
    }

    #[test]
    fn that_a_receiver_disabled_its_webhook_is_told_once_and_not_after_a_day() {
        let mut story = Story::default();
        let gone = |ms| GoneState {
            tenant: TENANT,
            webhook: WebhookId(7),
            at: at(ms),
        };
        story.watched.gone.push(gone(0));
        story.look(1_000, &everything());
        story.look(2_000, &everything());
        assert_eq!(story.told_server(), [(AlertKind::Gone, 1)]);
        assert!(story.watched.open.is_empty());
        let mut late = Story::default();
        late.watched.gone.push(gone(0));
        late.look(25 * HOUR, &everything());
        assert!(late.told.is_empty());
    }

    #[test]
    fn a_condition_of_the_server_has_to_last_and_is_told_to_those_who_run_it() {
        let mut story = Story::default();
        let full = Condition {
            kind: IncidentKind::Disk,
            words: "nearly full".to_owned(),
        };
        story.conditions.push(full.clone());
        story.look(0, &everything());
        story.conditions.clear();
        story.look(15_000, &everything());
        assert!(story.told.is_empty());
        story.conditions.push(full);
        for quarter in 2..10 {
            story.look(quarter * 15_000, &everything());
        }
        assert_eq!(story.told, [(None, AlertKind::Disk, 1)]);
        story.conditions.clear();
        for minute in 3..20 {
            story.look(minute * MINUTE, &everything());
        }
        assert_eq!(
            story.told.last(),
            Some(&(None, AlertKind::ServerRecovered, 1))
        );
        assert_eq!(story.told.len(), 2);
    }
}
