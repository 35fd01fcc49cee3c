//! Databases for cases on PostgreSQL. Making one takes as long as many cases, so those of ended
//! cases are emptied and used again.

use std::sync::{Arc, Mutex};

use model::contract::Store;
use prometheus_client::registry::Registry;
use store::DatabaseSettings;

use crate::postgres_server::PostgresServer;
use crate::sqlite::harness::wait;

/// Databases that nobody uses, by their URLs, each with the tables of a store or none at all.
static FREE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// All tables as they were when they were made.
const EMPTY: &str = "
    set session_replication_role = replica;
    drop table if exists willcall_copied, willcall_copy;
    do $$
    declare one record;
    begin
      for one in select tablename from pg_tables
        where schemaname = 'public' and tablename not in ('willcall', 'catalog')
      loop
        execute format('delete from %I', one.tablename);
      end loop;
      for one in select sequencename from pg_sequences where schemaname = 'public' loop
        execute format('alter sequence %I restart', one.sequencename);
      end loop;
      if to_regclass('catalog') is not null then
        update catalog set version = 1;
      end if;
    end $$";

/// A database of one case.
pub(crate) struct TestDatabase {
    url: String,
    /// All that were opened in it.
    stores: Mutex<Vec<Arc<dyn Store>>>,
}

impl TestDatabase {
    pub(crate) fn new() -> Self {
        let free = FREE.lock().unwrap().pop();
        let url = free.unwrap_or_else(|| PostgresServer::shared().create_database());
        Self {
            url,
            stores: Mutex::default(),
        }
    }

    pub(crate) fn settings(&self) -> DatabaseSettings {
        DatabaseSettings::parse(&self.url, None).unwrap()
    }

    /// A store in it.
    pub(crate) fn open(&self) -> Arc<dyn Store> {
        let store = store::open_postgres(&self.settings(), &mut Registry::default()).unwrap();
        self.stores.lock().unwrap().push(Arc::clone(&store));
        store
    }

    /// Closes the store as a process that is killed: its lease lasts until its time is over, which
    /// it is.
    pub(crate) fn leave(&self) {
        self.close();
        self.ask("update lease set until = 0");
    }

    fn close(&self) {
        for store in self.stores.lock().unwrap().drain(..) {
            wait(store.close()).unwrap();
        }
    }

    /// What psql answers.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let (_, name) = self.url.rsplit_once('/').unwrap();
        let name = name.split('?').next().unwrap();
        PostgresServer::shared().run_sql(name, sql)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.close();
        self.ask(EMPTY);
        FREE.lock().unwrap().push(std::mem::take(&mut self.url));
    }
}
