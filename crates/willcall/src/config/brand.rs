//! The logo of the dashboard, from an operator's file.

use std::fs::File;
use std::io::Read;

use web::brand::{self, LOGO_BYTES_MAX, Logo};

/// The image in this file; none without a path.
pub(super) fn logo(path: &str) -> Result<Option<Logo>, String> {
    if path.is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(LOGO_BYTES_MAX).unwrap_or(u64::MAX);
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    brand::logo(bytes).map(Some)
}
