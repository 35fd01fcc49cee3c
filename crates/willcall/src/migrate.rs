//! `willcall migrate`: brings the schema of the store to this program's version, which every start
//! does as well.

use anyhow::Result;
use store::SchemaVersions;

use crate::config::Config;

pub(crate) async fn run(config: &Config) -> Result<()> {
    let store = &config.store;
    let SchemaVersions { before, after } = store.migrate().await?;
    match before {
        0 => say!("Made a store in {store}: its schema has version {after}."),
        before if before == after => {
            say!("The schema of {store} has version {after} already; nothing was done.");
        }
        before => say!("The schema of {store} had version {before} and has version {after} now."),
    }
    Ok(())
}
