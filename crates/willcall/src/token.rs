//! `willcall token …`: creates a token for a tenant or an administrator and prints it once; lists
//! tokens; revokes one.

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use model::contract::{Conflict, Frontend, StoreError};
use model::dashboard::TokenRow;
use model::limits::TOKEN_LETTERS;
use model::tenant::{NewToken, Permission, Permissions, Tenant, TokenHash, TokenKind};

use crate::config::{self, Config};
use crate::{arguments, assemble};

/// The actor in the audit log.
const ACTOR: &str = "willcall token";

/// Arguments of `token create`.
pub(crate) struct NewTokenArgs {
    tenant: Option<String>,
    name: String,
    permissions: Vec<String>,
}

pub(crate) fn command(store: &[&str]) -> Command {
    let name = Arg::new("name")
        .value_name("NAME")
        .required(true)
        .help("The name of the token");
    Command::new("token")
        .about("Create, list and revoke tokens")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("create")
                .about("Create a token and print it once")
                .args(arguments())
                .args(config::arguments(store)),
        )
        .subcommand(
            Command::new("list")
                .about("List tokens with their permissions and when they were last used")
                .args(whose())
                .args(config::arguments(store)),
        )
        .subcommand(
            Command::new("revoke")
                .about("Revoke a token for good; a running server refuses it at once")
                .arg(name)
                .args(whose())
                .args(config::arguments(store)),
        )
}

fn whose() -> [Arg; 2] {
    [
        Arg::new("tenant")
            .long("tenant")
            .value_name("KEY")
            .required_unless_present("administrator")
            .conflicts_with("administrator")
            .help(
                "The tenant that owns the token, as declared to `willcall apply`; or use --administrator",
            ),
        Arg::new("administrator")
            .long("administrator")
            .action(ArgAction::SetTrue)
            .help("Instead of --tenant: a token with all permissions for every tenant"),
    ]
}

fn arguments() -> Vec<Arg> {
    let permissions = Permission::OF_TENANTS.map(Permission::as_str);
    let [tenant, administrator] = whose();
    vec![
        tenant,
        administrator.conflicts_with("permission"),
        Arg::new("name")
            .long("name")
            .value_name("TEXT")
            .required(true)
            .help("A name for it, shown to people and in the audit log"),
        Arg::new("permission")
            .long("permission")
            .value_name("PERMISSION")
            .action(ArgAction::Append)
            .value_parser(clap::builder::PossibleValuesParser::new(permissions))
            .help("What it may do; can be given several times [default: all]"),
    ]
}

impl NewTokenArgs {
    pub(crate) fn from(matches: &ArgMatches) -> Self {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let permissions = matches.get_many::<String>("permission").unwrap_or_default();
        Self {
            tenant: text("tenant"),
            name: text("name").unwrap_or_default(),
            permissions: permissions.cloned().collect(),
        }
    }
}

pub(crate) async fn create(config: &Config, wanted: &NewTokenArgs) -> Result<()> {
    if wanted.name.trim().is_empty() || wanted.name.len() > model::limits::NAME_BYTES_MAX {
        bail!(
            "--name has to be 1 to {} characters",
            model::limits::NAME_BYTES_MAX
        );
    }
    let store = config.store.open_existing()?;
    let tenant = match &wanted.tenant {
        Some(key) => Some(find_tenant(config, &*store, key).await?),
        None => None,
    };
    let token = assemble::rng()?.split("token").alphanumeric(TOKEN_LETTERS);
    let permissions: Permissions = match wanted.permissions.as_slice() {
        [] if tenant.is_some() => Permission::OF_TENANTS.into_iter().collect(),
        [] => Permission::ALL.into_iter().collect(),
        names => names.join(" ").parse()?,
    };
    let new = NewToken {
        default: false,
        tenant: tenant.as_ref().map(|tenant| tenant.id),
        name: wanted.name.trim().to_owned(),
        hash: TokenHash::of(&token),
        kind: TokenKind::Program,
        permissions,
        active: true,
    };
    match store
        .create_token(new, ACTOR.to_owned(), assemble::clock().now())
        .await
    {
        Ok(()) => {}
        Err(StoreError::Conflict(Conflict::TokenName)) => bail!(
            "there is already a token \"{}\"; choose another --name",
            wanted.name.trim()
        ),
        Err(error) => return Err(error.into()),
    }
    store.close().await?;
    say!("{token}");
    Ok(())
}

/// Runs `token list` and `token revoke`.
pub(crate) async fn run(config: &Config, what: &str, matches: &ArgMatches) -> Result<()> {
    let store = config.store.open_existing()?;
    let tenant = match matches.get_one::<String>("tenant") {
        Some(key) => Some(find_tenant(config, &*store, key).await?),
        None => None,
    };
    let tokens = store
        .tokens(tenant.as_ref().map(|tenant| tenant.id))
        .await?;
    match what {
        "list" => list(&tokens),
        _ => {
            let name = arguments::text(matches, "name");
            let Some(token) = tokens.iter().find(|token| token.name == name.trim()) else {
                bail!("there is no token \"{name}\"; `willcall token list` lists all tokens");
            };
            let now = assemble::clock().now();
            store
                .revoke_token(token.tenant, token.id, ACTOR.to_owned(), now)
                .await?;
            say!("The token {} is revoked.", token.name);
        }
    }
    store.close().await?;
    Ok(())
}

fn list(tokens: &[TokenRow]) {
    if tokens.is_empty() {
        say!("There are no tokens.");
    }
    for token in tokens {
        let used = token
            .used_at
            .map_or_else(|| "never used".to_owned(), |at| format!("last used {at}"));
        let state = if token.active { "" } else { ", revoked" };
        let may = token.permissions.to_string();
        let may = if may.is_empty() { "nothing" } else { &may };
        say!(
            "{}: {may}; made {}, {used}{state}",
            token.name,
            token.created_at
        );
    }
}

pub(crate) async fn find_tenant(
    config: &Config,
    store: &dyn Frontend,
    key: &str,
) -> Result<Tenant> {
    let mut found = Vec::new();
    for dialect in assemble::dialects(config).names() {
        found.extend(store.tenant(dialect, key.to_owned()).await?);
    }
    match found.as_slice() {
        [tenant] => Ok(tenant.clone()),
        [] => bail!("there is no tenant \"{key}\"; `willcall apply FILE` creates tenants"),
        [_, ..] => bail!(
            "several dialects have a tenant \"{key}\"; declare the token in a file for `willcall \
             apply` instead"
        ),
    }
}
