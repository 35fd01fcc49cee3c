//! Applies an operator's file: tenants, their events, tokens and webhooks become what it says. What
//! it does not name stays. What is already as it says is not written.

use std::collections::{BTreeMap, BTreeSet};

use model::call_limits::CallLimits;
use model::cloud_event::CloudEventChoice;
use model::contract::{Conflict, StoreError};
use model::declared_secrets::DeclaredSecrets;
use model::id::{TenantId, WebhookId};
use model::own_header::OwnHeaderId;
use model::query::{
    AppliedChange, AppliedItem, ChangeKind, Declaration, DeclaredToken, DeclaredWebhook,
};
use model::signing::SignatureId;
use model::target;
use model::tenant::{Event, TokenHash};
use model::time::Timestamp;
use model::url_marks;
use model::webhook::{DisableCause, Disablement, Webhook};
use model::webhook_tls::ClientKeyId;
use serde_json::{Value, json};

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::{
    call_limits, catalog, cloud_events, own_headers, query, signatures, webhook_rows, webhook_tls,
    webhooks,
};

shared_statements! {
    TENANT = "select id, name from tenant where dialect = ?1 and key = ?2";
    ADD_TENANT = "
        insert into tenant (dialect, key, name, created_at) values (?1, ?2, ?3, ?4)";
    RENAME_TENANT = "update tenant set name = ?2 where id = ?1";
    EVENT = "
        select slug, name, date_from from event where tenant_id = ?1 and slug = ?2";
    SAVE_EVENT = "
        insert into event (tenant_id, slug, name, date_from) values (?1, ?2, ?3, ?4)
        on conflict (tenant_id, slug) do update
        set name = excluded.name, date_from = excluded.date_from";
    TOKEN = "
        select id, hash, kind, permissions, active, is_default from token indexed by token_name
        where coalesce(tenant_id, 0) = ?1 and name = ?2";
    SAVE_TOKEN = "
        update token set hash = ?2, kind = ?3, permissions = ?4, active = ?5, is_default = ?6
        where id = ?1";
    TOKEN_WITH_HASH = "
        select id from token indexed by token_once
        where coalesce(tenant_id, 0) = ?1 and hash = ?2";
    // Until the transaction ends: a hash that no token has, so that two tokens can swap theirs.
    UNHASH_TOKEN = "
        update token set hash = cast(printf('%032d', id) as blob) where id = ?1" | "
        update token set hash = convert_to(lpad(id::text, 32, '0'), 'UTF8') where id = ?1";
    DECLARED = "
        update webhook set declared = 1
        where id = ?1 and declared is null and key is not null";
    WEBHOOK_IDS = "
        select id, target_url, disabled_at is null, key is not null
        from webhook indexed by webhook_tenant
        where tenant_id = ?1 and disabled_cause is distinct from 3
        order by id";
}

/// What is the same for everything applied to one tenant.
struct ApplyContext<'a> {
    tenant: TenantId,
    key: &'a str,
    actor: &'a str,
    at: Timestamp,
}

struct StoredToken {
    id: i64,
    hash: TokenHash,
    rest: TokenColumns,
}

/// Kind, permissions, active, default.
type TokenColumns = (i64, String, bool, bool);

pub(crate) fn apply(
    tx: &mut dyn Transaction,
    declarations: Vec<Declaration>,
    actor: &str,
    at: Timestamp,
) -> Result<Vec<AppliedChange>, JobError> {
    let mut of_each: Vec<Vec<AppliedChange>> = vec![Vec::new(); declarations.len()];
    for (place, declaration) in in_locking_order(tx, declarations)? {
        let applied = apply_one(tx, declaration, actor, at)?;
        if let Some(own) = of_each.get_mut(place) {
            *own = applied;
        }
    }
    let all: Vec<AppliedChange> = of_each.into_iter().flatten().collect();
    if all.iter().any(|item| item.change != ChangeKind::Unchanged) {
        tx.post_commit().catalog_changed();
    }
    Ok(all)
}

/// The declarations, each with its place, in the order in which whoever needs several tenants locks
/// them: by their ids, and new ones, which nobody else can know, last.
fn in_locking_order(
    tx: &dyn Transaction,
    declarations: Vec<Declaration>,
) -> Result<Vec<(usize, Declaration)>, JobError> {
    let mut ordered = Vec::with_capacity(declarations.len());
    for (place, declaration) in declarations.into_iter().enumerate() {
        let stored = catalog::tenant(tx.conn(), &declaration.dialect, &declaration.key)?;
        let id = stored.map_or(TenantId(i64::MAX), |tenant| tenant.id);
        ordered.push((id, place, declaration));
    }
    ordered.sort_by_key(|(id, place, _)| (*id, *place));
    let ordered = ordered.into_iter();
    Ok(ordered
        .map(|(_, place, declaration)| (place, declaration))
        .collect())
}

/// Applies what is declared of one tenant.
fn apply_one(
    tx: &mut dyn Transaction,
    declaration: Declaration,
    actor: &str,
    at: Timestamp,
) -> Result<Vec<AppliedChange>, JobError> {
    let (tenant, change) = apply_tenant(tx, &declaration, actor, at)?;
    let context = ApplyContext {
        tenant,
        key: &declaration.key,
        actor,
        at,
    };
    let mut all = vec![context.applied(AppliedItem::Tenant, change)];
    for event in &declaration.events {
        all.push(apply_event(tx, &context, event)?);
    }
    all.extend(apply_tokens(tx, &context, &declaration.tokens)?);
    let webhooks = apply_webhooks(tx, &context, declaration.webhooks)?;
    if webhooks
        .iter()
        .any(|item| item.change != ChangeKind::Unchanged)
    {
        webhooks::bound(tx, tenant)?;
    }
    all.extend(webhooks);
    Ok(all)
}

impl ApplyContext<'_> {
    fn applied(&self, item: AppliedItem, change: ChangeKind) -> AppliedChange {
        AppliedChange {
            tenant: self.key.to_owned(),
            item,
            change,
        }
    }
}

fn apply_tenant(
    tx: &dyn Transaction,
    declaration: &Declaration,
    actor: &str,
    at: Timestamp,
) -> Result<(TenantId, ChangeKind), JobError> {
    let (dialect, key) = (declaration.dialect.as_str(), &declaration.key);
    let stored: Option<(i64, String)> =
        query::first(tx.conn(), TENANT, values![dialect, key], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let Some((id, stored)) = stored else {
        let name = declaration.name.as_ref().unwrap_or(key);
        let id = tx.insert(ADD_TENANT, values![dialect, key, name, at.as_millis()])?;
        AuditRecord::new(TenantId(id), at, actor, "tenant.created")
            .with(json!({ "name": name }))
            .write(tx)?;
        return Ok((TenantId(id), ChangeKind::Created));
    };
    let name = declaration.name.as_ref().unwrap_or(&stored);
    if stored == *name {
        return Ok((TenantId(id), ChangeKind::Unchanged));
    }
    tx.execute(RENAME_TENANT, values![id, name])?;
    AuditRecord::new(TenantId(id), at, actor, "tenant.changed")
        .with(json!({ "before": { "name": stored }, "after": { "name": name } }))
        .write(tx)?;
    Ok((TenantId(id), ChangeKind::Changed))
}

fn apply_event(
    tx: &mut dyn Transaction,
    context: &ApplyContext<'_>,
    event: &Event,
) -> Result<AppliedChange, JobError> {
    let key = values![context.tenant.0, event.slug];
    let stored = query::list(tx.conn(), EVENT, key, rows::event)?;
    let change = match stored.first() {
        Some(stored) if stored == event => ChangeKind::Unchanged,
        Some(_) => ChangeKind::Changed,
        None => ChangeKind::Created,
    };
    if change == ChangeKind::Created {
        tx.forget_events();
    }
    if change != ChangeKind::Unchanged {
        tx.execute(
            SAVE_EVENT,
            values![
                context.tenant.0,
                event.slug,
                event.name,
                event.date_from.map(Timestamp::as_millis),
            ],
        )?;
        let action = match change {
            ChangeKind::Created => "event.created",
            ChangeKind::Changed | ChangeKind::Unchanged => "event.changed",
        };
        let mut detail = shown_event(event);
        if let Some(stored) = stored.first() {
            let (before, after) = (shown_event(stored), detail);
            detail = json!({ "event": event.slug, "before": before, "after": after });
        }
        AuditRecord::new(context.tenant, context.at, context.actor, action)
            .with(detail)
            .write(tx)?;
    }
    Ok(context.applied(AppliedItem::Event(event.slug.clone()), change))
}

fn shown_event(event: &Event) -> Value {
    json!({
        "event": event.slug,
        "name": event.name,
        "date_from": event.date_from.map(|at| at.to_string()),
    })
}

fn apply_tokens(
    tx: &mut dyn Transaction,
    context: &ApplyContext<'_>,
    tokens: &[DeclaredToken],
) -> Result<Vec<AppliedChange>, JobError> {
    let mut names = BTreeSet::new();
    let mut stored = Vec::new();
    for token in tokens {
        if !names.insert(&token.name) {
            return Err(StoreError::Conflict(Conflict::TokenName).into());
        }
        let found = find_token(tx, context.tenant, &token.name)?;
        if let (Some(found), Some(hash)) = (&found, token.hash)
            && found.hash != hash
        {
            tx.execute(UNHASH_TOKEN, values![found.id])?;
        }
        stored.push(found);
    }
    tokens
        .iter()
        .zip(stored)
        .map(|(token, stored)| apply_token(tx, context, token, stored))
        .collect()
}

fn apply_token(
    tx: &mut dyn Transaction,
    context: &ApplyContext<'_>,
    token: &DeclaredToken,
    stored: Option<StoredToken>,
) -> Result<AppliedChange, JobError> {
    let Some(stored) = stored else {
        let new = token.created_for(context.tenant);
        catalog::create_token(tx, &new, context.actor, context.at)?;
        let item = AppliedItem::Token {
            name: token.name.clone(),
            fresh: token.hash.is_none(),
        };
        return Ok(context.applied(item, ChangeKind::Created));
    };
    let item = AppliedItem::Token {
        name: token.name.clone(),
        fresh: false,
    };
    let hash = token.hash.unwrap_or(stored.hash);
    let rest = (
        rows::token_kind_number(token.kind),
        token.permissions.to_string(),
        token.active.unwrap_or(stored.rest.2),
        token.default,
    );
    if hash == stored.hash && rest == stored.rest {
        return Ok(context.applied(item, ChangeKind::Unchanged));
    }
    let taken: Option<i64> = query::first(
        tx.conn(),
        TOKEN_WITH_HASH,
        values![context.tenant.0, hash.0],
        |row| row.get(0),
    )?;
    if taken.is_some_and(|id| id != stored.id) {
        return Err(StoreError::Conflict(Conflict::TokenHash).into());
    }
    tx.execute(
        SAVE_TOKEN,
        values![stored.id, hash.0, rest.0, rest.1, rest.2, rest.3],
    )?;
    AuditRecord::new(context.tenant, context.at, context.actor, "token.changed")
        .with(json!({
            "name": token.name,
            "changed": (hash != stored.hash).then_some(["token"]),
            "before": shown_token(&stored.rest)?,
            "after": shown_token(&rest)?,
        }))
        .write(tx)?;
    Ok(context.applied(item, ChangeKind::Changed))
}

/// What is told of a token: kind, permissions, whether it is active and the default.
fn shown_token((kind, permissions, active, default): &TokenColumns) -> Result<Value, JobError> {
    Ok(json!({
        "kind": rows::kind(*kind)?.as_str(),
        "permissions": permissions,
        "active": active,
        "default": default,
    }))
}

fn find_token(
    tx: &dyn Transaction,
    tenant: TenantId,
    name: &str,
) -> Result<Option<StoredToken>, JobError> {
    query::first(tx.conn(), TOKEN, values![tenant.0, name], |row| {
        Ok(StoredToken {
            id: row.get(0)?,
            hash: rows::hash(row, 1)?,
            rest: (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?),
        })
    })
}

fn apply_webhooks(
    tx: &mut dyn Transaction,
    context: &ApplyContext<'_>,
    declared: Vec<DeclaredWebhook>,
) -> Result<Vec<AppliedChange>, JobError> {
    if declared.is_empty() {
        return Ok(Vec::new());
    }
    let matched = matched(tx, context, &declared)?;
    let all = declared.into_iter().zip(matched);
    all.map(|(declared, matched)| apply_webhook(tx, context, declared, matched))
        .collect()
}

/// A webhook of the tenant.
struct ExistingWebhook {
    id: WebhookId,
    target_url: String,
    enabled: bool,
    has_key: bool,
    /// Whether a declared webhook was matched with it.
    is_taken: bool,
}

/// What two target URLs have in common if they may be the same webhook, the surest likeness first.
const LIKENESSES: [fn(&str) -> String; 4] = [
    str::to_owned,
    |url| format!("{} {}", target::user(url), target::called(url)),
    target::called,
    |url| target::called(&url_marks::masked(url)),
];

/// The existing webhook that each declared one is, if there is one.
fn matched(
    tx: &dyn Transaction,
    context: &ApplyContext<'_>,
    declared: &[DeclaredWebhook],
) -> Result<Vec<Option<WebhookId>>, JobError> {
    let mut matched = Vec::with_capacity(declared.len());
    for webhook in declared {
        matched.push(match &webhook.key {
            Some(key) => webhook_rows::find_key(tx.conn(), context.tenant, key)?,
            None => None,
        });
    }
    let by_key: BTreeSet<WebhookId> = matched.iter().flatten().copied().collect();
    let mut known = query::list(tx.conn(), WEBHOOK_IDS, values![context.tenant.0], |row| {
        let id = WebhookId(row.get(0)?);
        Ok(ExistingWebhook {
            id,
            target_url: row.get(1)?,
            enabled: row.get(2)?,
            has_key: row.get(3)?,
            is_taken: by_key.contains(&id),
        })
    })?;
    for (step, likeness) in LIKENESSES.into_iter().enumerate() {
        if step > 0 {
            // Of several that are merely alike, the enabled ones first.
            known.sort_by_key(|known| (!known.enabled, known.id));
        }
        match_by(likeness, declared, &mut matched, &mut known);
    }
    Ok(matched)
}

fn match_by(
    likeness: fn(&str) -> String,
    declared: &[DeclaredWebhook],
    matched: &mut [Option<WebhookId>],
    known: &mut [ExistingWebhook],
) {
    let unmatched = || {
        declared
            .iter()
            .zip(&*matched)
            .filter(|(_, own)| own.is_none())
    };
    if unmatched().next().is_none() {
        return;
    }
    let mut alike: BTreeMap<String, Vec<&mut ExistingWebhook>> = BTreeMap::new();
    for known in known.iter_mut().filter(|known| !known.is_taken) {
        alike
            .entry(likeness(&known.target_url))
            .or_default()
            .push(known);
    }
    for (webhook, own) in declared
        .iter()
        .zip(matched)
        .filter(|(_, own)| own.is_none())
    {
        let all = alike.get_mut(&likeness(&webhook.target_url)).into_iter();
        // A key is given to a webhook without one, and never replaces another.
        let fits = |known: &&mut &mut ExistingWebhook| {
            !known.is_taken && (webhook.key.is_none() || !known.has_key)
        };
        if let Some(found) = all.flatten().find(fits) {
            found.is_taken = true;
            *own = Some(found.id);
        }
    }
}

fn apply_webhook(
    tx: &mut dyn Transaction,
    context: &ApplyContext<'_>,
    declared: DeclaredWebhook,
    matched: Option<WebhookId>,
) -> Result<AppliedChange, JobError> {
    let (at, actor) = (context.at, context.actor);
    let stored = match matched {
        Some(id) => webhook_rows::find_any(tx.conn(), id)?,
        None => None,
    };
    let mut changed = Vec::new();
    let secrets = declared.secrets.clone();
    let (limits, events) = (declared.limits.clone(), declared.cloud_events);
    let (webhook, change) = if let Some(stored) = stored {
        let wanted = Webhook {
            key: stored.key.clone().or_else(|| declared.key.clone()),
            target_url: declared.target_url.clone(),
            disabled: disabled(&declared, &stored, at),
            filter: declared.filter,
            settings: declared.settings,
            headers: declared.headers.unwrap_or_else(|| stored.headers.clone()),
            retries_max: declared.retries_max,
            ..stored.clone()
        };
        // A deleted webhook stays deleted until the file explicitly asks for it.
        if wanted == stored || wanted.is_deleted() {
            (stored, ChangeKind::Unchanged)
        } else {
            changed = differences(&stored, &wanted);
            (
                webhooks::save_any(tx, wanted, actor, at)?,
                ChangeKind::Changed,
            )
        }
    } else {
        let new = declared.created_for(context.tenant, at);
        (webhooks::add(tx, new, actor, at)?, ChangeKind::Created)
    };
    tx.execute(DECLARED, values![webhook.id.0])?;
    let mut names = apply_secrets(tx, context, &webhook, &secrets)?;
    names.extend(apply_calls(tx, context, &webhook, limits, events)?);
    let change = match change {
        ChangeKind::Unchanged if !names.is_empty() => ChangeKind::Changed,
        change @ (ChangeKind::Created | ChangeKind::Changed | ChangeKind::Unchanged) => change,
    };
    changed.extend(names);
    let item = AppliedItem::Webhook {
        id: webhook.id,
        target_url: webhook.target_url,
        changed,
    };
    Ok(context.applied(item, change))
}

/// Brings signatures, own headers and certificates of a webhook to what is declared; the names of
/// what changed.
fn apply_secrets(
    tx: &mut dyn Transaction,
    context: &ApplyContext<'_>,
    webhook: &Webhook,
    declared: &DeclaredSecrets,
) -> Result<Vec<String>, JobError> {
    if declared.is_empty() || webhook.is_deleted() {
        return Ok(Vec::new());
    }
    let (tenant, id, actor, at) = (context.tenant, webhook.id, context.actor, context.at);
    let refused = |error| JobError::from(StoreError::Secret(error));
    let mut names = Vec::new();
    let stored = signatures::signatures(tx.conn(), tenant, id)?;
    let all = declared.signature_changes(id, &stored, at);
    for (what, (profile, change)) in all.map_err(refused)? {
        let place = SignatureId {
            tenant,
            webhook: id,
            profile,
        };
        signatures::change(tx, place, change, actor, at)?;
        names.extend((!what.is_empty()).then_some(what));
    }
    let stored = own_headers::own_headers(tx.conn(), tenant, id)?;
    for (what, (name, change)) in declared.header_changes(id, &stored).map_err(refused)? {
        let place = OwnHeaderId {
            tenant,
            webhook: id,
            name,
        };
        own_headers::change(tx, &place, &change, actor, at)?;
        names.push(what);
    }
    let stored = webhook_tls::webhook_tls(tx.conn(), tenant, id)?;
    for (what, change) in declared.tls_changes(id, &stored).map_err(refused)? {
        let place = ClientKeyId {
            tenant,
            webhook: id,
        };
        webhook_tls::change(tx, place, &change, actor, at)?;
        names.push(what);
    }
    Ok(names)
}

/// Brings limits and CloudEvents of a webhook to what is declared; the names of what changed.
fn apply_calls(
    tx: &mut dyn Transaction,
    context: &ApplyContext<'_>,
    webhook: &Webhook,
    limits: Option<CallLimits>,
    events: Option<Option<CloudEventChoice>>,
) -> Result<Vec<String>, JobError> {
    let mut names = Vec::new();
    if webhook.is_deleted() {
        return Ok(names);
    }
    let (place, actor, at) = ((context.tenant, webhook.id), context.actor, context.at);
    if let Some(limits) = limits
        && call_limits::set_limits(tx, place, &limits, actor, at)?
    {
        names.push("limits".to_owned());
    }
    if let Some(choice) = events
        && cloud_events::choose(tx, place, choice, actor, at)?
    {
        names.push("cloud_events".to_owned());
    }
    Ok(names)
}

/// The names of what differs. No values: some are secret.
fn differences(before: &Webhook, after: &Webhook) -> Vec<String> {
    let mut names = Vec::new();
    let mut differs = |name: &str, differs: bool| {
        if differs {
            names.push(name.to_owned());
        }
    };
    let same_shown = target::masked(&before.target_url) == target::masked(&after.target_url);
    let same_url = before.target_url == after.target_url;
    differs("target_url", !same_shown);
    let user_info = |webhook: &Webhook| target::user_info(&webhook.target_url).to_owned();
    let same_user = user_info(before) == user_info(after);
    differs("user or password of target_url", same_shown && !same_user);
    differs(
        "what is marked in target_url",
        same_shown && same_user && !same_url,
    );
    differs("enabled", before.enabled() != after.enabled());
    differs("key", before.key != after.key);
    differs("headers", before.headers != after.headers);
    differs("retries", before.retries_max != after.retries_max);
    let fields = |webhook: &Webhook| {
        let fields: Result<serde_json::Map<_, _>, _> = serde_json::from_str(&webhook.settings);
        fields.unwrap_or_default()
    };
    let (before_fields, after_fields) = (fields(before), fields(after));
    let both: BTreeSet<&String> = before_fields.keys().chain(after_fields.keys()).collect();
    for name in both {
        differs(name, before_fields.get(name) != after_fields.get(name));
    }
    differs(
        "filter",
        before.filter != after.filter && before.settings == after.settings,
    );
    names
}

fn disabled(declared: &DeclaredWebhook, stored: &Webhook, at: Timestamp) -> Option<Disablement> {
    let asked = Disablement {
        at,
        cause: DisableCause::Requested,
    };
    match declared.enabled {
        None => stored.disabled,
        Some(true) => None,
        Some(false) => stored.disabled.or(Some(asked)),
    }
}
