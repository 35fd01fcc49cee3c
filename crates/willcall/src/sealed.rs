//! Every secret that is sealed in a store, whatever it is for, page by page.

use bytes::Bytes;
use model::contract::{Frontend, SealedId, StoreError};
use model::id::WebhookId;
use model::own_header::OwnHeaderId;
use model::signing::{Keyring, SealError, Secret, SecretOf, SignatureId};

/// Rows that are read at a time.
const PAGE: usize = 100;

/// A secret as it is stored.
pub(crate) struct SealedSecret {
    pub(crate) id: SealedId,
    pub(crate) sealed: Bytes,
}

/// Reads all of them.
pub(crate) struct SealedSecrets<'a> {
    store: &'a dyn Frontend,
    place: Place,
}

/// Behind what to read on.
enum Place {
    Signatures(Option<SignatureId>),
    Headers(Option<OwnHeaderId>),
    End,
}

impl<'a> SealedSecrets<'a> {
    pub(crate) fn of(store: &'a dyn Frontend) -> Self {
        Self {
            store,
            place: Place::Signatures(None),
        }
    }

    /// The next page, which may be empty; `None` behind the last.
    pub(crate) async fn page(&mut self) -> Result<Option<Vec<SealedSecret>>, StoreError> {
        match std::mem::replace(&mut self.place, Place::End) {
            Place::Signatures(after) => self.signatures(after).await.map(Some),
            Place::Headers(after) => self.headers(after).await.map(Some),
            Place::End => Ok(None),
        }
    }

    async fn signatures(
        &mut self,
        after: Option<SignatureId>,
    ) -> Result<Vec<SealedSecret>, StoreError> {
        let rows = self.store.signatures_behind(after, PAGE).await?;
        let (mut last, count) = (None, rows.len());
        let mut found = Vec::new();
        for row in rows {
            let id = SignatureId {
                tenant: row.tenant,
                webhook: row.webhook,
                profile: row.signature.profile,
            };
            let former = row.signature.former.map(|former| former.key);
            let keys = std::iter::once(row.signature.key).chain(former);
            found.extend(keys.map(|key| SealedSecret {
                id: SealedId::Signature(id),
                sealed: key.sealed,
            }));
            last = Some(id);
        }
        self.place = match count < PAGE {
            true => Place::Headers(None),
            false => Place::Signatures(last),
        };
        Ok(found)
    }

    async fn headers(
        &mut self,
        after: Option<OwnHeaderId>,
    ) -> Result<Vec<SealedSecret>, StoreError> {
        let rows = self.store.own_headers_behind(after, PAGE).await?;
        let (mut last, count) = (None, rows.len());
        let mut found = Vec::new();
        for row in rows {
            let id = OwnHeaderId {
                tenant: row.tenant,
                webhook: row.webhook,
                name: row.header.name,
            };
            found.push(SealedSecret {
                id: SealedId::Header(id.clone()),
                sealed: row.header.sealed,
            });
            last = Some(id);
        }
        if count == PAGE {
            self.place = Place::Headers(last);
        }
        Ok(found)
    }
}

impl SealedSecret {
    pub(crate) fn open(&self, keyring: &Keyring) -> Result<Secret, SealError> {
        let (webhook, of) = self.owner();
        keyring.open(webhook, of, &self.sealed)
    }

    /// Of which webhook, and what of it.
    pub(crate) fn owner(&self) -> (WebhookId, SecretOf<'_>) {
        match &self.id {
            SealedId::Signature(id) => (id.webhook, id.profile.into()),
            SealedId::Header(id) => (id.webhook, (&id.name).into()),
        }
    }

    /// What it is, for people.
    pub(crate) fn words(&self) -> String {
        match self.owner() {
            (webhook, SecretOf::Signature(profile)) => {
                format!("Webhook {}, signature {}", webhook.0, profile.as_str())
            }
            (webhook, SecretOf::Header(name)) => format!("Webhook {}, header {name}", webhook.0),
        }
    }
}
