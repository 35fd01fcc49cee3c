//! How calls of a webhook are signed, over REST: the same for every dialect, under a path of our
//! own beside its resource. A secret is answered once, when it is made, and stored nowhere in
//! clear.

use http::StatusCode;
use model::contract::{Conflict, Frontend, StoreError};
use model::limits::{FORMER_KEY_MS_DEFAULT, FORMER_KEY_MS_MAX};
use model::refusal::Refusal;
use model::signing::{
    NewSignature, Profile, SealedKey, Secret, Signature, SignatureChange, SignatureId,
};
use model::time::Timestamp;
use model::webhook::Webhook;
use serde_json::{Value, json};

use super::own_block::{self, Fields, answer, no_content};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::refused;

/// Lists the signatures of a webhook.
pub(crate) async fn list(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let all = all(request, webhook).await?;
    let shown: Vec<Value> = all.iter().map(|one| shown(one, None)).collect();
    Ok(answer(StatusCode::OK, &json!({ "signatures": shown })))
}

/// Adds a signature. The answer has its secret.
pub(crate) async fn add(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    refuse_key(request)?;
    let mut fields = Fields::read(&request.body, &["profile", "header", "svix", "secret"])?;
    let profile = fields.profile();
    let header = fields.header(profile);
    let svix = fields.svix(profile);
    let secret = fields.secret(request, profile);
    let (profile, secret) = fields.done(profile.zip(secret))?;
    let key = sealed(request, webhook, profile, &secret)?;
    let change = SignatureChange::Add(NewSignature { header, svix, key });
    change_signature(request, webhook, profile, change).await?;
    answer_with(request, webhook, profile, StatusCode::CREATED, &secret).await
}

/// Has another key follow. The answer has its secret.
pub(crate) async fn rotate(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    refuse_key(request)?;
    let profile = found(request, webhook).await?.profile;
    let mut fields = Fields::read(&request.body, &["until", "secret"])?;
    let until = fields.until(request.context.clock.now());
    let secret = fields.secret(request, Some(profile));
    let (until, secret) = fields.done(until.zip(secret))?;
    let key = sealed(request, webhook, profile, &secret)?;
    let change = SignatureChange::Rotate { key, until };
    change_signature(request, webhook, profile, change).await?;
    answer_with(request, webhook, profile, StatusCode::OK, &secret).await
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
    Ok(answer(StatusCode::OK, &shown(&signature, None)))
}

/// Shows one signature.
pub(crate) async fn show(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let signature = found(request, webhook).await?;
    Ok(answer(StatusCode::OK, &shown(&signature, None)))
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
    profile: Profile,
    status: StatusCode,
    secret: &Secret,
) -> Result<ApiResponse, Refusal> {
    let all = all(request, webhook).await?;
    let signature = all.iter().find(|one| one.profile == profile);
    let signature = signature.ok_or(Refusal::NoSuchObject)?;
    Ok(answer(status, &shown(signature, Some(secret))))
}

fn sealed(
    request: &AdmittedRequest,
    webhook: &Webhook,
    profile: Profile,
    secret: &Secret,
) -> Result<SealedKey, Refusal> {
    Ok(SealedKey {
        sealed: own_block::sealed(&request.context, webhook.id, profile, secret)?,
        public: secret.public(profile),
        made_at: request.context.clock.now(),
    })
}

async fn change_signature(
    request: &AdmittedRequest,
    webhook: &Webhook,
    profile: Profile,
    change: SignatureChange,
) -> Result<(), Refusal> {
    let id = SignatureId {
        tenant: webhook.tenant,
        webhook: webhook.id,
        profile,
    };
    let (actor, at) = (request.editor_of(webhook), request.context.clock.now());
    // Not repeated if the answer is lost: a second rotation would end the key before it.
    let store: &dyn Frontend = request.context.store.get();
    let changed = store.change_signature(id, change, actor, at).await;
    let Err(error) = changed else { return Ok(()) };
    Err(if let StoreError::Conflict(conflict) = error {
        of_conflict(conflict)
    } else if matches!(error, StoreError::Stale) {
        Refusal::NoSuchObject
    } else {
        refused(&error)
    })
}

fn of_conflict(conflict: Conflict) -> Refusal {
    match conflict {
        Conflict::SignatureProfile => Refusal::invalid(
            "profile",
            "The webhook has this profile already; rotate its key, or remove it first.",
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

    /// The one that was brought, or a new one.
    fn secret(&mut self, request: &AdmittedRequest, profile: Option<Profile>) -> Option<Secret> {
        let brought = self.text("secret");
        let profile = profile?;
        match brought.map(|text| Secret::brought(profile, &text)) {
            None => Some(request.context.rng.with(|rng| Secret::make(profile, rng))),
            Some(Ok(secret)) => Some(secret),
            Some(Err(error)) => self.fault("secret", format!("Not taken: {error}.")),
        }
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

/// A signature; with its secret if that is to be shown. The private half of a key pair never is.
fn shown(signature: &Signature, secret: Option<&Secret>) -> Value {
    let secret = match (secret, &signature.key.public) {
        (_, Some(_)) => Value::Null,
        (None, None) => json!("***"),
        (Some(secret), None) => json!(secret.text()),
    };
    let former = signature.former.as_ref().map(|former| {
        json!({
            "public_key": former.key.public,
            "made_at": former.key.made_at.to_string(),
            "until": former.until.to_string(),
            "used_at": former.used_at.map(|at| at.to_string()),
        })
    });
    json!({
        "profile": signature.profile.as_str(),
        "header": signature.header(),
        "svix": signature.svix,
        "secret": secret,
        "public_key": signature.key.public,
        "made_at": signature.key.made_at.to_string(),
        "former": former,
    })
}
