//! Texts as PostgreSQL can have them: it refuses the character U+0000, which applications may put
//! into names, and answers of receivers into what is said of them.
//!
//! So U+0000 is written as U+0001 U+0001, and U+0001 as U+0001 U+0002. Different texts stay
//! different, and texts stay in their order.

use std::borrow::Cow;
use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

const ESCAPE: char = '\u{1}';

/// A text as a parameter, alone or in an array. Whatever may come from outside is given as this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SafeText<'a>(pub(crate) &'a str);

/// The text as it is stored.
pub(crate) fn encoded(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte <= 1) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len().saturating_add(8));
    for char in text.chars() {
        match char {
            '\0' => written.extend([ESCAPE, ESCAPE]),
            ESCAPE => written.extend([ESCAPE, '\u{2}']),
            other => written.push(other),
        }
    }
    Cow::Owned(written)
}

/// Whether a stored text has characters that stand for others.
pub(crate) fn is_encoded(stored: &str) -> bool {
    stored.bytes().any(|byte| byte == 1)
}

/// The reverse of `encoded`.
pub(crate) fn decoded(stored: &str) -> String {
    let mut written = String::with_capacity(stored.len());
    let mut chars = stored.chars();
    while let Some(char) = chars.next() {
        written.push(match char {
            ESCAPE => match chars.next() {
                Some(ESCAPE) => '\0',
                Some(_) | None => ESCAPE,
            },
            other => other,
        });
    }
    written
}

impl ToSql for SafeText<'_> {
    fn to_sql(
        &self,
        _kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(encoded(self.0).as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        [Type::TEXT, Type::VARCHAR].contains(kind)
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![Just('\0'), Just('\u{1}'), Just('\u{2}'), any::<char>()],
            0..8,
        )
        .prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn any_text_comes_back_as_it_was_and_in_its_order(one in text(), other in text()) {
            let (stored, other_stored) = (encoded(&one), encoded(&other));
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(decoded(&stored), one.clone());
            prop_assert_eq!(is_encoded(&stored), one.contains(['\0', '\u{1}']));
            prop_assert_eq!(stored.cmp(&other_stored), one.cmp(&other));
        }
    }
}
