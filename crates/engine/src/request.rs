//! A prepared target: what all requests to one webhook have in common, made once and not for each
//! attempt; and the bytes of a request.
//!
//! No header value can smuggle in a line of its own: `http` judges each before it is written.
//! The log records a request as it was sent, with two exceptions. Credentials are masked, and so is
//! every header of the webhook's own, and what a signature says. `Content-Length`, the dedupe key,
//! and what a CloudEvent says of its notification alone are left out: they follow from what is
//! known, and would make each delivery's block of headers different (the store keeps equal blocks
//! once).

mod handshake;
mod headers;
mod own_lines;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use model::attempt::{Failure, FailureKind, HttpResponse, Outcome};
use model::call_limits::CallRate;
use model::cloud_event::{CloudEventForm, HEADER_PREFIX};
use model::contract::WebhookTarget;
use model::dedupe;
use model::delivery::DueDelivery;
use model::hold::Holds;
use model::id::TenantId;
use model::log_line;
use model::mail::MailAddress;
use model::policy::Policy;
use model::signing::{Keyring, RequestTarget, Signer};
use model::target::{self, Target};
use model::tenant::DialectName;
use model::time::Timestamp;
use model::webhook::Headers;
use tokio::time::Instant;

pub(crate) use self::handshake::{Agreement, PreparedHandshake};

use self::headers::{RequestHeaders, title_case};
use self::own_lines::{OwnLine, own_lines, own_tls};
use crate::mail;
use crate::response::CUT;
use crate::tls::OwnTls;
use crate::transport::Endpoint;

/// A body up to this size is copied behind its head, so that both go out as one piece; a longer
/// one is handed to the network where it lies.
const COPIED_BODY_BYTES_MAX: usize = 8 * 1024;

const METHOD: &str = "POST";

/// Of the question whether a receiver agrees to be called.
const QUESTION_METHOD: &str = "OPTIONS";

/// Lines that say how the request is framed or where it goes: ours alone.
const OURS: [HeaderName; 9] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
];

/// The most characters of a webhook's name in a log line.
const NAME_CHARS_MAX: usize = 80;

/// A webhook, ready to be called.
pub(crate) struct PreparedTarget {
    pub(crate) policy: Arc<Policy>,
    pub(crate) tenant: TenantId,
    /// Of the webhook.
    pub(crate) version: i64,
    /// When it was looked at, because it is new here, was changed, or somebody asked for something.
    pub(crate) seen_at: Instant,
    /// Its latest attempt had succeeded then.
    pub(crate) succeeded: bool,
    /// The number of its dialect, for counting.
    pub(crate) class: usize,
    /// The target URL without credentials.
    pub(crate) shown_url: Arc<str>,
    /// What log lines say of it.
    pub(crate) label: Arc<WebhookLabel>,
    pub(crate) retries_max: Option<u32>,
    /// How many of its calls may be in flight, and begin in a second; `None`: as many as may.
    pub(crate) calls_at_a_time: Option<usize>,
    pub(crate) rate: Option<CallRate>,
    /// The receiver asked not to be called before.
    pub(crate) paused_until: Option<Timestamp>,
    /// Somebody paused the webhook, or did once.
    pub(crate) holds: Holds,
    /// Its receiver is to agree before it is called.
    pub(crate) handshake: Option<Box<PreparedHandshake>>,
    target_url: String,
    /// It is written to, and not called.
    mail: Option<MailAddress>,
    tls: Option<Arc<OwnTls>>,
    /// What a receiver may send back and the log may not show.
    secrets: Vec<String>,
    call: Result<RequestTemplate, Failure>,
}

/// By what people know a webhook, for log lines.
#[derive(Debug)]
pub(crate) struct WebhookLabel {
    pub(crate) dialect: DialectName,
    /// The tenant's key.
    pub(crate) tenant: Box<str>,
    pub(crate) name: Option<Box<str>>,
    pub(crate) url: Arc<str>,
}

/// Which receiver a target leads to, in eight bytes; different ones may be taken for the same by
/// chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TargetHash(u64);

/// A request as it goes over the wire.
#[derive(Default)]
pub(crate) struct Request {
    /// The head, and a body that is not long.
    bytes: Vec<u8>,
    /// A long body.
    body: Bytes,
}

/// The URL, taken apart.
struct RequestTemplate {
    endpoint: Arc<Endpoint>,
    /// The request line, with its end.
    request_line: Vec<u8>,
    /// All lines that do not depend on the delivery; `Content-Length` holds its place.
    lines: RequestHeaders,
    /// From the URL's user and password, unless the webhook has an own header for it; goes last.
    authorization: Option<HeaderValue>,
    recorded: Headers,
    /// Names of the webhook's own lines.
    own: Vec<HeaderName>,
    dedupe: Option<DedupeHeader>,
    event: Option<Box<CloudEventForm>>,
    /// The line that says who has the receiver's agreement, if that is needed.
    origin: Headers,
    signer: Option<Box<Signer>>,
    /// No other line has the name of one that it makes, so that they go last.
    signs_last: bool,
    /// The lines that it makes, with masked values.
    signed: Headers,
    ready: HeadTemplate,
}

/// The bytes of a head whose delivery has no lines of its own: up to the value of
/// `Content-Length`, and from its end to the last of the lines that are known before.
#[derive(Default)]
struct HeadTemplate {
    before: Vec<u8>,
    after: Vec<u8>,
}

/// The header of the dedupe key.
struct DedupeHeader {
    name: HeaderName,
    /// As it goes over the wire, with colon and blank.
    title: String,
    /// The webhook's name in it.
    webhook: String,
    /// No other line has the name, so that it goes last.
    is_last: bool,
}

impl PreparedTarget {
    pub(crate) fn new(target: &WebhookTarget, policy: Arc<Policy>, keyring: &Keyring) -> Self {
        let handshake = PreparedHandshake::of(target, &policy).map(Box::new);
        let origin = handshake.as_ref().map(|own| own.origin());
        let own = own_lines(target, keyring);
        let mut secrets = secrets(target);
        for line in own.iter().flatten() {
            secrets.extend(line.secrets());
        }
        let tls = own_tls(target, keyring);
        let known_tls = tls.clone().unwrap_or_default();
        let call = own.and_then(|own| {
            let origin = origin.unwrap_or_default();
            let call = RequestTemplate::new(target, &policy, (own, origin), tls?);
            let call = call.map_err(|detail| Failure::new(FailureKind::BadTarget, detail));
            call.and_then(|call| call.signing(target, keyring))
        });
        let shown_url: Arc<str> = target::masked(&target.target_url).into();
        let label = WebhookLabel::new(target, &policy, Arc::clone(&shown_url));
        let own_policy = policy.limited(&target.limits);
        let calls_at_a_time = target.limits.calls_at_a_time;
        Self {
            policy: own_policy.map_or(policy, Arc::new),
            calls_at_a_time: calls_at_a_time.and_then(|count| usize::try_from(count).ok()),
            rate: target.limits.calls_per_second,
            tenant: target.tenant,
            version: target.version,
            seen_at: Instant::now(),
            succeeded: target.succeeded_at.is_some(),
            class: 0,
            shown_url,
            label: Arc::new(label),
            retries_max: target.retries_max,
            paused_until: target.paused_until,
            holds: target.holds.clone(),
            handshake,
            mail: MailAddress::of_target(&target.target_url).and_then(Result::ok),
            target_url: target.target_url.clone(),
            tls: known_tls,
            secrets,
            call,
        }
    }

    /// Whether both lead to the same receiver.
    pub(crate) fn same_target(&self, other: &Self) -> bool {
        self.target_url == other.target_url && self.tls == other.tls
    }

    /// Tells targets apart for which `same_target` is false, without keeping them.
    pub(crate) fn hash(&self) -> TargetHash {
        let mut hasher = DefaultHasher::new();
        self.target_url.hash(&mut hasher);
        self.tls.hash(&mut hasher);
        TargetHash(hasher.finish())
    }

    /// The address that is written to, if the target is one.
    pub(crate) fn mail(&self) -> Option<&MailAddress> {
        self.mail.as_ref()
    }

    /// Where the receiver listens, if the URL can be called at all.
    pub(crate) fn endpoint(&self) -> Result<&Arc<Endpoint>, &Failure> {
        self.call.as_ref().map(|call| &call.endpoint)
    }

    /// The request for this delivery, signed at this time if it is to be. Empty if it cannot be
    /// made.
    pub(crate) fn request(&self, due: &DueDelivery, now: Timestamp) -> Request {
        match &self.call {
            Ok(call) => call.request(due, now),
            Err(_) => Request::default(),
        }
    }

    /// The question whether the receiver agrees to be called, and what is written of its lines.
    pub(crate) fn question(&self) -> (Request, Headers) {
        match (&self.call, &self.handshake) {
            (Ok(call), Some(handshake)) => call.question(handshake),
            (Ok(_) | Err(_), _) => (Request::default(), Headers::default()),
        }
    }

    /// What is wrong with the webhook's client certificate at this time, if it has ended.
    pub(crate) fn expired_certificate(&self, now: Timestamp) -> Option<String> {
        self.tls.as_ref()?.expired(now)
    }

    /// Whether a request says when it was made.
    pub(crate) fn is_signed(&self) -> bool {
        self.call.as_ref().is_ok_and(|call| call.signer.is_some())
    }

    /// The outcome without the webhook's credentials, which some receivers echo.
    pub(crate) fn without_secrets(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Answered(answer) if !self.secrets.is_empty() => {
                Outcome::Answered(HttpResponse {
                    headers: Headers(self.blanked(answer.headers.0)),
                    body: self.blanked(answer.body),
                    note: answer.note.map(|note| self.blanked_note(&note)),
                    ..answer
                })
            }
            outcome @ (Outcome::Answered(_) | Outcome::Failed(_)) => outcome,
        }
    }

    /// The reason without credentials of the webhook.
    pub(crate) fn reason_without_secrets(&self, reason: &str) -> String {
        self.blanked_note(reason).into()
    }

    /// A note may show the beginning of a line, which may end within a secret.
    fn blanked_note(&self, note: &str) -> Box<str> {
        let mut blanked = note.to_owned();
        for secret in &self.secrets {
            blanked = blanked.replace(secret.as_str(), "***");
            let ends = secret.char_indices().map(|(end, _)| end).rev();
            for begin in ends
                .filter_map(|end| secret.get(..end))
                .filter(|b| !b.is_empty())
            {
                let (cut, shown) = (format!("{begin}{CUT}"), format!("***{CUT}"));
                if blanked.contains(&cut) {
                    blanked = blanked.replace(&cut, &shown);
                    break;
                }
            }
        }
        blanked.into()
    }

    fn blanked(&self, bytes: Bytes) -> Bytes {
        self.secrets.iter().fold(bytes, |bytes, secret| {
            let secret = secret.as_bytes();
            let mut rest: &[u8] = &bytes;
            let mut kept = Vec::new();
            while let Some(at) = rest.windows(secret.len()).position(|part| part == secret) {
                kept.extend_from_slice(rest.get(..at).unwrap_or_default());
                kept.extend_from_slice(b"***");
                rest = rest.get(at + secret.len()..).unwrap_or_default();
            }
            if kept.is_empty() {
                return bytes;
            }
            kept.extend_from_slice(rest);
            kept.into()
        })
    }

    /// What is written of its lines.
    pub(crate) fn recorded(&self, own: &Headers) -> Headers {
        if let Some(to) = &self.mail {
            return mail::recorded(to, own);
        }
        match &self.call {
            Err(_) => Headers::default(),
            Ok(call) if own.is_empty() => call.recorded.clone(),
            Ok(call) => call.recorded_with(own),
        }
    }
}

impl WebhookLabel {
    pub(crate) fn new(target: &WebhookTarget, policy: &Policy, url: Arc<str>) -> Self {
        let name = (policy.name_of.0)(&target.settings);
        Self {
            dialect: target.dialect.clone(),
            tenant: target.tenant_key.as_str().into(),
            name: name.map(|name| log_line::shown(name.trim(), NAME_CHARS_MAX).into()),
            url,
        }
    }
}

impl std::fmt::Debug for PreparedTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PreparedTarget({})", self.shown_url)
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({} bytes)", self.bytes.len() + self.body.len())
    }
}

impl Request {
    /// What is left of it behind the first `written` bytes, in two pieces.
    pub(crate) fn from(&self, written: usize) -> (&[u8], &[u8]) {
        let first = self.bytes.get(written..).unwrap_or_default();
        let then = self.body.get(written.saturating_sub(self.bytes.len())..);
        (first, then.unwrap_or_default())
    }
}

impl RequestTemplate {
    fn new(
        webhook: &WebhookTarget,
        policy: &Policy,
        (given, origin): (Vec<OwnLine>, Headers),
        tls: Option<Arc<OwnTls>>,
    ) -> Result<Self, String> {
        let target = Target::parse(&webhook.target_url).map_err(|bad| bad.0)?;
        let path = PathAndQuery::try_from(target.path_and_query)
            .map_err(|error| format!("its path: {error}"))?;
        let host = HeaderValue::try_from(target.authority)
            .map_err(|_| "its host cannot be written into a request".to_owned())?;
        let mut lines = RequestHeaders::default();
        lines.put(header::HOST, host);
        if let Ok(user_agent) = HeaderValue::try_from(&policy.user_agent) {
            lines.put(header::USER_AGENT, user_agent);
        }
        lines.put(header::ACCEPT, HeaderValue::from_static("*/*"));
        // Some receivers name the time for which they keep a connection only if they are asked to.
        lines.put(header::CONNECTION, HeaderValue::from_static("keep-alive"));
        lines.put(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        if let Ok(content_type) = HeaderValue::try_from(&policy.content_type) {
            lines.put(header::CONTENT_TYPE, content_type);
        }
        let mut authorization = target
            .authorization
            .and_then(|text| HeaderValue::try_from(text).ok());
        let mut own = names(&webhook.headers);
        own.extend(given.iter().map(|line| line.name.clone()));
        let (authorized, given): (Vec<_>, Vec<_>) = given
            .into_iter()
            .partition(|line| line.name == header::AUTHORIZATION);
        authorization = authorized
            .into_iter()
            .next()
            .map(|line| line.value)
            .or(authorization);
        add(&mut lines, &webhook.headers, authorization.is_some());
        for line in given {
            lines.put(line.name, line.value);
        }
        let mut call = Self {
            endpoint: Arc::new(Endpoint {
                tls: target.tls,
                host: target.host,
                port: target.port,
                own: tls.filter(|_| target.tls),
            }),
            request_line: format!("{METHOD} {} HTTP/1.1\r\n", Uri::from(path)).into_bytes(),
            lines,
            authorization,
            recorded: Headers::default(),
            own,
            dedupe: None,
            event: webhook.cloud_events.map(|mode| {
                let naming = &policy.event_naming;
                let form =
                    CloudEventForm::new(mode, naming, &webhook.tenant_key, &policy.content_type);
                Box::new(form)
            }),
            origin,
            signer: None,
            signs_last: true,
            signed: Headers::default(),
            ready: HeadTemplate::default(),
        };
        let lines = call.lines_with(&Headers::default());
        call.recorded = shown(&lines, &call.own);
        call.dedupe = DedupeHeader::of(webhook, policy, &lines);
        let (before, after) = lines.around(&header::CONTENT_LENGTH);
        call.ready = HeadTemplate {
            before: [&*call.request_line, &before, b"Content-Length: "].concat(),
            after: [b"\r\n", &*after].concat(),
        };
        Ok(call)
    }

    /// The same with the webhook's signatures.
    fn signing(mut self, webhook: &WebhookTarget, keyring: &Keyring) -> Result<Self, Failure> {
        if webhook.signatures.is_empty() {
            return Ok(self);
        }
        let target = Target::parse(&webhook.target_url)
            .map_err(|bad| Failure::new(FailureKind::BadTarget, bad.0))?;
        let target = RequestTarget {
            method: METHOD,
            authority: &target.authority,
            path_and_query: &target.path_and_query,
        };
        let opened = Signer::open(keyring, webhook.webhook, &webhook.signatures, target);
        let signer =
            opened.map_err(|error| Failure::new(FailureKind::Unsigned, error.to_string()))?;
        // Different on each call: what is written down has their names only.
        let masked = signer.names().into_iter().map(|name| (name, &b"***"[..]));
        self.signed = Headers::from_pairs(masked);
        let signed = names(&self.signed);
        let dedupe = self.dedupe.as_ref().map(|dedupe| &dedupe.name);
        let is_taken = |name: &HeaderName| self.lines.has(name) || dedupe == Some(name);
        self.signs_last = !signed.iter().any(is_taken);
        self.own.extend(signed);
        self.signer = Some(Box::new(signer));
        self.recorded = self.recorded_with(&Headers::default());
        Ok(self)
    }

    /// What is written of its lines and these.
    fn recorded_with(&self, own: &Headers) -> Headers {
        let mut lines = self.lines_with(own);
        put(&mut lines, &self.signed);
        shown(&lines, &self.own)
    }

    /// The question whether the receiver agrees: the same lines without those of a body.
    fn question(&self, handshake: &PreparedHandshake) -> (Request, Headers) {
        let mut lines = self.lines_with(&Headers::default());
        let of_body = [header::CONTENT_LENGTH, header::CONTENT_TYPE];
        lines.remove(|name| of_body.contains(name) || name.as_str().starts_with(HEADER_PREFIX));
        put(&mut lines, &handshake.lines());
        let path = self.request_line.get(METHOD.len()..).unwrap_or_default();
        let mut bytes = [QUESTION_METHOD.as_bytes(), path].concat();
        let recorded = shown(&lines, &self.own);
        lines.write(&mut bytes);
        bytes.extend_from_slice(b"\r\n");
        let body = Bytes::new();
        (Request { bytes, body }, recorded)
    }

    fn request(&self, due: &DueDelivery, now: Timestamp) -> Request {
        let body = match &self.event {
            Some(event) => event.body(due),
            None => due.body.clone(),
        };
        let is_copied = body.len() <= COPIED_BODY_BYTES_MAX;
        let mut bytes = Vec::new();
        // For the number, the dedupe line, and signatures.
        let signed = if self.signer.is_some() { 512 } else { 0 };
        let own = due.headers.0.len() + signed + 128;
        let room = self.ready.before.len() + self.ready.after.len() + own;
        bytes.reserve(room + if is_copied { body.len() } else { 0 });
        let appends = self.dedupe.as_ref().is_none_or(|dedupe| dedupe.is_last);
        let is_plain = self.event.is_none() && self.signs_last;
        if due.headers.is_empty() && appends && is_plain {
            bytes.extend_from_slice(&self.ready.before);
            write_number(&mut bytes, body.len());
            bytes.extend_from_slice(&self.ready.after);
            if let Some(dedupe) = &self.dedupe
                && let Ok(key) = HeaderValue::try_from(dedupe.key(due))
            {
                bytes.extend_from_slice(dedupe.title.as_bytes());
                bytes.extend_from_slice(key.as_bytes());
                bytes.extend_from_slice(b"\r\n");
            }
            if let Some(signer) = &self.signer {
                signer.write_lines(&mut bytes, &due.delivery.id.to_string(), now, &body);
            }
        } else {
            bytes.extend_from_slice(&self.request_line);
            self.stamped(due, now, &body).write(&mut bytes);
        }
        bytes.extend_from_slice(b"\r\n");
        let body = match is_copied {
            true => {
                bytes.extend_from_slice(&body);
                Bytes::new()
            }
            false => body,
        };
        Request { bytes, body }
    }

    /// All lines of this delivery.
    fn stamped(&self, due: &DueDelivery, now: Timestamp, body: &[u8]) -> RequestHeaders {
        let mut lines = self.lines_with(&due.headers);
        lines.put(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Some(dedupe) = &self.dedupe
            && let Ok(key) = HeaderValue::try_from(dedupe.key(due))
        {
            lines.put(dedupe.name.clone(), key);
        }
        if let Some(event) = &self.event {
            put(&mut lines, &event.headers(due));
        }
        if let Some(signer) = &self.signer {
            let id = due.delivery.id.to_string();
            put(&mut lines, &signer.lines(&id, now, body));
        }
        lines
    }

    fn lines_with(&self, own: &Headers) -> RequestHeaders {
        let mut lines = self.lines.clone();
        add(&mut lines, own, self.authorization.is_some());
        if let Some(event) = &self.event {
            // A library takes a structured event with one of them for a binary one.
            lines.remove(|name| name.as_str().starts_with(HEADER_PREFIX));
            put(&mut lines, &event.constant_headers());
        }
        put(&mut lines, &self.origin);
        if let Some(authorization) = &self.authorization {
            lines.put(header::AUTHORIZATION, authorization.clone());
        }
        lines
    }
}

impl DedupeHeader {
    fn of(webhook: &WebhookTarget, policy: &Policy, lines: &RequestHeaders) -> Option<Self> {
        let name = HeaderName::try_from(policy.dedupe_header.as_ref()?).ok()?;
        Some(Self {
            title: format!("{}: ", title_case(name.as_str())),
            webhook: webhook.key.clone()?,
            is_last: !lines.has(&name),
            name,
        })
    }

    fn key(&self, due: &DueDelivery) -> String {
        dedupe::key(&self.webhook, &due.key)
    }
}

/// Adds lines. Those of the policy are replaced where they stand, those of the framing are left
/// alone, and what cannot be sent is left out.
fn add(lines: &mut RequestHeaders, added: &Headers, authorized: bool) {
    for (name, value) in added.iter() {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        else {
            continue;
        };
        if OURS.contains(&name) || (authorized && name == header::AUTHORIZATION) {
            continue;
        }
        let single = [
            header::USER_AGENT,
            header::ACCEPT,
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
        ];
        if single.contains(&name) {
            lines.put(name, value);
        } else {
            lines.append(name, value);
        }
    }
}

/// The only lines of these names.
fn put(lines: &mut RequestHeaders, added: &Headers) {
    for (name, value) in added.iter() {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            lines.put(name, value);
        }
    }
}

fn write_number(bytes: &mut Vec<u8>, number: usize) {
    let mut digits = [0; 20];
    let (mut left, mut begin) = (number, digits.len());
    for (endpoint, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        begin = endpoint;
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(digits.get(begin..).unwrap_or_default());
}

/// Credentials of the URL, and what the webhook's own lines say.
fn secrets(webhook: &WebhookTarget) -> Vec<String> {
    let values = webhook.headers.iter();
    let values = values.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    let own = values.filter(|value| value.len() >= target::SECRET_BYTES_MIN);
    own.chain(target::secrets(&webhook.target_url)).collect()
}

fn names(lines: &Headers) -> Vec<HeaderName> {
    let names = lines.iter();
    names
        .filter_map(|(name, _)| HeaderName::from_bytes(name).ok())
        .collect()
}

/// The lines as they are written; `own` are names of lines that may be secrets.
fn shown(lines: &RequestHeaders, own: &[HeaderName]) -> Headers {
    let lines: Vec<(String, Vec<u8>)> = lines
        .iter()
        .filter(|(name, _)| *name != header::CONTENT_LENGTH)
        .map(|(name, value)| {
            let value = match *name {
                header::AUTHORIZATION => masked(value),
                _ if own.contains(name) => b"***".to_vec(),
                _ => value.as_bytes().to_vec(),
            };
            (title_case(name.as_str()), value)
        })
        .collect();
    Headers::from_pairs(lines.iter().map(|(name, value)| (&**name, &**value)))
}

/// `Basic ***` for `Basic dXNlcjpwYXNz`. What is no known scheme may be part of the secret.
fn masked(value: &HeaderValue) -> Vec<u8> {
    let text = String::from_utf8_lossy(value.as_bytes());
    match text.split_once(' ') {
        Some((scheme @ ("Basic" | "Bearer"), _)) => format!("{scheme} ***").into_bytes(),
        Some(_) | None => b"***".to_vec(),
    }
}

#[cfg(test)]
mod tests;
