//! Requests of one client and what becomes of them: answers, refusals, lost connections, limits.
//!
//! After anything but an answer or a refusal the connection is closed at once, and the server ends
//! what was open on it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Error};

use crate::postgres::link::{LimitPassed, Link};
use crate::postgres::session_error::{Loss, Refused, SessionError, SqlFault, ends_connection};
use crate::postgres::tls::TlsConnector;
use crate::seldom::Seldom;

/// How long a request to cancel a statement may take: it needs a connection of its own.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// Whether a commit is under way, so that nobody knows what a lost connection has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Working,
    Committing,
}

impl Phase {
    pub(crate) fn of_commit(is_under_way: bool) -> Self {
        match is_under_way {
            true => Self::Committing,
            false => Self::Working,
        }
    }
}

pub(crate) struct Exchange {
    /// Goes before the link, which says goodbye once nobody can ask any more.
    client: Client,
    link: RefCell<Link>,
    is_broken: Cell<bool>,
    /// For each request: above the server's own limit.
    limit: Cell<Duration>,
    cancelling: TlsConnector,
}

impl Exchange {
    pub(crate) fn new(
        client: Client,
        link: Link,
        cancelling: TlsConnector,
        limit: Duration,
    ) -> Self {
        Self {
            client,
            link: RefCell::new(link),
            is_broken: Cell::new(false),
            limit: Cell::new(limit),
            cancelling,
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn link(&self) -> &RefCell<Link> {
        &self.link
    }

    pub(crate) fn set_limit(&self, limit: Duration) {
        self.limit.set(limit);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.get() || !self.link.borrow().is_up()
    }

    /// What `request` comes to. It has to be made of this client.
    pub(crate) fn ask<T>(
        &self,
        phase: Phase,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, SessionError> {
        self.run(phase, request)?
            .map_err(|error| self.judge(&error, phase))
    }

    /// The same for what answers several requests at once; each answer is to be judged.
    pub(crate) fn run<T>(
        &self,
        phase: Phase,
        request: impl Future<Output = T>,
    ) -> Result<T, SessionError> {
        if self.is_broken() {
            return Err(self.lose(None, Phase::Working));
        }
        let limit = self.limit.get();
        let ran = self.link.borrow_mut().run(limit, request);
        ran.map_err(|LimitPassed| {
            if phase == Phase::Working {
                self.cancel();
            }
            self.break_off();
            match phase {
                Phase::Working => SessionError::TimedOut(limit),
                Phase::Committing => SessionError::Unknown(Loss::TimedOut(limit)),
            }
        })
    }

    /// What an error means. Whatever is no plain refusal breaks the session.
    pub(crate) fn judge(&self, error: &Error, phase: Phase) -> SessionError {
        match error.as_db_error() {
            Some(said) if !ends_connection(said) => {
                let refused = Refused::of(said);
                if refused.fault == SqlFault::StalePlan {
                    self.break_off();
                }
                SessionError::Refused(refused)
            }
            Some(_) | None => self.lose(Some(error), phase),
        }
    }

    /// Breaks the session, and says what ended it.
    pub(crate) fn lose(&self, error: Option<&Error>, phase: Phase) -> SessionError {
        let loss = {
            let link = self.link.borrow();
            // A request only hears that the connection was closed; the link heard why.
            let said = error
                .filter(|error| !error.is_closed())
                .or_else(|| link.ended());
            said.or(error).map_or(Loss::Before, Loss::of)
        };
        self.break_off();
        match phase {
            Phase::Working => SessionError::Lost(loss),
            Phase::Committing => SessionError::Unknown(loss),
        }
    }

    /// Closes the connection at once. The server rolls back what was not committed.
    pub(crate) fn break_off(&self) {
        self.is_broken.set(true);
        self.link.borrow_mut().throw_away();
    }

    /// The notices since the last call.
    pub(crate) fn take_notices(&self) -> VecDeque<DbError> {
        self.link.borrow_mut().take_notices()
    }

    /// Asks the server to end what this session is doing. It holds locks for which others wait.
    fn cancel(&self) {
        static SELDOM: Seldom = Seldom::new();
        let token = self.client.cancel_token();
        let cancelling = self.cancelling.clone();
        let link = self.link.borrow();
        let asked = link.run_apart(async {
            tokio::time::timeout(CANCEL_LIMIT, token.cancel_query(cancelling)).await
        });
        let failed = match asked {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Loss::of(&error).to_string(),
            Err(_) => format!("no answer within {} ms", CANCEL_LIMIT.as_millis()),
        };
        if SELDOM.is_time() {
            tracing::warn!(
                "a statement that took too long could not be cancelled, and may hold locks until \
                 the database ends it: {failed}"
            );
        }
    }
}
