//! Users and their roles at tenants.
//!
//! The case of ASCII letters does not count in a name; the table sees to that. What a change takes
//! from a user ends with it: sessions and links.

use std::collections::BTreeMap;

use crate::sql::{Connection, Row};
use model::contract::{Conflict, StoreError};
use model::id::{TenantId, UserId};
use model::limits::PAGE_ROWS_MAX;
use model::time::Timestamp;
use model::users::{NewUser, PasswordHash, Role, User, UserChange};
use serde_json::json;

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::JobError;
use crate::sql::query;
use crate::sql::rows;
use crate::sql::transaction::Transaction;

shared_statements! {
    HAS_USERS = "select exists (select 1 from \"user\")";
    ALL = "
        select id, name, administrator, active, created_at, signed_in_at from \"user\"
        order by name";
    MEMBERS = "
        select u.id, u.name, u.administrator, u.active, u.created_at, u.signed_in_at
        from member m indexed by member_tenant cross join \"user\" u
        where u.id = m.user_id and m.tenant_id = ?1";
    ALL_BEHIND = "
        select id, name, administrator, active, created_at, signed_in_at from \"user\"
        where id > ?1
        order by id
        limit ?2";
    MEMBERS_BEHIND = "
        select u.id, u.name, u.administrator, u.active, u.created_at, u.signed_in_at, m.role
        from member m indexed by member_tenant cross join \"user\" u
        where u.id = m.user_id and m.tenant_id = ?1 and m.user_id > ?2
        order by m.user_id
        limit ?3";
    FIND = "
        select id, name, administrator, active, created_at, signed_in_at from \"user\"
        where id = ?1";
    NAMED = "
        select id, name, administrator, active, created_at, signed_in_at, password from \"user\"
        where name = ?1" | "
        select id, name, administrator, active, created_at, signed_in_at, password from \"user\"
        where lower(name) = ?1";
    ROLES = "select tenant_id, role from member where user_id = ?1";
    ROLE = "select role from member where user_id = ?1 and tenant_id = ?2";
    ADD = "
        insert into \"user\" (name, password, administrator, active, created_at)
        values (?1, ?2, ?3, true, ?4)";
    CHANGE = "
        update \"user\"
        set password = coalesce(?2, password), administrator = coalesce(?3, administrator),
          active = coalesce(?4, active)
        where id = ?1";
    SET_ROLE = "
        insert into member (user_id, tenant_id, role) values (?1, ?2, ?3)
        on conflict (user_id, tenant_id) do update set role = excluded.role";
    REMOVE_ROLE = "delete from member where user_id = ?1 and tenant_id = ?2";
    END_ALL = "
        delete from session where hash in (
          select hash from session indexed by session_user where user_id = ?1)";
    DROP_LINKS = "
        delete from link where hash in (
          select hash from link indexed by link_user where user_id = ?1)";
}

pub(crate) fn has_users(conn: Connection<'_>) -> Result<bool, JobError> {
    let any = query::one(conn, HAS_USERS, values![])?;
    Ok(any)
}

pub(crate) fn users(conn: Connection<'_>, tenant: Option<TenantId>) -> Result<Vec<User>, JobError> {
    let mut users = match tenant {
        Some(tenant) => query::list(conn, MEMBERS, values![tenant.0], user)?,
        None => query::list(conn, ALL, values![], user)?,
    };
    users.sort_by_cached_key(|user| user.name.to_ascii_lowercase());
    for user in &mut users {
        user.roles = roles(conn, user.id)?;
    }
    Ok(users)
}

pub(crate) fn users_behind(
    conn: Connection<'_>,
    tenant: Option<TenantId>,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<User>, JobError> {
    let after = after.map_or(0, |id| id.0);
    let limit = rows::bound(limit.min(PAGE_ROWS_MAX + 1));
    let Some(tenant) = tenant else {
        return query::list(conn, ALL_BEHIND, values![after, limit], user);
    };
    let member = |row: &Row<'_>| {
        let role = rows::role(row.get(6)?)?;
        let roles = BTreeMap::from([(tenant, role)]);
        Ok(User {
            roles,
            ..user(row)?
        })
    };
    query::list(
        conn,
        MEMBERS_BEHIND,
        values![tenant.0, after, limit],
        member,
    )
}

pub(crate) fn find(conn: Connection<'_>, id: UserId) -> Result<Option<User>, JobError> {
    let Some(user) = query::first(conn, FIND, values![id.0], user)? else {
        return Ok(None);
    };
    let roles = roles(conn, id)?;
    Ok(Some(User { roles, ..user }))
}

pub(crate) fn named(
    conn: Connection<'_>,
    name: &str,
) -> Result<Option<(User, PasswordHash)>, JobError> {
    let Some((user, password)) =
        query::first(conn, NAMED, values![name.to_ascii_lowercase()], |row| {
            Ok((user(row)?, PasswordHash(row.get(6)?)))
        })?
    else {
        return Ok(None);
    };
    let roles = roles(conn, user.id)?;
    Ok(Some((User { roles, ..user }, password)))
}

pub(crate) fn create(tx: &dyn Transaction, new: NewUser, at: Timestamp) -> Result<User, JobError> {
    if named(tx.conn(), &new.name)?.is_some() {
        return Err(StoreError::Conflict(Conflict::UserName).into());
    }
    let id = tx.insert(
        ADD,
        values![new.name, new.password.0, new.administrator, at.as_millis()],
    )?;
    Ok(User {
        id: UserId(id),
        name: new.name,
        administrator: new.administrator,
        active: true,
        roles: BTreeMap::new(),
        created_at: at,
        signed_in_at: None,
    })
}

pub(crate) fn change(
    tx: &dyn Transaction,
    id: UserId,
    change: &UserChange,
) -> Result<Option<User>, JobError> {
    tx.execute(
        CHANGE,
        values![
            id.0,
            change.password.as_ref().map(|password| &password.0),
            change.administrator,
            change.active,
        ],
    )?;
    if change.password.is_some() || change.active == Some(false) {
        end_all(tx, id)?;
    }
    find(tx.conn(), id)
}

pub(crate) fn set_role(
    tx: &dyn Transaction,
    tenant: TenantId,
    id: UserId,
    role: Option<Role>,
    actor: &str,
    at: Timestamp,
) -> Result<bool, JobError> {
    let Some(user) = find(tx.conn(), id)? else {
        return Ok(false);
    };
    let before: Option<i64> =
        query::first(tx.conn(), ROLE, values![id.0, tenant.0], |row| row.get(0))?;
    let before = before.map(rows::role).transpose()?;
    if before == role {
        return Ok(true);
    }
    let action = match (before, role) {
        (None, _) => "role.given",
        (Some(_), Some(_)) => "role.changed",
        (Some(_), None) => "role.taken",
    };
    match role {
        Some(role) => {
            let role = rows::role_number(role);
            tx.execute(SET_ROLE, values![id.0, tenant.0, role])?
        }
        None => tx.execute(REMOVE_ROLE, values![id.0, tenant.0])?,
    };
    let detail = json!({
        "user": user.name,
        "before": before.map(Role::as_str),
        "after": role.map(Role::as_str),
    });
    AuditRecord::new(tenant, at, actor, action)
        .with(detail)
        .write(tx)?;
    Ok(true)
}

/// `id, name, administrator, active, created_at, signed_in_at` from 0 on; roles are elsewhere.
fn user(row: &Row<'_>) -> Result<User, JobError> {
    Ok(User {
        id: UserId(row.get(0)?),
        name: row.get(1)?,
        administrator: row.get(2)?,
        active: row.get(3)?,
        roles: BTreeMap::new(),
        created_at: rows::time(row, 4)?,
        signed_in_at: rows::time_if_any(row, 5)?,
    })
}

fn roles(conn: Connection<'_>, user: UserId) -> Result<BTreeMap<TenantId, Role>, JobError> {
    let found = query::list(conn, ROLES, values![user.0], |row| {
        let role = rows::role(row.get(1)?)?;
        Ok::<_, JobError>((TenantId(row.get(0)?), role))
    })?;
    Ok(found.into_iter().collect())
}

/// Ends every session of a user, and removes the links made for them.
pub(crate) fn end_all(tx: &dyn Transaction, user: UserId) -> Result<(), JobError> {
    tx.execute(END_ALL, values![user.0])?;
    tx.execute(DROP_LINKS, values![user.0])?;
    Ok(())
}
