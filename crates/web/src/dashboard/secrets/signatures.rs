//! Signatures of a webhook: adding one, giving it another key, ending the former key, removing it.

use askama::Template;
use http::StatusCode;
use model::limits::{FORMER_KEY_MS_DEFAULT, FORMER_KEY_MS_MAX};
use model::refusal::Refusal;
use model::signing::{NewSignature, Profile, SealedKey, Signature, SignatureChange, key_set_name};
use model::users::Role;
use model::webhook::Webhook;

use super::show::{self, SignatureView, TypedSecrets, faults_of, refused_form};
use crate::dashboard::faults::Faults;
use crate::dashboard::layout::{Shell, Tab};
use crate::dashboard::page::{PageAccess, PageRoute, get, post};
use crate::dashboard::response::{PageError, PageResponse, go_to, page, page_with};
use crate::dashboard::visit::Visit;
use crate::dashboard::webhook_form::{find, path_to};
use crate::dialect::own_block::Fields;
use crate::dialect::signatures::{NewKey, change, new_key, new_signature};

#[derive(Template)]
#[template(path = "secrets/made.html")]
struct MadePage {
    shell: Shell,
    /// The path of the webhook's secrets.
    path: String,
    profile: &'static str,
    secret: Option<String>,
    /// What receivers verify with, where that is no secret.
    public: Option<String>,
}

#[derive(Template)]
#[template(path = "secrets/rotate.html")]
struct RotatePage {
    shell: Shell,
    path: String,
    faults: Faults,
    signature: SignatureView,
    has_overlap: bool,
    is_made_here: bool,
    until: String,
    until_max: String,
}

#[derive(Template)]
#[template(path = "secrets/confirm.html")]
struct ConfirmPage {
    shell: Shell,
    heading: String,
    what: &'static str,
    path: String,
    action: String,
    button: &'static str,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let edit = PageAccess::Role(Role::Edit);
    let rotate = "/t/{tenant}/webhooks/{webhook}/signatures/{profile}/rotate";
    let end = "/t/{tenant}/webhooks/{webhook}/signatures/{profile}/end-former";
    let remove = "/t/{tenant}/webhooks/{webhook}/signatures/{profile}/remove";
    vec![
        post(
            "signature_add",
            "/t/{tenant}/webhooks/{webhook}/signatures",
            edit,
            add,
        ),
        get("signature_rotate_ask", rotate, edit, ask_rotate),
        post("signature_rotate", rotate, edit, rotate_key),
        get("signature_end_ask", end, edit, ask_end),
        post("signature_end", end, edit, end_former),
        get("signature_remove_ask", remove, edit, ask_remove),
        post("signature_remove", remove, edit, remove_signature),
    ]
}

async fn add(visit: Visit) -> Result<PageResponse, PageError> {
    let webhook = find(&visit).await?;
    match try_add(&visit, &webhook).await {
        Ok(new) => made(&visit, &webhook, &new),
        Err(refusal) => {
            let text = |name| visit.form.get(name).unwrap_or_default().to_owned();
            let typed = TypedSecrets {
                profile: text("profile"),
                header: text("header"),
                svix: visit.form.get("svix").is_some(),
                ..TypedSecrets::default()
            };
            refused_form(&visit, &webhook, typed, refusal).await
        }
    }
}

async fn try_add(visit: &Visit, webhook: &Webhook) -> Result<NewKey, Refusal> {
    let fields = Fields::of_form(&visit.form, &["profile", "header", "secret"]);
    let fields = fields.with_switch("svix", visit.form.get("svix").is_some());
    let (new, header, svix) = new_signature(fields, &visit.context.rng)?;
    let key = sealed(visit, webhook, &new)?;
    let name = |rng: &mut _| key_set_name(new.profile, rng);
    let add = SignatureChange::Add(NewSignature {
        header,
        svix,
        key_set: visit.context.rng.with(name),
        key,
    });
    save(visit, webhook, new.profile, add).await?;
    Ok(new)
}

/// The page that shows a secret once, if it was made here.
fn made(visit: &Visit, webhook: &Webhook, new: &NewKey) -> Result<PageResponse, PageError> {
    let path = path_of(visit, webhook)?;
    let public = new.secret.public(new.profile);
    if new.is_brought {
        return Ok(go_to(&format!("{path}?said=signed")));
    }
    let secret = public.is_none().then(|| new.secret.text().to_owned());
    page(&MadePage {
        shell: Shell::of(visit, Tab::Webhooks, "The new key"),
        path,
        profile: new.profile.as_str(),
        secret,
        public,
    })
}

/// The path of the webhook's secrets.
fn path_of(visit: &Visit, webhook: &Webhook) -> Result<String, PageError> {
    Ok(format!("{}/secrets", path_to(visit.tenant()?, webhook.id)))
}

fn sealed(visit: &Visit, webhook: &Webhook, new: &NewKey) -> Result<SealedKey, Refusal> {
    let context = &visit.context;
    new.sealed(&context.keyring, &context.rng, webhook.id, visit.now)
}

async fn save(
    visit: &Visit,
    webhook: &Webhook,
    profile: Profile,
    what: SignatureChange,
) -> Result<(), Refusal> {
    let store = visit.context.store.get();
    change(store, webhook, profile, what, visit.actor(), visit.now).await
}

/// The webhook and the signature of it that the path names.
async fn found(visit: &Visit) -> Result<(Webhook, Signature), PageError> {
    let webhook = find(visit).await?;
    let profile: Result<Profile, ()> = visit.param("profile").parse();
    let profile = profile.map_err(|()| PageError::NotFound)?;
    let all = show::signatures(visit, &webhook).await?;
    let signature = all.into_iter().find(|own| own.profile == profile);
    Ok((webhook, signature.ok_or(PageError::NotFound)?))
}

async fn ask_rotate(visit: Visit) -> Result<PageResponse, PageError> {
    let (webhook, signature) = found(&visit).await?;
    rotate_form(&visit, &webhook, &signature, None, Faults::default())
}

fn rotate_form(
    visit: &Visit,
    webhook: &Webhook,
    signature: &Signature,
    until: Option<&str>,
    faults: Faults,
) -> Result<PageResponse, PageError> {
    let status = match faults.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let minute = |ms| {
        let text = visit.now.plus_ms(ms).to_string();
        text.chars().take("2026-12-24T18:00".len()).collect()
    };
    let form = RotatePage {
        shell: Shell::of(visit, Tab::Webhooks, "Another key"),
        path: path_of(visit, webhook)?,
        faults,
        has_overlap: signature.profile.has_overlap(),
        is_made_here: signature.key.public.is_some(),
        signature: SignatureView::of(signature, visit),
        until: until.map_or_else(|| minute(FORMER_KEY_MS_DEFAULT), str::to_owned),
        until_max: minute(FORMER_KEY_MS_MAX),
    };
    page_with(status, &form)
}

async fn rotate_key(visit: Visit) -> Result<PageResponse, PageError> {
    let (webhook, signature) = found(&visit).await?;
    match try_rotate(&visit, &webhook, signature.profile).await {
        Ok(new) => made(&visit, &webhook, &new),
        Err(refusal) => {
            let faults = faults_of(refusal)?;
            let until = visit.form.get("until").unwrap_or_default();
            rotate_form(&visit, &webhook, &signature, Some(until), faults)
        }
    }
}

async fn try_rotate(visit: &Visit, webhook: &Webhook, profile: Profile) -> Result<NewKey, Refusal> {
    let mut fields = Fields::of_form(&visit.form, &["until", "secret"]);
    fields.complete_time("until");
    let (until, new) = new_key(fields, &visit.context.rng, profile, visit.now)?;
    let key = sealed(visit, webhook, &new)?;
    save(
        visit,
        webhook,
        profile,
        SignatureChange::Rotate { key, until },
    )
    .await?;
    Ok(new)
}

async fn ask_end(visit: Visit) -> Result<PageResponse, PageError> {
    let what = "Receivers that know only the former key refuse calls from then on. It cannot be \
                brought back.";
    confirm(visit, "End the former key of", what, "end-former", "End it").await
}

async fn ask_remove(visit: Visit) -> Result<PageResponse, PageError> {
    let what = "Calls go without this signature from then on, and receivers that verify it refuse \
                them. Its secret is removed for good.";
    confirm(visit, "Remove", what, "remove", "Remove it").await
}

async fn confirm(
    visit: Visit,
    verb: &str,
    what: &'static str,
    action: &str,
    button: &'static str,
) -> Result<PageResponse, PageError> {
    let (webhook, signature) = found(&visit).await?;
    let profile = signature.profile.as_str();
    let heading = format!("{verb} the signature {profile}?");
    let of_webhook = path_to(visit.tenant()?, webhook.id);
    page(&ConfirmPage {
        shell: Shell::of(&visit, Tab::Webhooks, heading.as_str()),
        heading,
        what,
        path: path_of(&visit, &webhook)?,
        action: format!("{of_webhook}/signatures/{profile}/{action}"),
        button,
    })
}

async fn end_former(visit: Visit) -> Result<PageResponse, PageError> {
    let (webhook, signature) = found(&visit).await?;
    let path = path_of(&visit, &webhook)?;
    if signature.former.is_none() {
        return Ok(go_to(&format!("{path}?said=unchanged")));
    }
    let end = SignatureChange::EndFormer;
    save(&visit, &webhook, signature.profile, end).await?;
    Ok(go_to(&format!("{path}?said=former-ended")))
}

async fn remove_signature(visit: Visit) -> Result<PageResponse, PageError> {
    let (webhook, signature) = found(&visit).await?;
    let remove = SignatureChange::Remove;
    save(&visit, &webhook, signature.profile, remove).await?;
    let path = path_of(&visit, &webhook)?;
    Ok(go_to(&format!("{path}?said=signature-removed")))
}
