//! Secrets in an operator's file: signatures, own headers and certificates of a webhook, the same
//! for every dialect. A secret need not stand in the file: it may come from another file or from a
//! variable.

use std::collections::BTreeSet;

use model::certificate::{self, Certificate};
use model::declared_secrets::{
    DeclaredClientCertificate, DeclaredHeader, DeclaredSecrets, DeclaredSignature,
};
use model::own_header;
use model::signing::{Profile, Secret, SecretError};
use model::time::Timestamp;

use super::own_headers::judged_name;
use super::section::{FileTable, SecretPlace};

/// The keys of a webhook that hold them.
pub(crate) const KEYS: [&str; 4] = [
    "signature",
    "header",
    "client_certificate",
    "ca_certificates",
];

/// Reads signatures, own headers and certificates of a webhook. `taken` are headers of its dialect.
pub(crate) fn read(webhook: &FileTable<'_>, taken: &[&str]) -> DeclaredSecrets {
    let mut profiles = BTreeSet::new();
    let signatures = webhook.tables("signature");
    let signatures = signatures.iter().filter_map(|entry| {
        let declared = signature(entry)?;
        if !profiles.insert(declared.profile) {
            let name = declared.profile.as_str();
            entry.wrong("profile", format!("\"{name}\" is declared twice"));
        }
        Some(declared)
    });
    let signatures: Vec<DeclaredSignature> = signatures.collect();
    let mut names = BTreeSet::new();
    let headers = webhook.tables("header");
    let headers = headers.iter().filter_map(|entry| {
        let declared = header(entry, taken)?;
        if !names.insert(declared.name.clone()) {
            let name = declared.name.as_str();
            entry.wrong("name", format!("\"{name}\" is declared twice"));
        }
        Some(declared)
    });
    let headers: Vec<DeclaredHeader> = headers.collect();
    let sealer = webhook.sealer();
    let client = webhook.table("client_certificate");
    let client = client.and_then(|entry| client_certificate(&entry));
    let ca = webhook.table("ca_certificates");
    let ca = ca.and_then(|entry| ca_certificates(&entry));
    let is_there = !signatures.is_empty() || !headers.is_empty() || client.is_some();
    if is_there && sealer.is_none() {
        let message = "has secrets, and no master key is set that they could be encrypted with: \
                       set master_key_file or WILLCALL_MASTER_KEY";
        webhook.wrong_whole(message);
    }
    DeclaredSecrets {
        signatures,
        headers,
        client_certificate: client,
        ca_certificates: ca,
        sealer: sealer.unwrap_or_default(),
    }
}

fn signature(entry: &FileTable<'_>) -> Option<DeclaredSignature> {
    entry.only(&[
        "profile",
        "header",
        "svix",
        "secret",
        "secret_file",
        "secret_variable",
    ]);
    let profile: Result<Profile, ()> = entry.required_text("profile")?.parse();
    let Ok(profile) = profile else {
        let names = Profile::ALL.map(Profile::as_str).join(", ");
        entry.wrong("profile", format!("has to be one of {names}"));
        return None;
    };
    let header = entry.text("header");
    if let Some(Err(error)) = header.map(|header| profile.check_header(header)) {
        entry.wrong("header", error.to_string());
    }
    let svix = entry.flag("svix").unwrap_or(false);
    if svix && !profile.is_standard() {
        entry.wrong("svix", "only Standard Webhooks has the headers of Svix");
    }
    let is_made_here = Secret::brought(profile, "") == Err(SecretError::MadeHere);
    let secret = match (is_made_here, given(entry, "secret")?) {
        (true, None) => None,
        (true, Some((key, _))) => {
            entry.wrong(&key, SecretError::MadeHere.to_string());
            return None;
        }
        (false, None) => {
            let message = "is missing, as are secret_file and secret_variable: one of them says \
                           which secret the receiver has";
            entry.wrong("secret", message);
            return None;
        }
        (false, Some((key, text))) => match Secret::brought(profile, &text) {
            Ok(secret) => Some(secret),
            Err(error) => {
                entry.wrong(&key, error.to_string());
                return None;
            }
        },
    };
    Some(DeclaredSignature {
        profile,
        header: header.map(str::to_owned),
        svix,
        secret,
    })
}

fn header(entry: &FileTable<'_>, taken: &[&str]) -> Option<DeclaredHeader> {
    entry.only(&["name", "value", "value_file", "value_variable"]);
    let name = judged_name(taken, entry.required_text("name")?);
    let name = name.map_err(|error| entry.wrong("name", error.to_string()));
    let (key, text) = required(entry, "value")?;
    let value = own_header::value(&text);
    let value = value.map_err(|error| entry.wrong(&key, error.to_string()));
    Some(DeclaredHeader {
        name: name.ok()?,
        value: value.ok()?,
    })
}

/// One that has expired is taken: what was declared once may be declared again.
fn client_certificate(entry: &FileTable<'_>) -> Option<DeclaredClientCertificate> {
    let all = [
        "certificates",
        "certificates_file",
        "certificates_variable",
        "private_key",
        "private_key_file",
        "private_key_variable",
    ];
    entry.only(&all);
    let (chain, key) = (
        required(entry, "certificates"),
        required(entry, "private_key"),
    );
    let ((of_chain, chain), (of_key, key)) = chain.zip(key)?;
    match certificate::client_certificate(&chain, &key, Timestamp::EPOCH) {
        Ok((chain, key)) => Some(DeclaredClientCertificate { chain, key }),
        Err((chain, key)) => {
            if let Some(error) = chain {
                entry.wrong(&of_chain, error.to_string());
            }
            if let Some(error) = key {
                entry.wrong(&of_key, error.to_string());
            }
            None
        }
    }
}

fn ca_certificates(entry: &FileTable<'_>) -> Option<Vec<Certificate>> {
    let all = ["certificates", "certificates_file", "certificates_variable"];
    entry.only(&all);
    let (key, text) = required(entry, "certificates")?;
    let read = certificate::ca_certificates(&text, Timestamp::EPOCH);
    read.map_err(|error| entry.wrong(&key, error.to_string()))
        .ok()
}

fn required(entry: &FileTable<'_>, key: &str) -> Option<(String, String)> {
    let found = given(entry, key)?;
    if found.is_none() {
        let message = format!("is missing, as are {key}_file and {key}_variable");
        entry.wrong(key, message);
    }
    found
}

/// What is given under this key, in a file that `…_file` names, or in a variable that `…_variable`
/// names; with the key that gives it. `None` if something is wrong.
fn given(entry: &FileTable<'_>, key: &str) -> Option<Option<(String, String)>> {
    let (file, variable) = (format!("{key}_file"), format!("{key}_variable"));
    let all = [key, &file, &variable];
    let mut there = all.into_iter().filter(|key| entry.get(key).is_some());
    let Some(found) = there.next() else {
        return Some(None);
    };
    if let Some(more) = there.next() {
        entry.wrong(
            more,
            format!("is not taken beside {found}: give one of them"),
        );
        return None;
    }
    let text = entry.text(found)?;
    let read = match found {
        found if found == file => entry.secret(SecretPlace::File(text)),
        found if found == variable => entry.secret(SecretPlace::Variable(text)),
        _ => Ok(text.to_owned()),
    };
    match read {
        Ok(text) => Some(Some((found.to_owned(), text))),
        Err(words) => {
            entry.wrong(found, words);
            None
        }
    }
}
