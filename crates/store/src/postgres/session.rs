//! A session with the database: what one thread of the store says statements on.
//!
//! Its methods wait. A session that is broken answers nothing any more: its owner throws it away
//! and opens another. It is never handed on, so nobody meets a transaction that somebody else left
//! open. Outside of a transaction the server refuses every change (`server.rs`), so that statements
//! whose `BEGIN` failed change nothing.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::{Error, Row, Statement};

use crate::OpenError;
use crate::postgres::exchange::{Exchange, Phase};
use crate::postgres::host_fault::{HostFailure, HostFault};
use crate::postgres::open;
use crate::postgres::pipeline::{self, Answer, Answered, Params};
use crate::postgres::plan_age::{DISCARD, PlanAge};
use crate::postgres::server::ServerFacts;
use crate::postgres::session_error::{Loss, Refused, SessionError};
use crate::postgres::settings::{DatabaseSettings, SessionLimits};
use crate::postgres::statement_cache::StatementCache;

/// Commits. A bare `COMMIT` after a statement that failed succeeds, and stores nothing. What stands
/// before it here fails then, at no cost that can be measured, and the commit is not run.
pub(crate) const COMMIT: &str = "SET CONSTRAINTS ALL IMMEDIATE; COMMIT";

/// What new transactions may do by the server's own settings, which ours hide. Operators and
/// hosters make a server read-only so, such as when its disk is nearly full.
const READ_ONLY: &str =
    "SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only'";

pub(crate) struct Session {
    exchange: Exchange,
    statements: RefCell<StatementCache>,
    transaction: Cell<TransactionState>,
    savepoints: Cell<u32>,
    facts: ServerFacts,
    limits: SessionLimits,
    /// When the server was last asked whether it is read-only.
    asked_at: Cell<Instant>,
    plans: PlanAge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionMode {
    /// Read committed: each statement sees what was committed before it.
    ReadWrite,
    /// Repeatable read: all statements see the same.
    ReadOnly,
}

/// How far a commit that succeeded is known to have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Committed {
    Durable,
    /// It is on this server, but nobody knows whether on its standby: the wait was cancelled.
    /// Callers are told that it is unknown.
    NotReplicated,
}

/// A notification that was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) channel: String,
    pub(crate) text: String,
    /// The backend that sent it.
    pub(crate) backend: i32,
}

/// Ends `wait_for_notification` of a session from another thread.
#[derive(Debug, Clone)]
pub(crate) struct SessionWaker(Arc<Notify>);

impl SessionWaker {
    /// Ends the present wait or, if there is none, the next one.
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransactionState {
    None,
    Open,
    /// A statement was refused in it: it can only be rolled back.
    Failed,
}

/// What surrounds the statements that are sent at once.
#[derive(Debug, Clone, Copy)]
struct Frame {
    begins: Option<TransactionMode>,
    commits: bool,
}

impl Session {
    /// Connects to the first host that can be used, and checks and sets up the session. `role` says
    /// what it is for: the database's lists show it as the application's name, such as `willcall
    /// accept`. Only on threads that run no other runtime.
    pub(crate) fn open(settings: &DatabaseSettings, role: &str) -> Result<Self, OpenError> {
        let (exchange, facts) = open::open(settings, role)?;
        Ok(Self {
            exchange,
            statements: RefCell::default(),
            transaction: Cell::new(TransactionState::None),
            savepoints: Cell::new(0),
            facts,
            limits: settings.limits.clone(),
            asked_at: Cell::new(Instant::now()),
            plans: PlanAge::new(settings.limits.plans, Instant::now()),
        })
    }

    /// What the server said of itself when the session began.
    pub(crate) fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// For whoever is about to create tables.
    pub(crate) fn refuse_without_right_to_create(&self) -> Result<(), OpenError> {
        if self.facts.may_create {
            return Ok(());
        }
        Err(OpenError::NoHost(vec![HostFailure {
            host: self.facts.host.clone(),
            fault: HostFault::NoCreateRight {
                user: self.facts.user.clone(),
                schema: self.facts.schema.clone(),
            },
        }]))
    }

    /// Whether it has to be thrown away and opened anew.
    pub(crate) fn is_broken(&self) -> bool {
        self.exchange.is_broken()
    }

    /// All rows. The statement is prepared once and found again by its text. A change needs a
    /// transaction around it, or the server refuses it.
    pub(crate) fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, SessionError> {
        let statement = self.prepare(sql)?;
        assert_fit(sql, &statement, params);
        self.ask(self.exchange.client().query(&statement, params))
    }

    /// How many rows it changed. Outside of a transaction it is one of its own.
    pub(crate) fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, SessionError> {
        if self.transaction.get() == TransactionState::None {
            let (answers, committed) = self.transaction(&[(sql, params)])?;
            return match committed {
                Committed::Durable => Ok(answers.iter().map(|answer| answer.count).sum()),
                Committed::NotReplicated => Err(SessionError::Unknown(Loss::NotReplicated)),
            };
        }
        let statement = self.prepare(sql)?;
        assert_fit(sql, &statement, params);
        self.ask(self.exchange.client().execute(&statement, params))
    }

    /// Several statements in one text without parameters, such as a migration, which neither begin
    /// nor end transactions.
    pub(crate) fn batch(&self, sql: &str) -> Result<(), SessionError> {
        self.ask(self.exchange.client().batch_execute(sql))
    }

    /// A statement that refuses to be in a transaction, such as `CREATE INDEX CONCURRENTLY`. What a
    /// connection that breaks leaves of it is unknown.
    pub(crate) fn execute_alone(&self, sql: &str) -> Result<(), SessionError> {
        self.assert_none_is_open();
        self.refuse_if_read_only()?;
        self.batch("SET default_transaction_read_only = off")?;
        let client = self.exchange.client();
        let done = self
            .exchange
            .ask(Phase::Committing, client.batch_execute(sql));
        let guarded = self.batch("SET default_transaction_read_only = on");
        if guarded.is_err() {
            self.exchange.break_off();
        }
        done
    }

    /// Begins a transaction. None may be open.
    pub(crate) fn begin(&self, mode: TransactionMode) -> Result<(), SessionError> {
        self.begin_with(mode, &[]).map(drop)
    }

    /// Commits. A transaction in which a statement was refused is rolled back: that is an error.
    pub(crate) fn commit(&self) -> Result<Committed, SessionError> {
        self.commit_with(&[]).map(|(_, committed)| committed)
    }

    /// Undoes what is open, if something is. After an error the session is broken.
    pub(crate) fn rollback(&self) -> Result<(), SessionError> {
        if self.transaction.get() == TransactionState::None {
            return Ok(());
        }
        let undone = self.ask(self.exchange.client().batch_execute("ROLLBACK"));
        if undone.is_err() {
            self.exchange.break_off();
        }
        self.leave_transaction();
        undone
    }

    /// Marks a point to which `rollback_to_savepoint` returns. They nest. Each costs the server a
    /// subtransaction: more than 64 that write, in one transaction, slow all readers down.
    pub(crate) fn savepoint(&self) -> Result<(), SessionError> {
        let depth = self.savepoints.get().saturating_add(1);
        self.batch(&format!("SAVEPOINT s{depth}"))?;
        self.savepoints.set(depth);
        Ok(())
    }

    /// Undoes what came after the latest savepoint, and forgets it. The transaction can go on.
    /// After an error the session is broken.
    pub(crate) fn rollback_to_savepoint(&self) -> Result<(), SessionError> {
        let depth = self.savepoints.get();
        assert!(depth > 0, "a savepoint is made before it is returned to");
        self.batch(&format!(
            "ROLLBACK TO SAVEPOINT s{depth}; RELEASE SAVEPOINT s{depth}"
        ))
        .inspect_err(|_| self.exchange.break_off())?;
        self.savepoints.set(depth.saturating_sub(1));
        self.transaction.set(TransactionState::Open);
        Ok(())
    }

    /// Keeps what came after the latest savepoint, and forgets it.
    pub(crate) fn release_savepoint(&self) -> Result<(), SessionError> {
        let depth = self.savepoints.get();
        assert!(depth > 0, "a savepoint is made before it is released");
        self.batch(&format!("RELEASE SAVEPOINT s{depth}"))?;
        self.savepoints.set(depth.saturating_sub(1));
        Ok(())
    }

    /// Several statements sent at once and answered in order, in one round trip. The first that is
    /// refused is the error.
    pub(crate) fn pipeline(
        &self,
        statements: &[(&str, Params<'_>)],
    ) -> Result<Vec<Answer>, SessionError> {
        let frame = Frame {
            begins: None,
            commits: false,
        };
        self.send(frame, statements).map(|(answers, _)| answers)
    }

    /// Begins a transaction with these statements, in one round trip, and leaves it open. If one is
    /// refused it has to be rolled back.
    pub(crate) fn begin_with(
        &self,
        mode: TransactionMode,
        statements: &[(&str, Params<'_>)],
    ) -> Result<Vec<Answer>, SessionError> {
        let frame = Frame {
            begins: Some(mode),
            commits: false,
        };
        self.send(frame, statements).map(|(answers, _)| answers)
    }

    /// Ends the open transaction with these statements and the commit, in one round trip. If one is
    /// refused the transaction is rolled back.
    pub(crate) fn commit_with(
        &self,
        statements: &[(&str, Params<'_>)],
    ) -> Result<(Vec<Answer>, Committed), SessionError> {
        let frame = Frame {
            begins: None,
            commits: true,
        };
        self.send(frame, statements)
    }

    /// A whole transaction that changes something, in one round trip. If a statement is refused
    /// nothing was changed.
    pub(crate) fn transaction(
        &self,
        statements: &[(&str, Params<'_>)],
    ) -> Result<(Vec<Answer>, Committed), SessionError> {
        let frame = Frame {
            begins: Some(TransactionMode::ReadWrite),
            commits: true,
        };
        self.send(frame, statements)
    }
}

impl Session {
    /// From now on the server tells this session what is notified on the channel.
    pub(crate) fn listen(&self, channel: &str) -> Result<(), SessionError> {
        let is_plain = channel.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(is_plain, "channels of ours need no quotes");
        self.batch(&format!("LISTEN {channel}"))
    }

    /// Waits until something was notified, the limit has passed, or somebody wakes it. Answers all
    /// that was heard since the last call. What is notified while no session listens is lost.
    pub(crate) fn wait_for_notification(
        &self,
        limit: Duration,
    ) -> Result<Vec<Heard>, SessionError> {
        let heard = self.exchange.link().borrow_mut().wait(limit);
        if heard.is_empty() && self.is_broken() {
            return Err(self.exchange.lose(None, Phase::Working));
        }
        let heard = heard.into_iter().map(|one| Heard {
            channel: one.channel().to_owned(),
            text: one.payload().to_owned(),
            backend: one.process_id(),
        });
        Ok(heard.collect())
    }

    /// Ends the waits of this session from another thread.
    pub(crate) fn waker(&self) -> SessionWaker {
        SessionWaker(self.exchange.link().borrow().waker())
    }

    /// Lets each statement take so long from now on, as the server counts. The client waits a
    /// little longer.
    pub(crate) fn limit_statements(&self, limit: Duration) -> Result<(), SessionError> {
        // What is set in a transaction that is rolled back is undone.
        self.assert_none_is_open();
        self.batch(&format!("SET statement_timeout = {}", limit.as_millis()))?;
        self.exchange
            .set_limit(limit.saturating_add(self.limits.grace));
        Ok(())
    }

    fn assert_none_is_open(&self) {
        let is_open = self.transaction.get() != TransactionState::None;
        assert!(!is_open, "no transaction is open");
    }

    /// One request outside of any frame.
    fn ask<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, SessionError> {
        let answer = self.exchange.ask(Phase::Working, request);
        match &answer {
            Err(SessionError::Refused(_)) => self.fail_transaction(),
            // The server has ended it, or will.
            Err(_) => self.leave_transaction(),
            Ok(_) => {}
        }
        answer
    }

    fn prepare(&self, sql: &str) -> Result<Statement, SessionError> {
        let known = self.statements.borrow().get(sql);
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.ask(self.exchange.client().prepare(sql))?;
        let mut statements = self.statements.borrow_mut();
        statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Prepares what was never said on this session, then sends all at once.
    fn send(
        &self,
        frame: Frame,
        statements: &[(&str, Params<'_>)],
    ) -> Result<(Vec<Answer>, Committed), SessionError> {
        if frame.begins.is_some() {
            // What ended while nobody asked has committed nothing.
            self.exchange.link().borrow_mut().look();
        }
        if self.is_broken() {
            self.leave_transaction();
            return Err(self.exchange.lose(None, Phase::Working));
        }
        frame.assert_fits(self.transaction.get());
        let prepared: Result<Vec<Statement>, SessionError> = statements
            .iter()
            .map(|(sql, params)| {
                let statement = self.prepare(sql)?;
                assert_fit(sql, &statement, params);
                Ok(statement)
            })
            .collect();
        if frame.commits && self.transaction.get() == TransactionState::Failed {
            self.rollback()?;
            prepared?;
            return Err(SessionError::Refused(Refused::of_failed_transaction()));
        }
        let prepared = prepared?;
        if frame.begins == Some(TransactionMode::ReadWrite) {
            self.refuse_if_read_only()?;
        }
        if frame.begins.is_some() {
            self.renew_plans()?;
        }
        let client = self.exchange.client();
        let begin = frame
            .begins
            .map(|mode| pipeline::text(client, mode.begin()));
        let end = frame.commits.then(|| pipeline::text(client, COMMIT));
        let between = prepared.iter().zip(statements);
        let between =
            between.map(|(statement, (_, params))| pipeline::bound(client, statement, params));
        let requests = begin.into_iter().chain(between).chain(end).collect();
        // Older notices say nothing about this commit.
        drop(self.exchange.take_notices());
        let answered = self.exchange.run(frame.phase(), pipeline::all(requests));
        let answered = answered.inspect_err(|_| self.leave_transaction())?;
        let mut answers = self.judge(frame, answered)?;
        if frame.begins.is_some() {
            answers.remove(0);
        }
        if frame.commits {
            answers.pop();
            return Ok((answers, self.judge_commit()?));
        }
        Ok((answers, Committed::Durable))
    }

    /// Follows what became of the transaction, and answers the first error.
    fn judge(&self, frame: Frame, answered: Answered) -> Result<Vec<Answer>, SessionError> {
        // A commit that was sent is the last one.
        let commit = (frame.commits && answered.is_sent).then(|| answered.answers.len() - 1);
        let has_begun = matches!(answered.answers.first(), Some(Ok(_)));
        if frame.begins.is_some() && has_begun {
            self.transaction.set(TransactionState::Open);
        }
        let mut answers = Vec::with_capacity(answered.answers.len());
        let mut first = None;
        for (index, answer) in answered.answers.into_iter().enumerate() {
            let error = match answer {
                Ok(answer) => {
                    answers.push(answer);
                    continue;
                }
                Err(error) => error,
            };
            // A server that says goodbye to a request has done none of those behind it.
            let is_before = commit.is_none_or(|commit| index < commit);
            let is_clear = commit.is_none() || is_before && error.as_db_error().is_some();
            let error = self.exchange.judge(&error, Phase::of_commit(!is_clear));
            first.get_or_insert(error);
        }
        if first.is_some() {
            self.fail_transaction();
        }
        match first {
            // The commit was not run, and what is open is still open.
            Some(SessionError::Refused(_)) if frame.commits => drop(self.rollback()),
            None if !frame.commits => {}
            Some(SessionError::Refused(_)) => {}
            None | Some(_) => self.leave_transaction(),
        }
        first.map_or(Ok(answers), Err)
    }

    /// Now and then. The server itself would refuse nothing, since transactions here say that they
    /// write.
    fn refuse_if_read_only(&self) -> Result<(), SessionError> {
        if self.asked_at.get().elapsed() < self.limits.read_only_check {
            return Ok(());
        }
        let rows = self.query(READ_ONLY, &[])?;
        if rows
            .first()
            .is_some_and(|row| row.try_get(0).unwrap_or(false))
        {
            return Err(SessionError::Refused(Refused::of_read_only()));
        }
        self.asked_at.set(Instant::now());
        Ok(())
    }

    /// Now and then, before a transaction begins.
    fn renew_plans(&self) -> Result<(), SessionError> {
        let now = Instant::now();
        if self.plans.is_over(now) {
            self.batch(DISCARD)?;
            self.plans.renew(now);
        }
        Ok(())
    }

    /// What the server said beside a commit that succeeded.
    fn judge_commit(&self) -> Result<Committed, SessionError> {
        let notices = self.exchange.take_notices();
        let warns = |notice: &&DbError| notice.parsed_severity() == Some(Severity::Warning);
        let Some(warning) = notices.iter().find(warns) else {
            return Ok(Committed::Durable);
        };
        if *warning.code() == SqlState::NO_ACTIVE_SQL_TRANSACTION {
            self.exchange.break_off();
            return Err(SessionError::Unknown(Loss::Ended(Refused::of(warning))));
        }
        Ok(Committed::NotReplicated)
    }

    fn fail_transaction(&self) {
        if self.transaction.get() == TransactionState::Open {
            self.transaction.set(TransactionState::Failed);
        }
    }

    fn leave_transaction(&self) {
        self.transaction.set(TransactionState::None);
        self.savepoints.set(0);
    }
}

impl TransactionMode {
    fn begin(self) -> &'static str {
        match self {
            Self::ReadWrite => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            Self::ReadOnly => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

impl Frame {
    fn phase(self) -> Phase {
        Phase::of_commit(self.commits)
    }

    fn assert_fits(self, transaction: TransactionState) {
        let is_open = transaction != TransactionState::None;
        assert!(
            self.begins.is_none() || !is_open,
            "a transaction begins when none is open"
        );
        assert!(
            !self.commits || self.begins.is_some() || is_open,
            "a transaction was begun before it is committed"
        );
    }
}

/// The library would say so too late, when what comes before is sent.
fn assert_fit(sql: &str, statement: &Statement, params: Params<'_>) {
    let (needs, has) = (statement.params().len(), params.len());
    assert!(
        needs == has,
        "a statement with {needs} parameters got {has}: {sql}"
    );
}
