//! The real store, except that now and then it answers with trouble.

use std::sync::{Arc, Mutex};

use model::contract::{Store, StoreError, StoreFuture};
use model::idempotency::IdempotentOperation;
use model::wrapper::{StoreCall, StoreWrapper};
use tokio::sync::{Notify, watch};

/// What happens to the next batch, save or creation.
#[derive(Debug, Clone)]
pub(crate) enum InjectedFault {
    /// It is not done.
    Refuse(StoreError),
    /// It is done, and nobody hears of it.
    LoseAnswer,
    /// It is done as ever.
    Nothing,
}

pub(crate) struct FaultyStore {
    store: Arc<dyn Store>,
    next: Mutex<Vec<InjectedFault>>,
    gate: Arc<Gate>,
    /// What it says of itself.
    pub(crate) trouble: Mutex<Option<String>>,
}

/// While it is closed, creations of webhooks wait.
pub(crate) struct Gate {
    open: watch::Sender<bool>,
    /// Told when a creation waits.
    pub(crate) reached: Notify,
}

impl Gate {
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

impl FaultyStore {
    pub(crate) fn new() -> Self {
        Self {
            store: store::open_inline().unwrap(),
            next: Mutex::default(),
            gate: Arc::new(Gate {
                open: watch::Sender::new(true),
                reached: Notify::new(),
            }),
            trouble: Mutex::default(),
        }
    }

    pub(crate) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    pub(crate) fn next(&self, trouble: InjectedFault) {
        self.next.lock().unwrap().push(trouble);
    }

    fn at_the_gate<T: Send + 'static>(&self, work: StoreFuture<T>) -> StoreFuture<T> {
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            let mut opened = gate.open.subscribe();
            if !*opened.borrow_and_update() {
                gate.reached.notify_one();
            }
            let _opened = opened.wait_for(|open| *open).await.is_ok();
            work.await
        })
    }

    fn through<T: Send + 'static>(&self, work: impl FnOnce() -> StoreFuture<T>) -> StoreFuture<T> {
        match self.next.lock().unwrap().pop() {
            None | Some(InjectedFault::Nothing) => work(),
            Some(InjectedFault::Refuse(error)) => Box::pin(std::future::ready(Err(error))),
            Some(InjectedFault::LoseAnswer) => {
                let work = work();
                Box::pin(async move {
                    drop(work.await?);
                    Err(StoreError::Unknown)
                })
            }
        }
    }
}

impl StoreWrapper for FaultyStore {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn known_trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap().clone()
    }

    fn around<T: Send + 'static>(
        &self,
        call: StoreCall,
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "all others pass through as they are"
        )]
        match call {
            StoreCall::RunIdempotent(IdempotentOperation::CreateWebhook { .. })
            | StoreCall::CreateWebhook => self.at_the_gate(self.through(work)),
            StoreCall::Accept
            | StoreCall::Replay
            | StoreCall::RunIdempotent(_)
            | StoreCall::StoreResponse
            | StoreCall::CreateToken
            | StoreCall::SaveWebhook => self.through(work),
            _ => work(),
        }
    }
}
