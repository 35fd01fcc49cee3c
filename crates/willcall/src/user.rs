//! `willcall user …`: users of the dashboard, managed from the command line. It works beside a
//! running server, which sees changes at once.

use std::io::Write as _;

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use model::contract::{Conflict, Frontend, StoreError};
use model::limits::{LINK_MS, PAGE_ROWS_MAX};
use model::refusal::Fault;
use model::tenant::{Tenant, TokenHash};
use model::users::{NewUser, PasswordHash, Role, User, UserChange, judge_name};
use model::{dashboard::TenantQuery, password};

use crate::config::{self, Config};
use crate::{arguments, assemble, terminal, token};

/// The actor in the audit log.
const ACTOR: &str = "willcall user";

/// Characters of a link's secret: 320 bits.
const SECRET_LETTERS: usize = 62;

/// Characters of a salt: 124 bits.
const SALT_LETTERS: usize = 24;

pub(crate) fn command(store: &[&str]) -> Command {
    let name = || {
        Arg::new("name")
            .value_name("NAME")
            .required(true)
            .help("The name to sign in with; upper and lower case are the same")
    };
    let sub = |name: &'static str, about: &'static str| {
        Command::new(name)
            .about(about)
            .args(config::arguments(store))
    };
    let with_address = [store, &["listen", "allowed_hosts"]].concat();
    Command::new("user")
        .about("Create and change users of the dashboard")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            sub("add", "Create a user; asks for a password")
                .arg(name())
                .arg(password_stdin())
                .args(may()),
        )
        .subcommand(sub("list", "List all users with their roles"))
        .subcommand(
            sub(
                "set-password",
                "Change a user's password; ends all their sessions",
            )
            .arg(name())
            .arg(password_stdin()),
        )
        .subcommand(
            sub(
                "role",
                "Give a user a role at a tenant, or make them an administrator",
            )
            .arg(name())
            .arg(
                role()
                    .value_parser(["look", "edit", "administer", "none"])
                    .requires("tenant"),
            )
            .arg(tenant().requires("role"))
            .arg(
                Arg::new("administrator")
                    .long("administrator")
                    .value_name("yes|no")
                    .value_parser(["yes", "no"])
                    .required_unless_present("role")
                    .conflicts_with("role")
                    .help("Whether the user may do everything at every tenant"),
            ),
        )
        .subcommand(
            sub(
                "disable",
                "Stop a user from signing in; ends all their sessions",
            )
            .arg(name()),
        )
        .subcommand(sub("enable", "Let a user sign in again").arg(name()))
        .subcommand(
            Command::new("link")
                .about("Print a link that signs a user in once; valid for 15 minutes")
                .args(config::arguments(&with_address))
                .arg(name()),
        )
}

/// Arguments for the role of a new user.
fn may() -> [Arg; 3] {
    let administrator = Arg::new("administrator")
        .long("administrator")
        .action(ArgAction::SetTrue)
        .conflicts_with("role")
        .help("The user may do everything at every tenant, and manage users");
    [
        administrator,
        role().requires("tenant"),
        tenant().requires("role"),
    ]
}

fn password_stdin() -> Arg {
    Arg::new("password_stdin")
        .long("password-stdin")
        .action(ArgAction::SetTrue)
        .help("Read the password from standard input instead of asking for it")
}

fn role() -> Arg {
    Arg::new("role")
        .long("role")
        .value_name("ROLE")
        .value_parser(["look", "edit", "administer"])
        .help("What the user may do there: look; edit webhooks; administer tokens and users")
}

fn tenant() -> Arg {
    Arg::new("tenant")
        .long("tenant")
        .value_name("KEY")
        .help("The tenant for the role, as declared to `willcall apply`")
}

pub(crate) async fn run(config: &Config, what: &str, matches: &ArgMatches) -> Result<()> {
    let store = config.store.open_existing()?;
    let text = |name: &str| arguments::text(matches, name);
    let from_stdin = || {
        matches!(
            matches.try_get_one::<bool>("password_stdin"),
            Ok(Some(true))
        )
    };
    let name = text("name");
    match what {
        "add" => {
            let administrator = matches.get_flag("administrator");
            let place = place(config, &*store, &text("tenant"), &text("role")).await?;
            add(&*store, &name, administrator, place, from_stdin()).await?;
        }
        "list" => list(&*store).await?,
        "set-password" => {
            let user = find(&*store, &name).await?;
            let password = Some(chosen(&user.name, from_stdin())?);
            let change = UserChange {
                password,
                ..UserChange::default()
            };
            apply(&*store, &user, change).await?;
            say!(
                "{} has a new password; all their sessions have ended.",
                user.name
            );
        }
        "role" => {
            let user = find(&*store, &name).await?;
            set_role(config, &*store, &user, matches).await?;
        }
        "enable" | "disable" => {
            let user = find(&*store, &name).await?;
            let active = what == "enable";
            let change = UserChange {
                active: Some(active),
                ..UserChange::default()
            };
            apply(&*store, &user, change).await?;
            let can = if active {
                "can sign in"
            } else {
                "cannot sign in any more"
            };
            say!("{} {can}.", user.name);
        }
        _ => {
            let user = find(&*store, &name).await?;
            if !user.active {
                bail!(
                    "{} may not sign in; `willcall user enable` changes that",
                    user.name
                );
            }
            let secret = link(&*store, &user).await?;
            say!("{}/link/{secret}", origin(config));
            hint("If the server has another public address, put that in front of /link/\u{2026}");
        }
    }
    store.close().await?;
    Ok(())
}

async fn add(
    store: &dyn Frontend,
    name: &str,
    administrator: bool,
    place: Option<(Tenant, Role)>,
    from_stdin: bool,
) -> Result<()> {
    let name = judge_name(name).map_err(|fault| in_words(&fault))?;
    // Checked before anybody types a password.
    if store.user(name.clone()).await?.is_some() {
        bail!("there is already a user {name}; see `willcall user list`");
    }
    let new = NewUser {
        password: chosen(&name, from_stdin)?,
        name,
        administrator,
    };
    let now = assemble::clock().now();
    let user = match store.create_user(new, now).await {
        Ok(user) => user,
        Err(StoreError::Conflict(Conflict::UserName)) => {
            bail!("there is already a user of this name; see `willcall user list`")
        }
        Err(error) => return Err(error.into()),
    };
    if let Some((tenant, role)) = &place {
        let actor = ACTOR.to_owned();
        store
            .set_role(tenant.id, user.id, Some(*role), actor, now)
            .await?;
    }
    let may = match (administrator, &place) {
        (true, _) => "everything, as an administrator".to_owned(),
        (false, Some((tenant, role))) => format!("{role} at {}", tenant.key),
        (false, None) => "nothing yet; give a role with `willcall user role`".to_owned(),
    };
    say!("{} can sign in, and may: {may}.", user.name);
    Ok(())
}

async fn list(store: &dyn Frontend) -> Result<()> {
    let users = store.users(None).await?;
    if users.is_empty() {
        say!("There are no users yet. Create one: willcall user add NAME --administrator");
    }
    for user in &users {
        let state = if user.active { "" } else { ", cannot sign in" };
        let seen = user.signed_in_at.map_or_else(
            || "never signed in".to_owned(),
            |at| format!("last signed in {at}"),
        );
        let may = match user.administrator {
            true => "administrator".to_owned(),
            false => roles(store, user).await?,
        };
        say!("{}: {may}; {seen}{state}", user.name);
    }
    Ok(())
}

/// A user's roles at tenants, the first of them if there are very many.
async fn roles(store: &dyn Frontend, user: &User) -> Result<String> {
    let query = TenantQuery {
        among: Some(user.roles.keys().copied().collect()),
        but_dialect: None,
        text: String::new(),
        after: None,
        limit: PAGE_ROWS_MAX,
    };
    let tenants = store.find_tenants(query).await?;
    let role = |tenant: &Tenant| {
        let role = user.roles.get(&tenant.id)?;
        Some(format!("{role} at {}", tenant.key))
    };
    let mut words: Vec<String> = tenants.iter().filter_map(role).collect();
    let more = user.roles.len().saturating_sub(words.len());
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    Ok(match words.as_slice() {
        [] => "no role".to_owned(),
        words => words.join(", "),
    })
}

async fn set_role(
    config: &Config,
    store: &dyn Frontend,
    user: &User,
    matches: &ArgMatches,
) -> Result<()> {
    let text = |name: &str| arguments::text(matches, name);
    if let Some(administrator) = matches.get_one::<String>("administrator") {
        let administrator = administrator == "yes";
        let change = UserChange {
            administrator: Some(administrator),
            ..UserChange::default()
        };
        apply(store, user, change).await?;
        let is = if administrator { "is" } else { "is not" };
        say!("{} {is} an administrator.", user.name);
        return Ok(());
    }
    let tenant = token::find_tenant(config, store, &text("tenant")).await?;
    let role: Option<Role> = text("role").parse().ok();
    let now = assemble::clock().now();
    store
        .set_role(tenant.id, user.id, role, ACTOR.to_owned(), now)
        .await?;
    match role {
        Some(role) => say!("{} may {role} at {}.", user.name, tenant.key),
        None => say!("{} has no role at {} any more.", user.name, tenant.key),
    }
    Ok(())
}

async fn place(
    config: &Config,
    store: &dyn Frontend,
    tenant: &str,
    role: &str,
) -> Result<Option<(Tenant, Role)>> {
    match role.parse::<Role>() {
        Ok(role) => Ok(Some((
            token::find_tenant(config, store, tenant).await?,
            role,
        ))),
        Err(()) => Ok(None),
    }
}

async fn find(store: &dyn Frontend, name: &str) -> Result<User> {
    match store.user(name.trim().to_owned()).await? {
        Some((user, _)) => Ok(user),
        None => bail!("there is no user \"{name}\"; `willcall user list` lists all users"),
    }
}

async fn apply(store: &dyn Frontend, user: &User, change: UserChange) -> Result<()> {
    let now = assemble::clock().now();
    match store.change_user(user.id, change, now).await? {
        Some(_) => Ok(()),
        None => bail!("there is no such user any more"),
    }
}

/// Asks for a new password and returns its hash.
fn chosen(name: &str, from_stdin: bool) -> Result<PasswordHash> {
    let typed = terminal::new_password(from_stdin)?;
    password::judge(&typed, name).map_err(|fault| in_words(&fault))?;
    hashed(&typed)
}

/// Hashes a password with a random salt.
pub(crate) fn hashed(password: &str) -> Result<PasswordHash> {
    let salt = assemble::rng()?.split("salt").alphanumeric(SALT_LETTERS);
    Ok(password::hash(password, salt.as_bytes())?)
}

/// Creates a link that signs a user in once; returns its secret.
pub(crate) async fn link(store: &dyn Frontend, user: &User) -> Result<String> {
    let secret = assemble::rng()?.split("link").alphanumeric(SECRET_LETTERS);
    let until = assemble::clock().now().plus_ms(LINK_MS);
    store
        .create_link(TokenHash::of(&secret), user.id, until)
        .await?;
    Ok(secret)
}

/// How links to the server begin: with its first allowed host that is no wildcard, else with the
/// address it listens on, or where others are said to reach it.
fn origin(config: &Config) -> String {
    let named = config.named_hosts().next();
    let named = named.map(|host| format!("https://{host}"));
    let own = named.or_else(|| config.own_url());
    let own = own.or_else(|| config.public_url.clone());
    own.unwrap_or_else(|| "http://localhost".to_owned())
}

/// Prints a hint on standard error, so that a script reads only the result.
fn hint(words: &str) {
    // If standard error is closed, nobody needs the hint.
    writeln!(std::io::stderr(), "{words}").ok();
}

fn in_words(fault: &Fault) -> anyhow::Error {
    anyhow::anyhow!(fault.reasons.join(" "))
}
