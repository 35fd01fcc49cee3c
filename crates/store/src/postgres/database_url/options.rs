//! `options` of a URL: settings that a session begins with, as the server's command line has them.
//! Those that Willcall decides itself are refused, since they would be ignored.

/// What each session sets itself.
const OURS: &[&str] = &[
    "client_connection_check_interval",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "standard_conforming_strings",
    "statement_timeout",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
    "timezone",
];

/// The options, if all are `-c name=value` or `--name=value` and none is ours.
pub(super) fn check(options: &str) -> Result<String, String> {
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(setting), _) => Some(setting.to_owned()),
            (None, Some("")) => words.next(),
            (None, Some(setting)) => Some(setting.to_owned()),
            (None, None) => None,
        };
        let name = setting
            .as_deref()
            .and_then(|setting| setting.split_once('='));
        let Some((name, _)) = name else {
            return Err(
                "options in the database URL must be settings, such as -c search_path=willcall, \
                 with the space as %20 and = as %3D"
                    .to_owned(),
            );
        };
        // The server takes - for _ here.
        let name = name.to_lowercase().replace('-', "_");
        if OURS.contains(&name.as_str()) {
            return Err(format!(
                "options in the database URL set {name}, which Willcall sets for each session \
                 itself: take it out"
            ));
        }
    }
    Ok(options.to_owned())
}

/// Separated by spaces, where a backslash takes the next character as it is.
fn words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None;
    let mut letters = options.chars();
    while let Some(letter) = letters.next() {
        let kept = match letter {
            '\\' => letters.next(),
            letter if letter.is_ascii_whitespace() => {
                words.extend(word.take());
                continue;
            }
            letter => Some(letter),
        };
        word.get_or_insert_with(String::new).extend(kept);
    }
    words.extend(word);
    words
}
