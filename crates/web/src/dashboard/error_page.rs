//! The page for an error: what happened, and what to do.

use askama::Template;
use http::StatusCode;
use http::header::RETRY_AFTER;
use model::contract::DiskFault;
use model::refusal::Refusal;

use super::layout::{Shell, Tab};
use super::response::{PageError, PageResponse, go_to, page_with};
use super::view;
use super::visit::Visit;
use crate::gateway::store::disk_words;
use crate::transport::body::Body;

#[derive(Template)]
#[template(path = "error_page.html")]
struct ErrorPage {
    shell: Shell,
    heading: String,
    what: String,
    to_do: String,
}

pub(super) fn show(visit: &Visit, error: &PageError) -> PageResponse {
    if *error == PageError::SignIn {
        // After signing in the user gets the page that the link asked for.
        return go_to(&format!("/sign-in?next={}", view::encoded(&visit.path)));
    }
    let (status, heading, what, to_do) = words(error);
    let page = ErrorPage {
        shell: Shell::of(visit, Tab::None, heading),
        heading: heading.to_owned(),
        what,
        to_do: to_do.to_owned(),
    };
    let mut response =
        page_with(status, &page).unwrap_or_else(|_| PageResponse::new(Body::empty()));
    *response.status_mut() = status;
    if let PageError::Refused(Refusal::Busy(after) | Refusal::Disk(_, after)) = error {
        response.headers_mut().insert(RETRY_AFTER, (*after).into());
    }
    response
}

fn words(error: &PageError) -> (StatusCode, &'static str, String, &'static str) {
    match error {
        PageError::NotFound | PageError::SignIn => (
            StatusCode::NOT_FOUND,
            "Not found",
            "There is no such page, or it is not for you.".to_owned(),
            "Check the address, or ask an administrator for access.",
        ),
        PageError::NeedsRole(role) => (
            StatusCode::FORBIDDEN,
            "Not allowed",
            format!(
                "That takes the role \u{201c}{role}\u{201d}, which {}.",
                role.words()
            ),
            "Ask somebody who may administer this tenant to give it to you.",
        ),
        PageError::NotOurs => (
            StatusCode::FORBIDDEN,
            "This form is out of date",
            "It was made for another session, or sent from another site. Nothing was changed."
                .to_owned(),
            "Go back, load the page again, and send it once more.",
        ),
        PageError::Elsewhere { origin, host } => (
            StatusCode::FORBIDDEN,
            "A proxy changes the address",
            format!(
                "Your browser sent this form from {origin}, but it arrived here for the host \
                 {host}, as if another site had sent it. Nothing was changed."
            ),
            "Tell whoever runs this server that the proxy before it has to pass the host on. For \
             nginx: proxy_set_header Host $http_host;",
        ),
        PageError::Refused(refusal) => refused(refusal),
    }
}

const AGAIN: &str = "Go back, mend it, and send it once more.";

fn of_disk(fault: DiskFault) -> (StatusCode, &'static str, String, &'static str) {
    let heading = match fault {
        DiskFault::Full => "The disk is full",
        DiskFault::ReadOnly => "The disk is read-only",
        DiskFault::Failing => "The disk fails",
        DiskFault::Moved => "The store is gone",
        DiskFault::Unreadable => "The store cannot be read",
        DiskFault::NoDatabase => "The database does not answer",
        DiskFault::NoConnection => "The database has no connection left",
        DiskFault::ReadOnlyDatabase => "The database is read-only",
        DiskFault::FullDatabase => "The disk of the database is full",
    };
    (
        StatusCode::SERVICE_UNAVAILABLE,
        heading,
        format!("{}. Nothing was changed.", disk_words(fault)),
        "Tell whoever runs it.",
    )
}

fn refused(refusal: &Refusal) -> (StatusCode, &'static str, String, &'static str) {
    match refusal {
        Refusal::Disk(fault, _) => of_disk(*fault),
        Refusal::Busy(after) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Too much to do",
            "The store has no room or no time for this now. Nothing was changed.".to_owned(),
            match after {
                0..=5 => "Load the page again in a few seconds.",
                _ => "Its disk may be full: tell whoever runs this server.",
            },
        ),
        Refusal::TooLarge(most) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "Too large",
            format!("At most {} can be sent at once.", view::DisplaySize(*most)),
            AGAIN,
        ),
        Refusal::TooSlow => (
            StatusCode::REQUEST_TIMEOUT,
            "Too slow",
            "The form did not arrive in time. Nothing was changed.".to_owned(),
            "Check the connection, and send it once more.",
        ),
        Refusal::BadRequest(words) | Refusal::Contradiction(words) | Refusal::Unreadable(words) => {
            (
                StatusCode::BAD_REQUEST,
                "That cannot be done",
                words.clone(),
                AGAIN,
            )
        }
        Refusal::Parameters(faults) => {
            let faults = faults.iter();
            let faults =
                faults.map(|fault| format!("{}: {}", fault.field, fault.reasons.join(" ")));
            (
                StatusCode::BAD_REQUEST,
                "That cannot be done",
                faults.collect::<Vec<_>>().join(" "),
                "Nothing was changed. Go back, and follow the link once more.",
            )
        }
        Refusal::Invalid(faults) => {
            let reasons = faults.iter().flat_map(|fault| fault.reasons.iter());
            let reasons: Vec<&str> = reasons.map(String::as_str).collect();
            (
                StatusCode::BAD_REQUEST,
                "That cannot be done",
                reasons.join(" "),
                AGAIN,
            )
        }
        Refusal::Unauthenticated(_)
        | Refusal::Forbidden
        | Refusal::NoSuchRoute
        | Refusal::NoSuchObject
        | Refusal::NotAName
        | Refusal::NoSuchPage
        | Refusal::NoSuchMethod(_)
        | Refusal::NotAcceptable
        | Refusal::UnknownForm(_)
        | Refusal::KeyReused
        | Refusal::KeyRunning
        | Refusal::Internal => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something is wrong here",
            "This is our fault, not yours. The log of the server has the cause.".to_owned(),
            "Load the page again; if that does not help, tell whoever runs this server.",
        ),
    }
}
