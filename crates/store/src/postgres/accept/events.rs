//! Shows that notifications are about, and which of them have to be registered.

use std::collections::{BTreeMap, BTreeSet};

use model::id::TenantId;
use model::limits::EVENTS_REGISTERED_MAX;
use model::notification::NewNotification;

use crate::postgres::accept::statements::{EVENTS, REGISTERED};
use crate::postgres::accept::talk::{Answers, Statements};
use crate::postgres::text::SafeText;
use crate::sql::intake_cache::EventCache;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::rows;

type Slug<'a> = (TenantId, &'a str);

/// The shows of a group of which it is not known whether they are registered.
pub(super) struct UnknownEvents<'a> {
    slugs: Vec<Slug<'a>>,
    tenants: Vec<i64>,
    names: Vec<SafeText<'a>>,
}

/// The shows of a group that are not registered.
#[derive(Default)]
pub(super) struct NewEvents<'a> {
    slugs: BTreeSet<Slug<'a>>,
    /// How many each tenant has, where it was asked.
    counts: BTreeMap<TenantId, usize>,
    tenants: Vec<i64>,
    most: i64,
}

impl<'a> UnknownEvents<'a> {
    pub(super) fn new(news: &[&'a NewNotification], cache: &EventCache) -> Self {
        let named = news.iter().filter_map(|new| {
            let slug = new.event.as_deref()?;
            (!cache.is_settled(new.tenant, slug)).then_some((new.tenant, slug))
        });
        let slugs: BTreeSet<Slug<'a>> = named.collect();
        let slugs: Vec<Slug<'a>> = slugs.into_iter().collect();
        Self {
            tenants: slugs.iter().map(|(tenant, _)| tenant.0).collect(),
            names: slugs.iter().map(|(_, slug)| SafeText(slug)).collect(),
            slugs,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slugs.is_empty()
    }

    pub(super) fn ask<'b>(&'b self, statements: &mut Statements<'b>) {
        if !self.is_empty() {
            statements.add(REGISTERED, vec![&self.tenants, &self.names]);
        }
    }

    /// Takes the answer, and caches which are registered.
    pub(super) fn read(
        &self,
        answers: &mut Answers,
        cache: &mut EventCache,
    ) -> Result<NewEvents<'a>, JobError> {
        let mut new = NewEvents::default();
        if self.is_empty() {
            return Ok(new);
        }
        let rows = answers.next()?.rows;
        for ((tenant, slug), row) in self.slugs.iter().zip(&rows) {
            match row.column(0)? {
                true => cache.keep(*tenant, slug),
                false => drop(new.slugs.insert((*tenant, *slug))),
            }
        }
        Ok(new)
    }
}

impl<'a> NewEvents<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.slugs.is_empty()
    }

    /// Leaves out those of other tenants.
    pub(super) fn retain(&mut self, is_meant: impl Fn(TenantId) -> bool) {
        self.slugs.retain(|(tenant, _)| is_meant(*tenant));
        let tenants: BTreeSet<i64> = self.slugs.iter().map(|(tenant, _)| tenant.0).collect();
        self.tenants = tenants.into_iter().collect();
        self.most = rows::bound(EVENTS_REGISTERED_MAX);
    }

    /// Asks how many each tenant has.
    pub(super) fn ask<'b>(&'b self, statements: &mut Statements<'b>) {
        statements.add(EVENTS, vec![&self.tenants, &self.most]);
    }

    pub(super) fn read(&mut self, answers: &mut Answers) -> Result<(), JobError> {
        let rows = answers.next()?.rows;
        for (tenant, row) in self.tenants.iter().zip(&rows) {
            let count: i64 = row.column(0)?;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            self.counts.insert(TenantId(*tenant), count);
        }
        Ok(())
    }

    /// Whether this show is to be registered.
    pub(super) fn is_due(&self, tenant: TenantId, slug: &str) -> bool {
        self.slugs.contains(&(tenant, slug)) && self.count(tenant) < EVENTS_REGISTERED_MAX
    }

    /// Whether this show cannot be registered because the tenant has too many.
    pub(super) fn is_too_many(&self, tenant: TenantId, slug: &str) -> bool {
        self.slugs.contains(&(tenant, slug)) && self.count(tenant) >= EVENTS_REGISTERED_MAX
    }

    /// It is being registered.
    pub(super) fn take(&mut self, tenant: TenantId, slug: &'a str) -> usize {
        self.slugs.remove(&(tenant, slug));
        let count = self.counts.entry(tenant).or_default();
        *count += 1;
        *count
    }

    pub(super) fn count(&self, tenant: TenantId) -> usize {
        self.counts.get(&tenant).copied().unwrap_or(0)
    }
}
