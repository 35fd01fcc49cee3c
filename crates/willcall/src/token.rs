//! `willcall token create`: makes a token for a tenant or for an administrator, prints it once.

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches};
use model::contract::{Conflict, StoreError};
use model::tenant::{NewToken, Permission, Permissions, Tenant, TokenHash, TokenKind};
use prometheus_client::registry::Registry;

use crate::assemble;
use crate::config::Config;
use crate::serve::TOKEN_LENGTH;

/// Who made a token, in the audit log.
const ACTOR: &str = "willcall token";

/// What was asked for on the command line.
pub(crate) struct Wanted {
    tenant: Option<String>,
    name: String,
    permissions: Vec<String>,
}

pub(crate) fn arguments() -> Vec<Arg> {
    let permissions = Permission::ALL.map(Permission::as_str);
    vec![
        Arg::new("tenant")
            .long("tenant")
            .value_name("KEY")
            .required_unless_present("administrator")
            .conflicts_with("administrator")
            .help(
                "Whose token it is: a tenant that `willcall apply` made; or give --administrator",
            ),
        Arg::new("administrator")
            .long("administrator")
            .action(ArgAction::SetTrue)
            .conflicts_with("permission")
            .help("Instead of --tenant: a token that may do everything for every tenant"),
        Arg::new("name")
            .long("name")
            .value_name("TEXT")
            .required(true)
            .help("What to call it, for people and for the audit log"),
        Arg::new("permission")
            .long("permission")
            .value_name("PERMISSION")
            .action(ArgAction::Append)
            .value_parser(clap::builder::PossibleValuesParser::new(permissions))
            .help("What it may do; may be given several times [default: all]"),
    ]
}

impl Wanted {
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

pub(crate) async fn create(config: &Config, wanted: &Wanted) -> Result<()> {
    if wanted.name.trim().is_empty() || wanted.name.len() > model::limits::NAME_BYTES_MAX {
        bail!(
            "--name has to be 1 to {} characters",
            model::limits::NAME_BYTES_MAX
        );
    }
    let file = assemble::store_file(&config.data_dir);
    if !file.exists() {
        bail!(
            "there is no store {}; name its folder with --data-dir, or make one with `willcall apply FILE`",
            file.display()
        );
    }
    let store = assemble::open_store(&config.data_dir, &mut Registry::default())?;
    let tenant = match &wanted.tenant {
        Some(key) => Some(find_tenant(config, &*store, key).await?),
        None => None,
    };
    let token = assemble::dice()?.split("token").letters(TOKEN_LENGTH);
    let permissions: Permissions = match wanted.permissions.as_slice() {
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
            "there is a token called \"{}\" already; choose another --name",
            wanted.name.trim()
        ),
        Err(error) => return Err(error.into()),
    }
    store.close().await?;
    say!("{token}");
    Ok(())
}

async fn find_tenant(
    config: &Config,
    store: &dyn model::contract::Store,
    key: &str,
) -> Result<Tenant> {
    let mut found = Vec::new();
    for dialect in assemble::dialects(config).names() {
        found.extend(store.tenant(dialect, key.to_owned()).await?);
    }
    match found.as_slice() {
        [tenant] => Ok(tenant.clone()),
        [] => bail!("there is no tenant \"{key}\"; `willcall apply FILE` makes tenants"),
        [_, ..] => bail!(
            "several dialects have a tenant \"{key}\"; declare the token in a file for `willcall apply`"
        ),
    }
}
