//! What pages get: the store, what they explain, and the slots of live streams.

use std::pin::Pin;
use std::sync::Arc;

use model::address::Networks;
use model::delivery::DispatchState;
use model::id::DeliveryId;
use model::policy::Policies;
use model::refusal::Refusal;
use model::signing::Keyring;
use model::tenant::TokenHash;
use model::time::{Clock, Timestamp};
use model::users::User;
use tokio::sync::watch;

use super::brand::Brand;
use super::frames::FrameAncestors;
use super::stream_slots::StreamSlots;
use crate::dialect::value::Dialects;
use crate::gateway::export_slots::ExportSlots;
use crate::gateway::metrics::RequestMetrics;
use crate::gateway::store::StoreHandle;
use crate::rng::SharedRng;

/// Looks up where the engine has a pending delivery; `None` if that is not known.
pub type DispatchLookup = Arc<
    dyn Fn(DeliveryId) -> Pin<Box<dyn Future<Output = Option<DispatchState>> + Send>> + Send + Sync,
>;

pub(crate) struct PageContext {
    pub(crate) store: StoreHandle,
    pub(crate) clock: Clock,
    pub(crate) rng: SharedRng,
    /// Seals secrets.
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) dialects: Arc<Dialects>,
    /// How deliveries are made, for explanations.
    pub(crate) policies: Policies,
    /// Names under which this server is reached, beside addresses and names without a dot.
    pub(crate) hosts: Vec<String>,
    pub(crate) brand: Brand,
    /// Whose pages may show ours in a frame.
    pub(crate) frames: FrameAncestors,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub(crate) proxies: Networks,
    /// True once live streams are to end.
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) stream_slots: Arc<StreamSlots>,
    pub(crate) export_slots: Arc<ExportSlots>,
    pub(crate) dispatch_state: DispatchLookup,
    pub(crate) metrics: Arc<RequestMetrics>,
}

impl PageContext {
    /// Who has this session: a user, or whom a portal link let in.
    pub(crate) async fn signed_in(
        &self,
        session: TokenHash,
        now: Timestamp,
    ) -> Result<Option<User>, Refusal> {
        let user = self.store.ask(|store| store.session(session, now)).await?;
        if user.is_some() {
            return Ok(user);
        }
        let visitor = self.store.ask(|store| store.portal_session(session, now));
        Ok(visitor.await?.map(|visitor| visitor.signed_in(session)))
    }
}
