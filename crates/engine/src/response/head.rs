//! The head of a response, from the status line to the blank line.
//!
//! Plain functions over bytes. The result does not depend on what follows the head. `httparse`
//! reads a head that follows the rules; `lenient.rs` makes what it can of any other.

mod lenient;
mod parsed;

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Response, Status};
use model::limits;

use self::lenient::StatusLine;
pub(crate) use self::lenient::is_interim;
use self::parsed::judge;
pub(crate) use self::parsed::{
    CUT, Framing, HeadParse, KeepAlive, MalformedHead, ResponseHead, garbled,
};

/// The head at the beginning of `bytes`. It may have `most` bytes.
pub(crate) fn parse(bytes: &[u8], most: usize) -> HeadParse {
    let within = bytes.get(..most).unwrap_or(bytes);
    let is_long = within.len() >= most;
    let mut lines = [const { MaybeUninit::uninit() }; limits::RESPONSE_HEADERS_MAX];
    let mut response = Response::new(&mut []);
    let config = ParserConfig::default();
    let result = config.parse_response_with_uninit_headers(&mut response, within, &mut lines);
    // `httparse` reads any three digits; what it says of a status below 100 does not count.
    let is_status = response.code.is_none_or(|status| status >= 100);
    match result {
        Ok(Status::Complete(length)) if is_status => {
            let status = response.code.unwrap_or_default();
            match judge(status, response.version == Some(1), response.headers) {
                Ok(head) => HeadParse::Whole(head, length),
                Err(damaged) => HeadParse::Damaged(damaged),
            }
        }
        Ok(Status::Partial) if is_status && !is_long => HeadParse::More,
        Ok(_) | Err(_) => lenient::parse(within, is_long),
    }
}

/// What a head is that is not whole and whose rest does not come: the connection has ended `well`,
/// or what the note says.
pub(crate) fn cut_off(bytes: &[u8], well: bool, note: &str) -> HeadParse {
    lenient::cut_off(bytes, well, note)
}

/// The status of an answer whose head begins with `bytes`, whatever of it is still to come.
pub(crate) fn status(bytes: &[u8]) -> Option<u16> {
    match lenient::status_line(bytes) {
        StatusLine::Whole { status, .. } => Some(status),
        StatusLine::Begun(_) | StatusLine::Not(_) => None,
    }
}

#[cfg(test)]
mod tests;
