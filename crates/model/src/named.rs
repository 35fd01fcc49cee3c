//! Named: enums whose variants have a text that is stored, sent and read back.

/// Gives an enum `ALL`, `as_str` and `FromStr`, by one list of its variants and their texts. A
/// variant that is missing in the list does not compile.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $crate::named::texts!($(#[$doc])* $name { $($variant = $text,)+ });

        impl std::str::FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                let mut all = Self::ALL.into_iter();
                all.find(|one| one.as_str() == text).ok_or(())
            }
        }
    };
}

/// The same without `FromStr`.
macro_rules! texts {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)+ }) => {
        impl $name {
            /// All there are, in order.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            $(#[$doc])*
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

pub(crate) use {named, texts};
