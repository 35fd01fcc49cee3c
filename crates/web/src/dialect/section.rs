//! A section of an operator's file: typed values of TOML, with line and field of each error. What a
//! section means is up to its dialect (`declare.rs` in its folder).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use model::call_limits::CallBounds;
use model::declared_secrets::Sealer;
use model::limits::{FILE_ERRORS_MAX, NAME_BYTES_MAX, TOKEN_LETTERS};
use model::query::{Declaration, DeclaredToken};
use model::rng::SeededRng;
use model::tenant::{DialectName, Permission, Permissions, TokenHash, TokenKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The slugs of the known shows of each tenant.
pub type KnownEvents = BTreeMap<(DialectName, String), BTreeSet<String>>;

/// What a file declares.
#[derive(Debug, Default)]
pub struct DeclarationFile {
    pub declarations: Vec<Declaration>,
    /// Tokens generated because the file gives none. Show each once, if applying the declarations
    /// says that it was created.
    pub fresh: Vec<GeneratedToken>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct GeneratedToken {
    /// The tenant's key.
    pub tenant: String,
    pub name: String,
    pub token: String,
}

/// An error in a file, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// 1-based.
    pub line: usize,
    /// Its path, such as `organizer.webhook.target_url`; empty for the file as a whole.
    pub field: String,
    pub message: String,
}

/// How a dialect reads its section.
pub(crate) type SectionParser =
    dyn Fn(&[FileTable<'_>], &KnownEvents, &mut SeededRng, &mut DeclarationFile) + Send + Sync;

/// Where a secret stands that is not in the file itself.
#[derive(Debug, Clone, Copy)]
pub enum SecretPlace<'a> {
    /// A file with nothing else in it.
    File(&'a str),
    /// A variable of the environment.
    Variable(&'a str),
}

/// What reads secrets, and what seals them.
pub struct FileSecrets<'a> {
    /// The text in a place, or what is wrong with it.
    pub read: &'a dyn Fn(SecretPlace<'_>) -> Result<String, String>,
    /// `None` if there is no master key.
    pub sealer: Option<Sealer>,
}

/// A file, with the errors found in it.
pub(crate) struct SourceFile<'a> {
    pub(super) text: &'a str,
    pub(super) secrets: &'a FileSecrets<'a>,
    pub(super) bounds: &'a CallBounds,
    pub(super) mistakes: RefCell<Vec<FileError>>,
}

/// A table of a file.
pub(crate) struct FileTable<'a> {
    pub(super) sheet: &'a SourceFile<'a>,
    pub(super) field: String,
    pub(super) table: &'a DeTable<'a>,
    pub(super) span: Range<usize>,
}

impl fmt::Debug for GeneratedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GeneratedToken({} {})", self.tenant, self.name)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            write!(f, "line {}: {}", self.line, self.message)
        } else {
            write!(f, "line {}, {}: {}", self.line, self.field, self.message)
        }
    }
}

impl SourceFile<'_> {
    pub(super) fn note(&self, span: Range<usize>, field: String, message: String) {
        let mut mistakes = self.mistakes.borrow_mut();
        if mistakes.len() >= FILE_ERRORS_MAX {
            return;
        }
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        mistakes.push(FileError {
            line,
            field,
            message,
        });
    }
}

impl<'a> FileTable<'a> {
    /// Reports every key that is not one of these.
    pub(crate) fn only(&self, keys: &[&str]) {
        for key in self.table.keys() {
            if !keys.contains(&key.get_ref().as_ref()) {
                let message = format!("is not known here; there are {}", keys.join(", "));
                let field = self.path(key.get_ref());
                self.sheet.note(key.span(), field, message);
            }
        }
    }

    /// Reports an error at this key, or at the table if it has no such key.
    pub(crate) fn wrong(&self, key: &str, message: impl Into<String>) {
        let found = self.table.get_key_value(key);
        let span = found.map_or_else(|| self.span.clone(), |(key, _)| key.span());
        self.sheet.note(span, self.path(key), message.into());
    }

    /// Reports an error at the table as a whole.
    pub(crate) fn wrong_whole(&self, message: impl Into<String>) {
        let span = self.span.clone();
        self.sheet.note(span, self.field.clone(), message.into());
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a DeValue<'a>> {
        self.table.get(key).map(Spanned::get_ref)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.mismatch(key, "a text in quotes", value);
        }
        text
    }

    /// A number as it is written. A text is taken as well: what it means is judged by who asks.
    pub(crate) fn number(&self, key: &str) -> Option<String> {
        let value = self.get(key)?;
        let number = value.as_integer().map(ToString::to_string);
        let number = number.or_else(|| value.as_float().map(ToString::to_string));
        let number = number.or_else(|| value.as_str().map(str::to_owned));
        if number.is_none() {
            self.mismatch(key, "a number", value);
        }
        number
    }

    /// What limits of webhooks may be.
    pub(crate) fn bounds(&self) -> &CallBounds {
        self.sheet.bounds
    }

    pub(crate) fn required_text(&self, key: &str) -> Option<&'a str> {
        if self.get(key).is_none() {
            self.wrong(key, "is missing");
        }
        self.text(key)
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.mismatch(key, "true or false", value);
        }
        flag
    }

    /// A time with its offset from UTC.
    pub(crate) fn moment(&self, key: &str) -> Option<model::time::Timestamp> {
        let value = self.get(key)?;
        // As a value of TOML, or as a text, which is all that JSON has.
        let moment = match (value.as_datetime(), value.as_str()) {
            (Some(at), _) => at.to_string().parse().ok(),
            (None, text) => text.and_then(|text| text.parse().ok()),
        };
        if moment.is_none() {
            let wanted = "a time with its offset, such as 2027-01-19T10:00:00Z";
            self.mismatch(key, wanted, value);
        }
        moment
    }

    pub(crate) fn texts(&self, key: &str) -> Option<Vec<&'a str>> {
        let value = self.get(key)?;
        let items = value.as_array().map(|items| items.iter());
        let texts: Option<Vec<&str>> =
            items.and_then(|items| items.map(|item| item.get_ref().as_str()).collect());
        if texts.is_none() {
            self.mismatch(key, "a list of texts in quotes", value);
        }
        texts
    }

    /// The tables under `[[key]]`.
    pub(crate) fn tables(&self, key: &str) -> Vec<Self> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let field = self.path(key);
        let entry = |item: &'a Spanned<DeValue<'a>>| {
            Some(FileTable {
                sheet: self.sheet,
                field: field.clone(),
                table: item.get_ref().as_table()?,
                span: item.span(),
            })
        };
        let items = value.as_array().map(|items| items.iter());
        let tables: Option<Vec<FileTable<'a>>> = items.and_then(|items| items.map(entry).collect());
        tables.unwrap_or_else(|| {
            self.wrong(key, format!("must be tables, each under [[{field}]]"));
            Vec::new()
        })
    }

    /// A table under this key, if there is one.
    pub(crate) fn table(&self, key: &str) -> Option<Self> {
        let (found, value) = self.table.get_key_value(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.mismatch(key, "a table", value.get_ref());
            return None;
        };
        Some(Self {
            sheet: self.sheet,
            field: self.path(key),
            table,
            span: found.span(),
        })
    }

    /// The secret in this place, or what is wrong with it.
    pub(crate) fn secret(&self, place: SecretPlace<'_>) -> Result<String, String> {
        (self.sheet.secrets.read)(place)
    }

    /// What seals secrets, if anything does.
    pub(crate) fn sealer(&self) -> Option<Sealer> {
        self.sheet.secrets.sealer.clone()
    }

    /// The tokens under `[[token]]`, whose tables may have `keys`. `permission` reads the dialect's
    /// name of one.
    pub(crate) fn tokens(
        &self,
        tenant: &str,
        keys: &[&str],
        permission: fn(&str) -> Result<Permission, String>,
        rng: &mut SeededRng,
        fresh: &mut Vec<GeneratedToken>,
    ) -> Vec<DeclaredToken> {
        let mut tokens: Vec<DeclaredToken> = Vec::new();
        for entry in self.tables("token") {
            entry.only(keys);
            let made = rng.alphanumeric(TOKEN_LETTERS);
            let Some(token) = entry.token(permission, &made) else {
                continue;
            };
            if tokens.iter().any(|other| other.name == token.name) {
                entry.wrong("name", format!("\"{}\" is declared twice", token.name));
            }
            if token.hash.is_some() && tokens.iter().any(|other| other.hash == token.hash) {
                entry.wrong("token", "is declared twice for the same tenant");
            }
            if token.hash.is_none() {
                fresh.push(GeneratedToken {
                    tenant: tenant.to_owned(),
                    name: token.name.clone(),
                    token: made,
                });
            }
            tokens.push(token);
        }
        tokens
    }

    fn token(
        &self,
        permission: fn(&str) -> Result<Permission, String>,
        made: &str,
    ) -> Option<DeclaredToken> {
        let name = self.required_text("name")?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            self.wrong(
                "name",
                format!("must have 1 to {NAME_BYTES_MAX} characters"),
            );
        }
        let hash = self.text("token").map(|token| {
            if token == "..." {
                let message = "is only dots; write the token, or leave the line out";
                self.wrong("token", message);
            }
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                self.wrong("token", "may have no spaces, and only characters of ASCII");
            }
            TokenHash::of(token)
        });
        Some(DeclaredToken {
            name: name.to_owned(),
            hash,
            fresh: TokenHash::of(made),
            permissions: self.permissions(permission),
            active: self.flag("active"),
            kind: self.kind(),
            default: self.flag("default").unwrap_or(false),
        })
    }

    fn permissions(&self, permission: fn(&str) -> Result<Permission, String>) -> Permissions {
        if self.get("permissions").is_none() {
            self.wrong("permissions", "is missing");
        }
        let names = self.texts("permissions").unwrap_or_default();
        let read = |name: &str| {
            let read = permission(name).and_then(|permission| {
                match Permission::OF_TENANTS.contains(&permission) {
                    true => Ok(permission),
                    false => Err(format!("{name} is for administrators' tokens only")),
                }
            });
            read.map_err(|words| self.wrong("permissions", words)).ok()
        };
        names.into_iter().filter_map(read).collect()
    }

    fn kind(&self) -> TokenKind {
        let Some(text) = self.text("kind") else {
            return TokenKind::Program;
        };
        text.parse().unwrap_or_else(|()| {
            let message = format!("must be \"token\" or \"device\", not \"{text}\"");
            self.wrong("kind", message);
            TokenKind::Program
        })
    }

    fn path(&self, key: &str) -> String {
        if self.field.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.field)
        }
    }

    fn mismatch(&self, key: &str, wanted: &str, value: &DeValue<'_>) {
        self.wrong(key, format!("must be {wanted}, not {}", value.type_str()));
    }
}
