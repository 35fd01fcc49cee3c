//! Live updates of a log page: new lines, and changes to those that are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::id::{DeliveryId, TenantId, WebhookId};
use model::limits::PAGE_ROWS_MAX;
use model::query::{LogCursor, LogQuery, LogRow};
use model::refusal::Refusal;
use model::time::Timestamp;
use model::users::Role;

use super::filter::LogFilter;
use super::row::{self, RowContext, WebhookNames};
use crate::dashboard::layout::path_of;
use crate::dashboard::live::{self, Feed, FeedItem, FeedUpdate, NewsFuture};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::response::{PageError, PageResponse};
use crate::dashboard::visit::Visit;
use crate::dialect::value::Dialect;

/// An outcome is written at most this long after its attempt ended, nearly always much sooner.
const SLACK_MS: i64 = 30_000;

/// With a filter by status, lines begin to match long after they were added: the whole page is read
/// again, but not each second.
const WHOLE_EVERY_MS: i64 = 3_000;

pub(super) async fn follow_log(visit: Visit) -> Result<PageResponse, PageError> {
    follow(&visit, None)
}

pub(super) async fn follow_webhook(visit: Visit) -> Result<PageResponse, PageError> {
    let id = WebhookId(visit.id("webhook")?);
    follow(&visit, Some(id))
}

fn follow(visit: &Visit, webhook: Option<WebhookId>) -> Result<PageResponse, PageError> {
    let tenant = visit.tenant()?;
    let filter = LogFilter::of(&visit.query);
    if !filter.faults.is_empty() {
        return Err(PageError::NotFound);
    }
    let (newest, at) = read_mark(live::mark_of(visit));
    let feed = LogFeed {
        tenant: tenant.id,
        dialect: visit.dialect()?,
        webhook,
        filter,
        around: RowContext {
            path: path_of(tenant),
            may_edit: visit.may(Role::Edit),
            names_webhook: webhook.is_none(),
            names: WebhookNames::default(),
            now: visit.now,
        },
        newest,
        at,
        known: BTreeMap::new(),
        whole_at: None,
        too_many: false,
        is_behind: false,
    };
    live::follow(visit, feed)
}

/// The mark of a page: its newest line, and when it was made.
pub(super) fn mark(newest: Option<DeliveryId>, at: Timestamp) -> String {
    let newest = newest.map_or_else(|| "0".to_owned(), |id| id.to_string());
    format!("{newest}.{}", at.as_millis())
}

/// An invalid mark stands for an empty page.
fn read_mark(mark: &str) -> (Option<DeliveryId>, Timestamp) {
    let (newest, at) = mark.split_once('.').unwrap_or_default();
    let at = at.parse().map_or(Timestamp::EPOCH, Timestamp::from_millis);
    (newest.parse().ok(), at)
}

struct LogFeed {
    tenant: TenantId,
    dialect: Arc<Dialect>,
    webhook: Option<WebhookId>,
    filter: LogFilter,
    around: RowContext,
    /// The newest delivery up to which the log was read.
    newest: Option<DeliveryId>,
    /// When.
    at: Timestamp,
    /// The lines that are followed, as they were sent last, newest first.
    known: BTreeMap<DeliveryId, LogRow>,
    /// When the whole page was last read.
    whole_at: Option<Timestamp>,
    /// More arrived than was sent, so no new lines are sent any more.
    too_many: bool,
    /// The search stopped at its bound and has to go on.
    is_behind: bool,
}

impl Feed for LogFeed {
    fn look<'a>(&'a mut self, context: &'a PageContext, now: Timestamp) -> NewsFuture<'a> {
        Box::pin(async move {
            self.around.now = now;
            let mut news = FeedUpdate::default();
            let had_too_many = self.too_many;
            let mut lines = Vec::new();
            match self.whole_at {
                None => {
                    lines = self.began(context).await?;
                    self.whole_at = Some(now);
                }
                Some(at) if self.filter.has_status() => {
                    lines.extend(self.changed(context).await?);
                    if (0..WHOLE_EVERY_MS).contains(&now.ms_since(at)) {
                        news.again = true;
                    } else {
                        lines.extend(self.whole(context).await?);
                        self.whole_at = Some(now);
                    }
                }
                Some(_) => {
                    lines.extend(self.changed(context).await?);
                    if !self.too_many {
                        lines.extend(self.newer(context).await?);
                    }
                }
            }
            // Oldest first: each goes above those before it.
            lines.sort_by_key(|line| line.row.id);
            let names = &mut self.around.names;
            names
                .learn(&lines, self.tenant, &self.dialect, context)
                .await?;
            for line in lines {
                let part = row::part(&line, &self.around)?;
                news.tidings.push(FeedItem::Put(part));
                self.known.insert(line.row.id, line);
            }
            while self.known.len() > PAGE_ROWS_MAX {
                self.known.pop_first();
            }
            if self.too_many && !had_too_many {
                news.tidings.push(FeedItem::TooMany);
            }
            news.again |= self.is_behind;
            news.mark = mark(self.newest, now);
            Ok(news)
        })
    }
}

impl LogFeed {
    /// What the page of this mark does not show: lines above its newest, and changes to those
    /// below.
    async fn began(&mut self, context: &PageContext) -> Result<Vec<LogRow>, Refusal> {
        let (newest, since) = (self.newest, self.at.plus_ms(-SLACK_MS));
        let rows = self.whole(context).await?;
        let is_new = |row: &LogRow| newest.is_none_or(|newest| row.row.id > newest);
        if newest.is_some() && rows.len() >= PAGE_ROWS_MAX && rows.iter().all(is_new) {
            self.too_many = true;
            return Ok(Vec::new());
        }
        let mut told = Vec::new();
        for row in rows {
            if is_new(&row) || row.row.ended_at.is_none_or(|ended_at| ended_at >= since) {
                told.push(row);
            } else {
                self.known.insert(row.row.id, row);
            }
        }
        Ok(told)
    }

    /// Lines of the first page that have changed or are new.
    async fn whole(&mut self, context: &PageContext) -> Result<Vec<LogRow>, Refusal> {
        let head = self.head(context).await?;
        let (tenant, ask) = (self.tenant, self.filter.ask(self.webhook, None));
        let page = context
            .store
            .ask(|store| store.log(tenant, ask.clone()))
            .await?;
        let newest = page.rows.first().map(|line| line.row.id);
        self.newest = self.newest.max(head).max(newest);
        let mut rows = page.rows;
        rows.retain(|line| self.known.get(&line.row.id) != Some(line));
        Ok(rows)
    }

    /// Lines that were added after those already read.
    async fn newer(&mut self, context: &PageContext) -> Result<Vec<LogRow>, Refusal> {
        // Before reading: everything below was seen then, whether it matched or not.
        let head = self.head(context).await?;
        let tenant = self.tenant;
        let from = self.newest.map(LogCursor::NewerThan);
        let ask = self.filter.ask(self.webhook, from);
        let page = context
            .store
            .ask(|store| store.log(tenant, ask.clone()))
            .await?;
        let newest = page.rows.first().map(|line| line.row.id);
        match page.newer {
            Some(_) if page.rows.len() >= PAGE_ROWS_MAX => {
                self.too_many = true;
                return Ok(Vec::new());
            }
            // The search stopped at its bound, and goes on there.
            Some(searched_until) => self.newest = self.newest.max(Some(searched_until)).max(newest),
            None => self.newest = self.newest.max(head).max(newest),
        }
        self.is_behind = page.newer.is_some();
        Ok(page.rows)
    }

    /// The newest delivery of the tenant, whether it matches or not; `None` without a filter.
    async fn head(&self, context: &PageContext) -> Result<Option<DeliveryId>, Refusal> {
        if self.webhook.is_none() && self.filter.is_empty() {
            return Ok(None);
        }
        let tenant = self.tenant;
        let ask = LogQuery {
            limit: 1,
            ..LogQuery::default()
        };
        let page = context
            .store
            .ask(|store| store.log(tenant, ask.clone()))
            .await?;
        Ok(page.rows.first().map(|line| line.row.id))
    }

    /// Lines that have changed since they were sent.
    async fn changed(&mut self, context: &PageContext) -> Result<Vec<LogRow>, Refusal> {
        let tenant = self.tenant;
        let known: Vec<DeliveryId> = self.known.keys().copied().collect();
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let rows = context
            .store
            .ask(|store| store.log_rows(tenant, known.clone()));
        let mut rows = rows.await?;
        rows.retain(|line| self.known.get(&line.row.id) != Some(line));
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_made_and_others_stand_for_nothing() {
        let (id, at) = ("dlv_12_3".parse().ok(), Timestamp::from_millis(5));
        assert_eq!(read_mark(&mark(id, at)), (id, at));
        assert_eq!(read_mark(&mark(None, at)), (None, at));
        for odd in ["", ".", "x.y", "dlv_1_1", "0.99999999999999999999"] {
            assert_eq!(read_mark(odd), (None, Timestamp::EPOCH), "{odd}");
        }
    }
}
