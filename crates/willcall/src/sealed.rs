//! Every secret that is sealed in a store, whatever it is for, page by page.

use std::collections::BTreeSet;

use model::contract::{Frontend, SealedId, SealedSecret, StoreError};
use model::id::WebhookId;
use model::own_header::OwnHeaderId;
use model::signing::{Keyring, SignatureId};
use model::webhook_tls::{ClientKeyId, StoredClientKey};

/// Rows that are read at a time.
const PAGE: usize = 100;

/// Reads all of them.
pub(crate) struct SealedSecrets<'a> {
    store: &'a dyn Frontend,
    place: Place,
}

/// Behind what to read on.
enum Place {
    Signatures(Option<SignatureId>),
    Headers(Option<OwnHeaderId>),
    ClientKeys(Option<ClientKeyId>),
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
            Place::ClientKeys(after) => self.client_keys(after).await.map(Some),
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
        self.place = match count < PAGE {
            true => Place::ClientKeys(None),
            false => Place::Headers(last),
        };
        Ok(found)
    }

    async fn client_keys(
        &mut self,
        after: Option<ClientKeyId>,
    ) -> Result<Vec<SealedSecret>, StoreError> {
        let rows = self.store.client_keys_behind(after, PAGE).await?;
        if rows.len() == PAGE {
            self.place = Place::ClientKeys(rows.last().map(|row| row.id));
        }
        let secret = |row: StoredClientKey| SealedSecret {
            id: SealedId::ClientKey(row.id),
            sealed: row.sealed,
        };
        Ok(rows.into_iter().map(secret).collect())
    }
}

/// What of all secrets opens.
#[derive(Default)]
pub(crate) struct OpeningReport {
    pub(crate) count: usize,
    /// Sealed with another master key than the first.
    pub(crate) outdated: usize,
    pub(crate) unopened: usize,
    /// The first webhooks that send nothing because of that.
    webhooks: BTreeSet<WebhookId>,
    has_more: bool,
    /// What is wrong with the first secret.
    first: String,
}

/// Webhooks that are named; the log of each says what is wrong with it.
const NAMED_MAX: usize = 10;

impl OpeningReport {
    pub(crate) fn note(&mut self, keyring: &Keyring, secret: &SealedSecret) {
        self.count += 1;
        let Err(error) = secret.open(keyring) else {
            self.outdated += usize::from(!keyring.is_current(&secret.sealed));
            return;
        };
        if self.unopened == 0 {
            self.first = format!("{}: {error}", secret.words());
        }
        self.unopened += 1;
        let (webhook, _) = secret.owner();
        match self.webhooks.len() < NAMED_MAX || self.webhooks.contains(&webhook) {
            true => drop(self.webhooks.insert(webhook)),
            false => self.has_more = true,
        }
    }

    /// What cannot be opened and what that means; `None` if everything opens.
    pub(crate) fn words(&self) -> Option<String> {
        let all: Vec<String> = self.webhooks.iter().map(|id| id.0.to_string()).collect();
        let more = if self.has_more { " and others" } else { "" };
        (self.unopened > 0).then(|| {
            format!(
                "{} of {} secrets cannot be opened with the master keys that are set, so nothing is \
                 sent to the webhooks {}{more} ({})",
                self.unopened,
                self.count,
                all.join(", "),
                self.first
            )
        })
    }
}

/// Tries all secrets of a store.
pub(crate) async fn try_all(
    keyring: &Keyring,
    store: &dyn Frontend,
) -> Result<OpeningReport, StoreError> {
    let mut report = OpeningReport::default();
    let mut all = SealedSecrets::of(store);
    while let Some(page) = all.page().await? {
        page.iter().for_each(|secret| report.note(keyring, secret));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::id::TenantId;
    use model::own_header::OwnHeaderName;
    use model::rng::SeededRng;

    use super::*;

    const KEYS: [&str; 2] = [
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
    ];

    fn secret(webhook: i64, keyring: &Keyring) -> SealedSecret {
        let name = OwnHeaderName::parse("X-Key").unwrap();
        let value = model::own_header::value("secret").unwrap();
        let mut rng = SeededRng::from_seed([1; 32]);
        let sealed = keyring.seal(&mut rng, WebhookId(webhook), &name, &value);
        SealedSecret {
            id: SealedId::Header(OwnHeaderId {
                tenant: TenantId(1),
                webhook: WebhookId(webhook),
                name,
            }),
            sealed: sealed.unwrap(),
        }
    }

    #[test]
    fn a_report_names_the_first_webhooks_that_send_nothing_and_why() {
        let [new, old] = KEYS.map(|key| Keyring::parse(key).unwrap());
        let both = Keyring::parse(&KEYS.join("\n")).unwrap();
        let mut report = OpeningReport::default();
        report.note(&both, &secret(1, &new));
        report.note(&both, &secret(2, &old));
        assert_eq!((report.count, report.outdated), (2, 1));
        assert_eq!(report.words(), None);
        let mut report = OpeningReport::default();
        for webhook in 1..=12 {
            report.note(&new, &secret(webhook, &old));
        }
        let damaged = SealedSecret {
            sealed: Bytes::new(),
            ..secret(1, &new)
        };
        report.note(&new, &damaged);
        let words = report.words().unwrap();
        let wanted = "13 of 13 secrets cannot be opened with the master keys that are set, so \
                      nothing is sent to the webhooks 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and others \
                      (webhook 1, header X-Key: its secret is sealed with master key";
        assert!(words.starts_with(wanted), "{words}");
    }
}
