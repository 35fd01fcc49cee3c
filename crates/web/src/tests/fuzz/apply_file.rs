//! Files of operators: read, or everything that is wrong with them by its line.

use model::rng::SeededRng;

use crate::dialects::{self, DialectOptions, KnownEvents};

#[test]
fn a_file_is_declared_or_each_mistake_has_a_line_of_it() {
    let dialects = dialects::all(&DialectOptions::default());
    ::fuzz::run("apply_file", 600, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let declare = || {
            let mut rng = SeededRng::from_seed([7; 32]);
            dialects.declare(&text, &KnownEvents::new(), &mut rng)
        };
        match declare() {
            Ok(declared) => {
                let again = declare().unwrap();
                assert_eq!(again.declarations.len(), declared.declarations.len());
            }
            Err(mistakes) => {
                assert!(!mistakes.is_empty());
                let lines = text.split('\n').count();
                for mistake in mistakes {
                    assert!((1..=lines).contains(&mistake.line), "{mistake:?}");
                    assert!(!mistake.message.is_empty(), "{mistake:?}");
                }
            }
        }
    });
}
