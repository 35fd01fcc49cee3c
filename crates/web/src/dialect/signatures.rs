//! How calls of a webhook are signed, over REST: the same for every dialect, under a path of our
//! own beside its resource. A secret is answered once, when it is made, and stored nowhere in
//! clear.

use http::StatusCode;
use model::contract::{Conflict, Frontend, StoreError};
use model::id::WebhookId;
use model::limits::{FORMER_KEY_MS_DEFAULT, FORMER_KEY_MS_MAX};
use model::refusal::Refusal;
use model::signing::{
    Keyring, NewSignature, Profile, SealedKey, Secret, Signature, SignatureChange, SignatureId,
    key_set_name,
};
use model::time::Timestamp;
use model::webhook::Webhook;
use serde_json::{Value, json};

use super::own_block::{self, Fields, answer, no_content};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::refused;
use crate::rng::SharedRng;
use crate::transport::well_known;

/// Lists the signatures of a webhook.
pub(crate) async fn list(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let all = all(request, webhook).await?;
    let shown = all
        .iter()
        .map(|one| Shown::new(request, webhook, one).json());
    let shown: Vec<Value> = shown.collect();
    Ok(answer(StatusCode::OK, &json!({ "signatures": shown })))
}

/// Adds a signature. The answer has its secret.
pub(crate) async fn add(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    refuse_key(request)?;
    let fields = Fields::read(&request.body, &["profile", "header", "svix", "secret"])?;
    let (new, header, svix) = new_signature(fields, &request.context.rng)?;
    let key = sealed(request, webhook, &new)?;
    let change = SignatureChange::Add(NewSignature {
        header,
        svix,
        key_set: request
            .context
            .rng
            .with(|rng| key_set_name(new.profile, rng)),
        key,
    });
    change_signature(request, webhook, new.profile, change).await?;
    answer_with(request, webhook, StatusCode::CREATED, &new).await
}

/// Has another key follow. The answer has its secret.
pub(crate) async fn rotate(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    refuse_key(request)?;
    let profile = found(request, webhook).await?.profile;
    let fields = Fields::read(&request.body, &["until", "secret"])?;
    let context = &request.context;
    let (until, new) = new_key(fields, &context.rng, profile, context.clock.now())?;
    let key = sealed(request, webhook, &new)?;
    let change = SignatureChange::Rotate { key, until };
    change_signature(request, webhook, profile, change).await?;
    answer_with(request, webhook, StatusCode::OK, &new).await
}

/// A secret that is not stored yet.
pub(crate) struct NewKey {
    pub(crate) profile: Profile,
    pub(crate) secret: Secret,
    /// Whoever asked has it already.
    pub(crate) is_brought: bool,
}

/// A signature that is to be added: its key, its header, and whether Svix's go with it.
pub(crate) fn new_signature(
    mut fields: Fields,
    rng: &SharedRng,
) -> Result<(NewKey, Option<String>, bool), Refusal> {
    let profile = fields.profile();
    let header = fields.header(profile);
    let svix = fields.svix(profile);
    let key = fields.key(rng, profile);
    Ok((fields.done(key)?, header, svix))
}

/// A key that is to follow: until when the one before it signs, and the key.
pub(crate) fn new_key(
    mut fields: Fields,
    rng: &SharedRng,
    profile: Profile,
    now: Timestamp,
) -> Result<(Timestamp, NewKey), Refusal> {
    let until = fields.until(now);
    let key = fields.key(rng, Some(profile));
    fields.done(until.zip(key))
}

/// Ends the former key now.
pub(crate) async fn end_former(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let signature = found(request, webhook).await?;
    let profile = signature.profile;
    if signature.former.is_none() {
        let words = "This signature has no former key.";
        return Err(Refusal::Contradiction(words.to_owned()));
    }
    change_signature(request, webhook, profile, SignatureChange::EndFormer).await?;
    let signature = found(request, webhook).await?;
    let shown = Shown::new(request, webhook, &signature).json();
    Ok(answer(StatusCode::OK, &shown))
}

/// Shows one signature.
pub(crate) async fn show(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let signature = found(request, webhook).await?;
    let shown = Shown::new(request, webhook, &signature).json();
    Ok(answer(StatusCode::OK, &shown))
}

/// Removes a signature: calls go without it from now on.
pub(crate) async fn remove(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let profile = found(request, webhook).await?.profile;
    change_signature(request, webhook, profile, SignatureChange::Remove).await?;
    Ok(no_content())
}

/// Answers under an idempotency key are stored, and these have secrets.
fn refuse_key(request: &AdmittedRequest) -> Result<(), Refusal> {
    own_block::refuse_key(
        request,
        "the answer has a secret, which is kept nowhere. A signature is added only once in any \
         case",
    )
}

async fn all(request: &AdmittedRequest, webhook: &Webhook) -> Result<Vec<Signature>, Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    request.ask(move |store| store.signatures(tenant, id)).await
}

/// The signature that the path names.
async fn found(request: &AdmittedRequest, webhook: &Webhook) -> Result<Signature, Refusal> {
    let named: Result<Profile, ()> = request.head.param("profile").parse();
    let profile = named.map_err(|()| Refusal::NotAName)?;
    let all = all(request, webhook).await?;
    let found = all.into_iter().find(|one| one.profile == profile);
    found.ok_or(Refusal::NoSuchObject)
}

async fn answer_with(
    request: &AdmittedRequest,
    webhook: &Webhook,
    status: StatusCode,
    new: &NewKey,
) -> Result<ApiResponse, Refusal> {
    let all = all(request, webhook).await?;
    let signature = all.iter().find(|one| one.profile == new.profile);
    let signature = signature.ok_or(Refusal::NoSuchObject)?;
    let shown = Shown::new(request, webhook, signature);
    Ok(answer(status, &shown.with_secret(new.secret.text())))
}

fn sealed(
    request: &AdmittedRequest,
    webhook: &Webhook,
    new: &NewKey,
) -> Result<SealedKey, Refusal> {
    let context = &request.context;
    new.sealed(
        &context.keyring,
        &context.rng,
        webhook.id,
        context.clock.now(),
    )
}

impl NewKey {
    /// As it is stored.
    pub(crate) fn sealed(
        &self,
        keyring: &Keyring,
        rng: &SharedRng,
        webhook: WebhookId,
        now: Timestamp,
    ) -> Result<SealedKey, Refusal> {
        Ok(SealedKey {
            sealed: own_block::sealed(keyring, rng, webhook, self.profile, &self.secret)?,
            public: self.secret.public(self.profile),
            made_at: now,
        })
    }
}

async fn change_signature(
    request: &AdmittedRequest,
    webhook: &Webhook,
    profile: Profile,
    what: SignatureChange,
) -> Result<(), Refusal> {
    let (actor, at) = (request.editor_of(webhook), request.context.clock.now());
    let store: &dyn Frontend = request.context.store.get();
    change(store, webhook, profile, what, actor, at).await
}

/// Changes a signature of this webhook.
pub(crate) async fn change(
    store: &dyn Frontend,
    webhook: &Webhook,
    profile: Profile,
    what: SignatureChange,
    actor: String,
    at: Timestamp,
) -> Result<(), Refusal> {
    let id = SignatureId {
        tenant: webhook.tenant,
        webhook: webhook.id,
        profile,
    };
    // Not repeated if the answer is lost: a second rotation would end the key before it.
    let changed = store.change_signature(id, what, actor, at).await;
    let Err(error) = changed else { return Ok(()) };
    Err(if let StoreError::Conflict(conflict) = error {
        of_conflict(conflict, profile)
    } else if matches!(error, StoreError::Stale) {
        Refusal::NoSuchObject
    } else {
        refused(&error)
    })
}

fn of_conflict(conflict: Conflict, profile: Profile) -> Refusal {
    match conflict {
        Conflict::SignatureProfile => Refusal::invalid(
            "profile",
            "The webhook has this profile already; rotate its key, or remove it first.",
        ),
        Conflict::SignatureHeader if profile.is_rfc9421() => Refusal::invalid(
            "profile",
            "The webhook has a signature of RFC 9421 already, and receivers take one. Remove it \
             first.",
        ),
        Conflict::SignatureHeader => Refusal::invalid(
            "header",
            "Another signature of this webhook has this header, or it has an own header of this name.",
        ),
        Conflict::FormerKey => Refusal::Contradiction(
            "The former key still signs. End it first; receivers that know no other key then \
             refuse calls."
                .to_owned(),
        ),
        other @ (Conflict::TokenName
        | Conflict::TokenHash
        | Conflict::WebhookKey
        | Conflict::UserName
        | Conflict::OwnHeader
        | Conflict::OwnHeaderSigned
        | Conflict::OwnHeaders
        | Conflict::OwnHeaderBytes
        | Conflict::IdempotencyKey) => refused(&StoreError::Conflict(other)),
    }
}

impl Fields {
    fn profile(&mut self) -> Option<Profile> {
        let named = self.text("profile");
        let profile: Option<Profile> = named.and_then(|name| name.parse().ok());
        let told = self.faults.iter().any(|fault| fault.field == "profile");
        if profile.is_none() && !told {
            let names = Profile::ALL.map(Profile::as_str).join(", ");
            return self.fault("profile", format!("It has to be one of {names}."));
        }
        profile
    }

    fn header(&mut self, profile: Option<Profile>) -> Option<String> {
        let header = self.text("header")?;
        match profile?.check_header(&header) {
            Ok(()) => Some(header),
            Err(error) => self.fault("header", format!("Not taken: {error}.")),
        }
    }

    fn svix(&mut self, profile: Option<Profile>) -> bool {
        match self.given.get("svix") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true)) if profile.is_none_or(Profile::is_standard) => true,
            Some(Value::Bool(true)) => {
                let words = "Only Standard Webhooks has the headers of Svix.";
                self.fault("svix", words).unwrap_or(false)
            }
            Some(_) => self
                .fault("svix", "It has to be true or false.")
                .unwrap_or(false),
        }
    }

    /// The secret that was brought, or a new one.
    fn key(&mut self, rng: &SharedRng, profile: Option<Profile>) -> Option<NewKey> {
        let brought = self.text("secret");
        let profile = profile?;
        let is_brought = brought.is_some();
        let secret = match brought.map(|text| Secret::brought(profile, &text)) {
            None => rng.with(|rng| Secret::make(profile, rng)),
            Some(Ok(secret)) => secret,
            Some(Err(error)) => return self.fault("secret", format!("Not taken: {error}.")),
        };
        Some(NewKey {
            profile,
            secret,
            is_brought,
        })
    }

    fn until(&mut self, now: Timestamp) -> Option<Timestamp> {
        let Some(text) = self.text("until") else {
            return Some(now.plus_ms(FORMER_KEY_MS_DEFAULT));
        };
        let until: Option<Timestamp> = text.parse().ok();
        let most = now.plus_ms(FORMER_KEY_MS_MAX);
        match until.filter(|until| (now..=most).contains(until)) {
            Some(until) => Some(until),
            None => self.fault(
                "until",
                "It has to be a time of the next 90 days, such as 2026-12-24T18:00:00Z.",
            ),
        }
    }
}

/// A signature as it is shown. The private half of a key pair never is.
struct Shown<'a> {
    signature: &'a Signature,
    /// What names its keys in calls: the one that signs, and the former one.
    key_ids: [Option<String>; 2],
}

impl<'a> Shown<'a> {
    fn new(request: &AdmittedRequest, webhook: &Webhook, signature: &'a Signature) -> Self {
        let profile = signature.profile;
        let id = |key: &SealedKey| {
            if !profile.is_rfc9421() {
                return None;
            }
            let keyring = &request.context.keyring;
            // One that does not open fails the calls, and the log says why.
            let secret = keyring.open(webhook.id, profile, &key.sealed).ok()?;
            secret.key_id(profile)
        };
        let former = signature.former.as_ref();
        Self {
            signature,
            key_ids: [
                id(&signature.key),
                former.and_then(|former| id(&former.key)),
            ],
        }
    }

    fn json(&self) -> Value {
        self.with_secret("***")
    }

    fn with_secret(&self, secret: &str) -> Value {
        let signature = self.signature;
        let [key_id, former_key_id] = &self.key_ids;
        let former = signature.former.as_ref().map(|former| {
            json!({
                "key_id": former_key_id,
                "public_key": public(&former.key),
                "made_at": former.key.made_at.to_string(),
                "until": former.until.to_string(),
                "used_at": former.used_at.map(|at| at.to_string()),
            })
        });
        let key_set = signature.key_set.as_ref();
        json!({
            "profile": signature.profile.as_str(),
            "header": signature.header(),
            "svix": signature.svix,
            "secret": (!signature.profile.has_key_pair()).then_some(secret),
            "key_id": key_id,
            "public_key": public(&signature.key),
            "key_set": key_set.map(|name| well_known::key_set(name)),
            "made_at": signature.key.made_at.to_string(),
            "former": former,
        })
    }
}

/// A JWK as the object that it is, any other key as its text.
fn public(key: &SealedKey) -> Value {
    let Some(text) = &key.public else {
        return Value::Null;
    };
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}
