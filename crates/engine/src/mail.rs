//! Mail: a delivery whose target is a mail address goes to the operator's mail server (SMTP, RFC
//! 5321), one connection for each. What the server answers is an outcome like any other: its codes
//! say with their first digit what those of HTTP say, and any but 2xx is tried again.
//!
//! The one who is written to cannot choose the server, so no address has to be vetted.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use model::attempt::{BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::delivery::DueDelivery;
use model::limits::RESPONSE_BODY_BYTES_MAX;
use model::mail::MailAddress;
use model::webhook::Headers;
use tokio::time::timeout_at;

use crate::tasks::BoxFuture;
use crate::transport::{Deadline, SendMail};

/// The header line of a notification that becomes the subject.
const SUBJECT: &str = "Subject";

/// The mail server that alerts go to.
#[derive(Clone)]
pub struct MailServer {
    pub host: String,
    pub port: u16,
    pub security: MailSecurity,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// Who the mails come from.
    pub from: MailAddress,
}

impl std::fmt::Debug for MailServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MailServer({}:{})", self.host, self.port)
    }
}

/// How the way to the mail server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the beginning (RFC 8314).
    Tls,
    /// TLS before anything is said (`STARTTLS`, RFC 3207).
    StartTls,
    /// None: for a server on this machine.
    Plain,
}

/// Sends mail.
pub struct MailClient {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    from_host: String,
}

impl MailClient {
    /// `roots` are certificates to trust beside the system's, in PEM form.
    ///
    /// # Errors
    /// A sentence, if the server cannot be used so.
    pub fn new(server: &MailServer, roots: &[Vec<u8>]) -> Result<Self, String> {
        let tls = || {
            let mut tls = TlsParameters::builder(server.host.clone());
            for root in roots {
                let root = Certificate::from_pem(root).map_err(words)?;
                tls = tls.add_root_certificate(root);
            }
            tls.build_rustls().map_err(words)
        };
        let tls = match server.security {
            MailSecurity::Tls => Tls::Wrapper(tls()?),
            MailSecurity::StartTls => Tls::Required(tls()?),
            MailSecurity::Plain => Tls::None,
        };
        let from: Mailbox =
            server.from.to_string().parse().map_err(|error| {
                format!("{} cannot be written as a sender: {error}", server.from)
            })?;
        let from_host = from.email.domain().to_owned();
        let client = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host.clone());
        let client = client
            .port(server.port)
            .hello_name(ClientId::Domain(from_host.clone()))
            .timeout(Some(Duration::from_secs(20)))
            .tls(tls);
        let client = match server.credentials.clone() {
            Some((user, password)) => client.credentials(Credentials::new(user, password)),
            None => client,
        };
        Ok(Self {
            server: client.build(),
            from,
            from_host,
        })
    }

    /// Whether the server is there, agrees on TLS, and knows us; nothing is sent.
    ///
    /// # Errors
    /// A sentence.
    pub async fn try_out(&self, limit: Deadline) -> Result<(), String> {
        match timeout_at(limit.deadline(), self.server.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err("the mail server hung up".to_owned()),
            Ok(Err(error)) => Err(words(error)),
            Err(_) => Err(limit.missed("the mail server").detail),
        }
    }

    fn mail(&self, to: &MailAddress, due: &DueDelivery) -> Result<Message, String> {
        let to: Mailbox = to.to_string().parse().map_err(words)?;
        let subject = due.headers.get(SUBJECT).unwrap_or_default();
        let subject = String::from_utf8_lossy(subject).into_owned();
        let id = due.delivery.id;
        let id = format!("<{}.{}@{}>", id.notification, id.webhook, self.from_host);
        // RFC 3834, 5: nobody's holiday notice answers it.
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(subject)
            .message_id(Some(id))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .singlepart(
                SinglePart::builder()
                    .header(ContentType::TEXT_PLAIN)
                    .body(crlf(&due.body)),
            )
            .map_err(words)
    }
}

impl SendMail for MailClient {
    fn send<'a>(
        &'a self,
        to: &'a MailAddress,
        due: &'a DueDelivery,
        limit: Deadline,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let mail = match self.mail(to, due) {
                Ok(mail) => mail,
                Err(detail) => return bad_target(detail),
            };
            match timeout_at(limit.deadline(), self.server.send(mail)).await {
                Ok(Ok(response)) => Outcome::Answered(answered(&response)),
                Ok(Err(error)) => refused(error, limit),
                Err(_) => Outcome::Failed(limit.missed("the mail server")),
            }
        })
    }
}

pub(crate) fn bad_target(detail: impl Into<String>) -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::BadTarget, detail.into()))
}

/// What is written of the lines of a mail to this address.
pub(crate) fn recorded(to: &MailAddress, own: &Headers) -> Headers {
    let to = to.to_string();
    let subject = own.get(SUBJECT).unwrap_or_default();
    Headers::from_pairs([("To", to.as_bytes()), (SUBJECT, subject)])
}

fn answered(response: &Response) -> HttpResponse {
    let lines: Vec<&str> = response.message().collect();
    answer(response.code().into(), lines.join("\n"))
}

fn answer(status: u16, words: String) -> HttpResponse {
    let mut body = words.into_bytes();
    body.truncate(RESPONSE_BODY_BYTES_MAX);
    HttpResponse {
        status,
        headers: Headers::default(),
        body: Bytes::from(body),
        body_end: BodyEnd::Whole,
        note: None,
    }
}

/// What did not end with the server taking the mail.
fn refused(error: lettre::transport::smtp::Error, limit: Deadline) -> Outcome {
    if let Some(code) = error.status() {
        return Outcome::Answered(answer(code.into(), words(error)));
    }
    if error.is_timeout() {
        return Outcome::Failed(limit.missed("the mail server"));
    }
    let kind = match () {
        () if error.is_tls() => FailureKind::Tls,
        () if error.is_response() => FailureKind::Garbled,
        () => FailureKind::Connect,
    };
    Outcome::Failed(Failure::new(kind, words(error)))
}

/// The text with the ends of lines that mail has.
fn crlf(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

/// An error with its causes.
fn words(error: impl std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = error.source();
    }
    words
}
