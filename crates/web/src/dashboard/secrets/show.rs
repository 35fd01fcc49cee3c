//! The page of a webhook's secrets: what there is, whether it can be opened, and the forms that
//! add.

use askama::Template;
use http::StatusCode;
use model::certificate::{self, Certificate};
use model::own_header::OwnHeader;
use model::refusal::Refusal;
use model::signing::{Profile, SealError, Secret, SecretError, SecretOf, Signature};
use model::target::{authorization, masked};
use model::time::Timestamp;
use model::url_marks;
use model::users::Role;
use model::webhook::Webhook;
use model::webhook_tls::WebhookTls;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::dashboard::faults::Faults;
use crate::dashboard::layout::{Shell, Tab};
use crate::dashboard::page::{PageAccess, PageRoute, get};
use crate::dashboard::response::{PageError, PageResponse, page_with};
use crate::dashboard::view::DisplayTime;
use crate::dashboard::visit::Visit;
use crate::dashboard::webhook::name_of;
use crate::dashboard::webhook_form::{find, path_to};

#[derive(Template)]
#[template(path = "secrets/show.html")]
struct SecretsPage {
    shell: Shell,
    name: String,
    /// The path of the webhook's page.
    path: String,
    url: String,
    /// Whether the URL marks something.
    is_marked: bool,
    faults: Faults,
    typed: TypedSecrets,
    may_edit: bool,
    has_master_key: bool,
    signatures: Vec<SignatureView>,
    /// Those that the webhook does not have.
    profiles: Vec<ProfileChoice>,
    headers: Vec<HeaderView>,
    client: Vec<CertificateView>,
    /// Why the client certificate cannot be used, if so.
    client_broken: Option<String>,
    ca: Vec<CertificateView>,
    /// The URL is not of https.
    is_plain: bool,
    /// The URL has credentials that an own header takes the place of.
    replaces_credentials: bool,
}

/// What was typed and may be shown again.
#[derive(Default)]
pub(super) struct TypedSecrets {
    pub(super) profile: String,
    pub(super) header: String,
    pub(super) svix: bool,
    pub(super) name: String,
}

/// A signature, for people.
pub(super) struct SignatureView {
    pub(super) profile: &'static str,
    pub(super) header: String,
    pub(super) svix: bool,
    pub(super) public: Option<String>,
    pub(super) made_at: DisplayTime,
    pub(super) former: Option<FormerView>,
    /// Why it cannot be made, if so.
    pub(super) broken: Option<String>,
}

pub(super) struct FormerView {
    pub(super) until: DisplayTime,
    pub(super) used_at: Option<DisplayTime>,
    pub(super) has_ended: bool,
}

/// A certificate, for people.
pub(super) struct CertificateView {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) until: DisplayTime,
    pub(super) has_expired: bool,
    pub(super) fingerprint: String,
}

struct HeaderView {
    name: String,
    /// The name in a path.
    segment: String,
    set_at: DisplayTime,
    broken: Option<String>,
}

/// A profile that can be added, described by what it does.
struct ProfileChoice {
    code: &'static str,
    header: &'static str,
    has_overlap: bool,
    is_fixed: bool,
    is_made_here: bool,
    chosen: bool,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let path = "/t/{tenant}/webhooks/{webhook}/secrets";
    vec![get("secrets", path, PageAccess::Role(Role::Look), show)]
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let webhook = find(&visit).await?;
    form(&visit, &webhook, TypedSecrets::default(), Faults::default()).await
}

/// The page after something was refused: faults stand at their fields.
pub(super) async fn refused_form(
    visit: &Visit,
    webhook: &Webhook,
    typed: TypedSecrets,
    refusal: Refusal,
) -> Result<PageResponse, PageError> {
    let faults = faults_of(refusal)?;
    form(visit, webhook, typed, faults).await
}

/// What is wrong with the fields of a form, or with the whole.
pub(super) fn faults_of(refusal: Refusal) -> Result<Faults, PageError> {
    let mut faults = Faults::default();
    if let Refusal::Invalid(all) = &refusal {
        for fault in all {
            faults.add_fault(fault);
        }
    } else if let Refusal::Contradiction(words) = &refusal {
        faults.add("secrets", words);
    } else {
        return Err(refusal.into());
    }
    Ok(faults)
}

async fn form(
    visit: &Visit,
    webhook: &Webhook,
    typed: TypedSecrets,
    faults: Faults,
) -> Result<PageResponse, PageError> {
    let (signatures, headers) = (signatures(visit, webhook), own_headers(visit, webhook));
    let (signatures, headers) = (signatures.await?, headers.await?);
    let tls = webhook_tls(visit, webhook).await?;
    let unusable = tls.open(&visit.context.keyring, webhook.id).err();
    let opens = |of: SecretOf<'_>, sealed: &[u8]| {
        let opened = visit.context.keyring.open(webhook.id, of, sealed);
        opened.err().map(|error: SealError| error.to_string())
    };
    let is_excluded = |other: &Profile| signatures.iter().any(|own| own.profile.excludes(*other));
    let choices = Profile::ALL
        .into_iter()
        .filter(|profile| !is_excluded(profile));
    let status = match faults.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let described = (visit.dialect()?.dashboard.describe)(webhook);
    let name = name_of(described.name, webhook);
    let has_authorization = headers
        .iter()
        .any(|header| header.name.as_str() == "Authorization");
    page_with(
        status,
        &SecretsPage {
            shell: Shell::of(visit, Tab::Webhooks, format!("Secrets of {name}")),
            path: path_to(visit.tenant()?, webhook.id),
            url: masked(&webhook.target_url),
            is_marked: !url_marks::secrets(&webhook.target_url).is_empty(),
            may_edit: visit.may(Role::Edit),
            has_master_key: !visit.context.keyring.is_empty(),
            profiles: choices
                .map(|profile| ProfileChoice::of(profile, &typed.profile))
                .collect(),
            signatures: signatures
                .iter()
                .map(|own| SignatureView {
                    broken: opens(own.profile.into(), &own.key.sealed),
                    ..SignatureView::of(own, visit)
                })
                .collect(),
            headers: headers
                .iter()
                .map(|own| HeaderView {
                    name: own.name.as_str().to_owned(),
                    segment: utf8_percent_encode(own.name.as_str(), NON_ALPHANUMERIC).to_string(),
                    set_at: DisplayTime(own.set_at),
                    broken: opens((&own.name).into(), &own.sealed),
                })
                .collect(),
            client: CertificateView::all(tls.client.map(|own| own.chain).as_deref(), visit.now),
            client_broken: unusable.map(|unusable| unusable.to_string()),
            ca: CertificateView::all(tls.ca.map(|own| own.certificates).as_deref(), visit.now),
            is_plain: !webhook.target_url.starts_with("https:"),
            replaces_credentials: has_authorization && authorization(&webhook.target_url).is_some(),
            faults,
            typed,
            name,
        },
    )
}

pub(super) async fn signatures(
    visit: &Visit,
    webhook: &Webhook,
) -> Result<Vec<Signature>, Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    visit.ask(move |store| store.signatures(tenant, id)).await
}

pub(super) async fn own_headers(
    visit: &Visit,
    webhook: &Webhook,
) -> Result<Vec<OwnHeader>, Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    visit.ask(move |store| store.own_headers(tenant, id)).await
}

pub(super) async fn webhook_tls(visit: &Visit, webhook: &Webhook) -> Result<WebhookTls, Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    visit.ask(move |store| store.webhook_tls(tenant, id)).await
}

impl CertificateView {
    pub(super) fn all(stored: Option<&[u8]>, now: Timestamp) -> Vec<Self> {
        let all = stored.and_then(certificate::of_stored).unwrap_or_default();
        let one = |one: &Certificate| Self {
            subject: one.subject(),
            issuer: one.issuer(),
            until: DisplayTime(one.validity().not_after),
            has_expired: one.validity().not_after < now,
            fingerprint: one.fingerprint(),
        };
        all.iter().map(one).collect()
    }
}

impl SignatureView {
    pub(super) fn of(signature: &Signature, visit: &Visit) -> Self {
        Self {
            profile: signature.profile.as_str(),
            header: signature.header().to_owned(),
            svix: signature.svix,
            public: signature.key.public.clone(),
            made_at: DisplayTime(signature.key.made_at),
            former: signature.former.as_ref().map(|former| FormerView {
                until: DisplayTime(former.until),
                used_at: former.used_at.map(DisplayTime),
                has_ended: former.until <= visit.now,
            }),
            broken: None,
        }
    }
}

impl ProfileChoice {
    fn of(profile: Profile, chosen: &str) -> Self {
        // An empty text is no secret of any: what is said of it tells whose are made here.
        let made_here = Secret::brought(profile, "") == Err(SecretError::MadeHere);
        Self {
            code: profile.as_str(),
            header: profile.header(),
            has_overlap: profile.has_overlap(),
            is_fixed: profile.check_header("X-Signature-Of-Call").is_err(),
            is_made_here: made_here,
            chosen: profile.as_str() == chosen,
        }
    }
}
