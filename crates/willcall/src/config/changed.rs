//! The settings that differ from their defaults, in words for the log: without secrets, and each
//! with where it came from.

use model::log_line::shown;

use super::{Origin, RawConfig, SETTINGS};

/// The most characters of a value.
const VALUE_CHARS_MAX: usize = 200;

/// What the names of settings end with whose values are secrets.
const SECRET_ENDS: [&str; 4] = ["_key", "_password", "_secret", "_token"];

const MASK: &str = "***";

impl RawConfig {
    /// Those that were given and are not as they would be anyway, in the order of the table.
    pub(super) fn changed(&self) -> Vec<String> {
        let given = SETTINGS.iter().filter_map(|setting| {
            let written = self.values.get(setting.key)?;
            let text = written.text.trim();
            let is_changed = written.origin != Origin::Default && text != setting.default;
            let value = shown(&without_secrets(setting.key, text), VALUE_CHARS_MAX);
            is_changed.then(|| format!("{} = {value} (from {})", setting.key, written.place))
        });
        given.collect()
    }
}

/// A value as the log may have it. Of a URL neither user, password nor parameters are shown, and
/// too much is taken for a password rather than too little.
fn without_secrets(key: &str, text: &str) -> String {
    if SECRET_ENDS.iter().any(|end| key.ends_with(end)) {
        return MASK.to_owned();
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        // Anything that is to be a URL and is none may be a list of words with a password.
        return match key.ends_with("_url") {
            true => MASK.to_owned(),
            false => text.to_owned(),
        };
    };
    let (user, place) = match rest.rsplit_once('@') {
        Some((_, place)) => ("***@", place),
        None => ("", rest),
    };
    let place = match place.split_once(['?', '#']) {
        Some((place, _)) => format!("{place}?{MASK}"),
        None => place.to_owned(),
    };
    format!("{scheme}://{user}{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_setting_gets_into_the_log() {
        for (key, text, wanted) in [
            ("listen", "0.0.0.0:80", "0.0.0.0:80"),
            ("master_key", "c2VjcmV0", "***"),
            ("master_key_file", "/etc/key", "/etc/key"),
            ("database_password_file", "/etc/word", "/etc/word"),
            (
                "database_url",
                "postgres://anna:secret@db.example.org/a?sslmode=prefer&password=secret",
                "postgres://***@db.example.org/a?***",
            ),
            (
                "database_url",
                "postgres://anna:se@cr/et?#@db/a",
                "postgres://***@db/a",
            ),
            (
                "database_url",
                "postgres:///a?user=anna&password=secret@db",
                "postgres://***@db",
            ),
            ("database_url", "host=db password=secret", "***"),
            (
                "proxy",
                "http://anna:secret@proxy:3128",
                "http://***@proxy:3128",
            ),
            (
                "proxy",
                "socks5://anna@proxy:1080",
                "socks5://***@proxy:1080",
            ),
        ] {
            assert_eq!(without_secrets(key, text), wanted, "{key}");
        }
    }

    #[test]
    fn every_setting_whose_name_says_so_is_kept_secret() {
        for setting in SETTINGS {
            let is_secret = ["key", "password", "secret", "token"]
                .iter()
                .any(|word| setting.key.ends_with(word));
            let shown = without_secrets(setting.key, "hunter2");
            assert_eq!(shown == MASK, is_secret || setting.key.ends_with("_url"));
        }
    }
}
