//! libpq's words, one by one: which are obeyed, which only with some values, and which are refused,
//! with the sentence that says why.

/// Words that `words.rs` reads.
const OBEYED: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "options",
    "passfile",
    "password",
    "port",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "sslsni",
    "tcp_user_timeout",
    "user",
];

/// Words that say something only if there is TLS.
pub(super) const OF_TLS: &[&str] = &[
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslkey",
    "sslrootcert",
    "sslsni",
];

/// Words of which some values say what is done in any case. All others are refused.
const ONLY: &[(&str, &[&str], &str)] = &[
    (
        "client_encoding",
        &["UTF8", "utf8", "UTF-8", "utf-8", "auto"],
        "Willcall speaks UTF8 only: take it out",
    ),
    (
        "gssdelegation",
        &["0"],
        "GSSAPI is not supported: take it out",
    ),
    (
        "gssencmode",
        &["disable", "prefer"],
        "GSSAPI is not supported: write disable, and use TLS with sslmode=verify-full",
    ),
    (
        "load_balance_hosts",
        &["disable"],
        "hosts are tried in the order of the URL: write disable, or take it out",
    ),
    (
        "max_protocol_version",
        &["3.0", "3.2", "latest"],
        "version 3.0 of the protocol is spoken: take it out",
    ),
    (
        "min_protocol_version",
        &["3.0"],
        "version 3.0 of the protocol is spoken: take it out",
    ),
    (
        "replication",
        &["false", "off", "no", "0"],
        "Willcall reads no replication: take it out",
    ),
    (
        "sslcompression",
        &["0"],
        "TLS is never compressed: write 0, or take it out",
    ),
    (
        "sslnegotiation",
        &["postgres"],
        "TLS begins as PostgreSQL 15 has it: write postgres, or take it out",
    ),
    (
        "target_session_attrs",
        &["read-write"],
        "Willcall has to write: write read-write, or take it out, since that is the default here",
    ),
];

const REFUSED: &[(&str, &str)] = &[
    ("gsslib", NO_GSS),
    ("krbsrvname", NO_GSS),
    ("oauth_client_id", NO_OAUTH),
    ("oauth_client_secret", NO_OAUTH),
    ("oauth_issuer", NO_OAUTH),
    ("oauth_scope", NO_OAUTH),
    (
        "require_auth",
        "it is not supported: to make sure of whom the password goes to, use \
         channel_binding=require or sslmode=verify-full instead",
    ),
    (
        "requirepeer",
        "it is not supported: take it out, and see that only the database's user may write to the \
         socket's folder",
    ),
    ("scram_client_key", NO_KEYS),
    ("scram_server_key", NO_KEYS),
    ("service", NOT_READ),
    ("servicefile", NOT_READ),
    ("sslcrl", NO_REVOCATION),
    ("sslcrldir", NO_REVOCATION),
    (
        "sslkeylogfile",
        "it is not supported, since it gives the keys of connections away: take it out",
    ),
    (
        "sslpassword",
        "keys with a passphrase are not supported: name a key without one, which only Willcall's \
         user may read",
    ),
];

const NO_GSS: &str = "GSSAPI is not supported: take it out, and use a password or a certificate";
const NO_OAUTH: &str = "OAuth is not supported: take it out, and use a password or a certificate";
const NO_KEYS: &str = "it is not supported: take it out, and name a password";
const NOT_READ: &str = "files of services are not read: write what it stands for into the URL";
const NO_REVOCATION: &str = "lists of revoked certificates are not read: take it out";

/// How far a word may be from a known one to be taken for it.
const DISTANCE_MAX: usize = 3;

/// Refuses a word that is not obeyed with this value. If there is a password it is not repeated,
/// since it may be a part of one that came apart.
pub(super) fn check(word: &str, value: &str, has_password: bool) -> Result<(), String> {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == word) {
        return Err(format!("{word} in the database URL: {why}"));
    }
    if let Some((_, values, why)) = ONLY.iter().find(|(known, ..)| *known == word) {
        return match values.contains(&value) {
            true => Ok(()),
            false => Err(format!("{word} in the database URL: {why}")),
        };
    }
    match OBEYED.contains(&word) {
        true => Ok(()),
        false => Err(unknown(word, has_password)),
    }
}

fn unknown(word: &str, has_password: bool) -> String {
    let known = OBEYED
        .iter()
        .copied()
        .chain(ONLY.iter().map(|(known, ..)| *known));
    let near = known
        .map(|known| (strsim::levenshtein(known, word), known))
        .min()
        .filter(|(distance, _)| *distance <= DISTANCE_MAX);
    let named = match has_password {
        true => "a word".to_owned(),
        false => format!("the word {word:?}"),
    };
    match near {
        Some((_, near)) => {
            format!("the database URL has {named} that is none of libpq's: did you mean {near}?")
        }
        None => format!(
            "the database URL has {named} that is none of libpq's: take it out (what libpq knows \
             is in PostgreSQL's manual under \"Parameter Key Words\")"
        ),
    }
}
