//! Prepared: what all requests to one webhook have in common, made once and not per attempt.
//!
//! What is written down of a request is what was sent, with two exceptions. Credentials are
//! masked, and so is every line of the webhook's own. `Content-Length` and the dedupe key are left
//! out: they follow from what is known, and would make every delivery's block of headers another
//! one (the store keeps equal blocks once).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use http_body_util::Full;
use model::attempt::{Answer, Failure, FailureKind, Outcome};
use model::contract::LaneTarget;
use model::dedupe;
use model::delivery::Due;
use model::id::TenantId;
use model::policy::Policy;
use model::target::{self, Target};
use model::time::Timestamp;
use model::webhook::Headers;

use crate::dial::Place;

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

/// A webhook, ready to be called.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) policy: Arc<Policy>,
    pub(crate) tenant: TenantId,
    /// The number of its dialect, for counting.
    pub(crate) class: usize,
    /// The target URL without credentials.
    pub(crate) shown_url: String,
    pub(crate) retries_max: Option<u32>,
    /// The receiver asked not to be called before.
    pub(crate) paused_until: Option<Timestamp>,
    target_url: String,
    /// What a receiver may send back and the log may not show.
    secrets: Vec<String>,
    call: Result<Call, Failure>,
}

/// The URL, taken apart.
#[derive(Debug)]
struct Call {
    place: Arc<Place>,
    uri: Uri,
    /// All lines that do not depend on the delivery; `Content-Length` holds its place.
    head: HeaderMap,
    /// From the URL's user and password; goes last.
    authorization: Option<HeaderValue>,
    recorded: Headers,
    /// Names of the webhook's own lines.
    own: Vec<HeaderName>,
    /// The header of the dedupe key, and the webhook's name in it.
    dedupe: Option<(HeaderName, String)>,
}

impl Prepared {
    pub(crate) fn new(target: &LaneTarget, policy: Arc<Policy>) -> Self {
        let call = Call::new(target, &policy);
        Self {
            policy,
            tenant: target.tenant,
            class: 0,
            shown_url: target::masked(&target.target_url),
            retries_max: target.retries_max,
            paused_until: target.paused_until,
            target_url: target.target_url.clone(),
            secrets: secrets(target),
            call: call.map_err(|detail| Failure::new(FailureKind::BadTarget, detail)),
        }
    }

    /// Whether both lead to the same receiver.
    pub(crate) fn same_target(&self, other: &Self) -> bool {
        self.target_url == other.target_url
    }

    /// Where the receiver listens, if the URL can be called at all.
    pub(crate) fn place(&self) -> Result<&Arc<Place>, &Failure> {
        self.call.as_ref().map(|call| &call.place)
    }

    /// The request for this delivery.
    pub(crate) fn request(&self, due: &Due) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(due.body.clone()));
        if let Ok(call) = &self.call {
            *request.method_mut() = Method::POST;
            *request.uri_mut() = call.uri.clone();
            *request.headers_mut() = call.stamped(due);
        }
        request
    }

    /// The outcome without the webhook's credentials, which some receivers echo.
    pub(crate) fn without_secrets(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Answered(answer) if !self.secrets.is_empty() => Outcome::Answered(Answer {
                headers: Headers(self.blanked(answer.headers.0)),
                body: self.blanked(answer.body),
                ..answer
            }),
            outcome @ (Outcome::Answered(_) | Outcome::Failed(_)) => outcome,
        }
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

    /// What is written down of its lines.
    pub(crate) fn recorded(&self, own: &Headers) -> Headers {
        match &self.call {
            Err(_) => Headers::default(),
            Ok(call) if own.is_empty() => call.recorded.clone(),
            Ok(call) => shown(&call.head_with(own, 0), &call.own),
        }
    }
}

impl Call {
    fn new(webhook: &LaneTarget, policy: &Policy) -> Result<Self, String> {
        let target = Target::parse(&webhook.target_url).map_err(|bad| bad.0)?;
        let path = PathAndQuery::try_from(target.path_and_query)
            .map_err(|error| format!("its path: {error}"))?;
        let host = HeaderValue::try_from(target.authority)
            .map_err(|_| "its host cannot be written into a request".to_owned())?;
        let mut head = HeaderMap::with_capacity(8);
        head.insert(header::HOST, host);
        if let Ok(user_agent) = HeaderValue::try_from(&policy.user_agent) {
            head.insert(header::USER_AGENT, user_agent);
        }
        head.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        head.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        if let Ok(content_type) = HeaderValue::try_from(&policy.content_type) {
            head.insert(header::CONTENT_TYPE, content_type);
        }
        let authorization = target
            .authorization
            .and_then(|text| HeaderValue::try_from(text).ok());
        add(&mut head, &webhook.headers, authorization.is_some());
        let mut call = Self {
            place: Arc::new(Place {
                tls: target.tls,
                host: target.host,
                port: target.port,
            }),
            uri: Uri::from(path),
            head,
            authorization,
            recorded: Headers::default(),
            own: names(&webhook.headers),
            dedupe: dedupe_of(webhook, policy),
        };
        call.recorded = shown(&call.head_with(&Headers::default(), 0), &call.own);
        Ok(call)
    }

    fn stamped(&self, due: &Due) -> HeaderMap {
        let mut head = self.head_with(&due.headers, due.body.len());
        if let Some((name, webhook)) = &self.dedupe
            && let Ok(key) = HeaderValue::try_from(dedupe::key(webhook, &due.key))
        {
            head.insert(name, key);
        }
        head
    }

    fn head_with(&self, own: &Headers, body_bytes: usize) -> HeaderMap {
        let mut head = self.head.clone();
        head.insert(header::CONTENT_LENGTH, HeaderValue::from(body_bytes));
        add(&mut head, own, self.authorization.is_some());
        if let Some(authorization) = &self.authorization {
            head.insert(header::AUTHORIZATION, authorization.clone());
        }
        head
    }
}

/// Adds lines. Those of the policy are replaced where they stand, those of the framing are left
/// alone, and what cannot be sent is left out.
fn add(head: &mut HeaderMap, lines: &Headers, authorized: bool) {
    for (name, value) in lines.iter() {
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
            head.insert(name, value);
        } else {
            head.append(name, value);
        }
    }
}

/// Credentials of the URL, and what the webhook's own lines say.
fn secrets(webhook: &LaneTarget) -> Vec<String> {
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

fn dedupe_of(webhook: &LaneTarget, policy: &Policy) -> Option<(HeaderName, String)> {
    let name = HeaderName::try_from(policy.dedupe_header.as_ref()?).ok()?;
    Some((name, webhook.key.clone()?))
}

/// The lines as they are written down; `own` are names of lines that may be secrets.
fn shown(head: &HeaderMap, own: &[HeaderName]) -> Headers {
    let lines: Vec<(String, Vec<u8>)> = head
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

/// `Basic ***` for `Basic dXNlcjpwYXNz`.
fn masked(value: &HeaderValue) -> Vec<u8> {
    let text = String::from_utf8_lossy(value.as_bytes());
    match text.split_once(' ') {
        Some((scheme, _)) => format!("{scheme} ***").into_bytes(),
        None => b"***".to_vec(),
    }
}

/// A name as it goes over the wire: hyper writes it so, and shows it in small letters only.
fn title_case(name: &str) -> String {
    let mut begins = true;
    name.chars()
        .map(|letter| {
            let cased = match begins {
                true => letter.to_ascii_uppercase(),
                false => letter,
            };
            begins = letter == '-';
            cased
        })
        .collect()
}

#[cfg(test)]
mod tests;
