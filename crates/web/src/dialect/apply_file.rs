//! Reading an operator's file: TOML to declarations, where each dialect reads its own section. It
//! changes nothing.

use std::cell::RefCell;
use std::sync::Arc;

use model::contract::Conflict;
use model::rng::SeededRng;
use toml::Spanned;
use toml::de::DeTable;

use super::section::{DeclarationFile, FileError, FileSecrets, FileTable, KnownEvents, SourceFile};
use super::value::{Dialect, Dialects};

/// A conflict of what is declared, and what to do: no sentence, but a part of one.
pub fn conflict_words(conflict: Conflict) -> String {
    match conflict {
        Conflict::FormerKey => "a signature is to have another secret while the one before it \
                                still signs; end that one first, or wait until its end"
            .to_owned(),
        Conflict::SignatureHeader
        | Conflict::OwnHeaderSigned
        | Conflict::OwnHeaders
        | Conflict::OwnHeaderBytes => {
            format!("{conflict} is taken at one of the webhooks; remove what takes it first")
        }
        Conflict::TokenName
        | Conflict::TokenHash
        | Conflict::WebhookKey
        | Conflict::UserName
        | Conflict::SignatureProfile
        | Conflict::OwnHeader
        | Conflict::IdempotencyKey => format!(
            "{conflict} is already used by another entry of the same tenant; give each a different \
             one"
        ),
    }
}

impl Dialects {
    /// The keys that a file may have at its top level.
    pub fn sections(&self) -> Vec<&'static str> {
        self.all.iter().map(|dialect| dialect.section).collect()
    }

    /// As `declare_with`, for a file without secrets of webhooks.
    pub fn declare(
        &self,
        text: &str,
        known: &KnownEvents,
        rng: &mut SeededRng,
    ) -> Result<DeclarationFile, Vec<FileError>> {
        let secrets = FileSecrets {
            read: &|_| Err("cannot be read here".to_owned()),
            sealer: None,
        };
        self.declare_with(text, known, rng, &secrets)
    }

    /// Reads `text` and returns its declarations, or everything that is wrong with it.
    pub fn declare_with(
        &self,
        text: &str,
        known: &KnownEvents,
        rng: &mut SeededRng,
        secrets: &FileSecrets<'_>,
    ) -> Result<DeclarationFile, Vec<FileError>> {
        let sheet = SourceFile {
            text,
            secrets,
            bounds: self.bounds(),
            mistakes: RefCell::default(),
        };
        let mut declared = DeclarationFile::default();
        match DeTable::parse(text) {
            Ok(top) => self.read(&sheet, &top, known, rng, &mut declared),
            Err(error) => sheet.note(
                error.span().unwrap_or_default(),
                String::new(),
                error.message().to_owned(),
            ),
        }
        let mut mistakes = sheet.mistakes.into_inner();
        if mistakes.is_empty() {
            return Ok(declared);
        }
        mistakes.sort_by_key(|mistake| mistake.line);
        Err(mistakes)
    }

    fn read<'a>(
        &self,
        sheet: &'a SourceFile<'a>,
        top: &'a Spanned<DeTable<'a>>,
        known: &KnownEvents,
        rng: &mut SeededRng,
        declared: &mut DeclarationFile,
    ) {
        let whole = FileTable {
            sheet,
            field: String::new(),
            table: top.get_ref(),
            span: 0..0,
        };
        whole.only(&self.sections());
        for dialect in &self.all {
            let dialect: &Arc<Dialect> = dialect;
            (dialect.declare)(&whole.tables(dialect.section), known, rng, declared);
        }
    }
}
