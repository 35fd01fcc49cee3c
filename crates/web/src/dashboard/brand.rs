//! The platform's own look: its name, its logo and its color on every page.
//!
//! A color is adapted until it can be read on each background that it stands on, in light and dark
//! (WCAG 2.2, 1.4.3: 4.5 to 1). A logo is shown as an image, which runs no script; asked for by
//! itself it is kept from that by its policy.

use std::sync::Arc;

use bytes::Bytes;

/// The most characters of a name, and bytes of a logo: each is on every page.
const NAME_CHARS_MAX: usize = 40;
pub const LOGO_BYTES_MAX: usize = 64 * 1024;

/// The least contrast of text to its background.
const CONTRAST_MIN: f64 = 4.5;

/// What an operator may set of the look. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Brand {
    pub name: Option<Arc<str>>,
    /// A style sheet with the color.
    pub style: Option<Arc<str>>,
    pub logo: Option<Logo>,
}

/// An image, and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    pub(super) kind: &'static str,
    pub(super) bytes: Bytes,
}

/// A name for pages; none if the text is empty.
///
/// # Errors
/// What is wrong with it.
pub fn name(text: &str) -> Result<Option<Arc<str>>, String> {
    if text.chars().count() > NAME_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "it may have at most {NAME_CHARS_MAX} characters, on one line"
        ));
    }
    Ok((!text.is_empty()).then(|| Arc::from(text)))
}

/// The style sheet for a color such as `#4338ca`; none if the text is empty.
///
/// # Errors
/// If it is no color.
pub fn style(text: &str) -> Result<Option<Arc<str>>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let color = Color::read(text)
        .ok_or_else(|| "it has to be a color of six digits, such as #4338ca".to_owned())?;
    let (light, dark) = (Scheme::light(color), Scheme::dark(color));
    let sheet = format!(
        ":root {{ {} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {} }} }}\n",
        light.words(),
        dark.words()
    );
    Ok(Some(Arc::from(sheet)))
}

/// An image of a type that browsers show.
///
/// # Errors
/// If it is none, or too large.
pub fn logo(bytes: Vec<u8>) -> Result<Logo, String> {
    if bytes.len() > LOGO_BYTES_MAX {
        return Err(format!("it is larger than {LOGO_BYTES_MAX} bytes"));
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let kind = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        "image/png"
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        "image/jpeg"
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        "image/webp"
    } else if text.trim_start().starts_with('<') && text.contains("<svg") {
        "image/svg+xml"
    } else {
        return Err("it is no image in PNG, JPEG, WebP or SVG".to_owned());
    };
    let bytes = Bytes::from(bytes);
    Ok(Logo { kind, bytes })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Color([u8; 3]);

const WHITE: Color = Color([255, 255, 255]);
const BLACK: Color = Color([0, 0, 0]);

/// Backgrounds of the style sheet `app.css`, in light and dark, and what stands on a color in dark.
const LIGHT: [Color; 2] = [WHITE, Color([0xf6, 0xf6, 0xf9])];
const DARK: [Color; 2] = [Color([0x1a, 0x1a, 0x24]), Color([0x12, 0x12, 0x19])];
const DARK_INK: Color = Color([0x14, 0x14, 0x2a]);

/// The color, what is written on it, and a background of its kind.
struct Scheme {
    accent: Color,
    ink: Color,
    soft: Color,
}

impl Scheme {
    fn light(color: Color) -> Self {
        let soft = color.mixed(WHITE, 92);
        let [paper, ground] = LIGHT;
        Self {
            accent: color.readable(BLACK, &[paper, ground, soft]),
            ink: WHITE,
            soft,
        }
    }

    fn dark(color: Color) -> Self {
        let [paper, ground] = DARK;
        let soft = color.mixed(paper, 85);
        Self {
            accent: color.readable(WHITE, &[paper, ground, soft, DARK_INK]),
            ink: DARK_INK,
            soft,
        }
    }

    fn words(&self) -> String {
        format!(
            "--accent: {}; --accent-ink: {}; --accent-soft: {};",
            self.accent.words(),
            self.ink.words(),
            self.soft.words()
        )
    }
}

impl Color {
    fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        let sound = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = sound.then(|| u32::from_str_radix(digits, 16).ok())??;
        let [_, red, green, blue] = number.to_be_bytes();
        Some(Self([red, green, blue]))
    }

    fn words(self) -> String {
        let [red, green, blue] = self.0;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// This color with so many percent of another.
    fn mixed(self, other: Self, percent: u32) -> Self {
        let ([a, b, c], [d, e, f]) = (self.0, other.0);
        let part = |own: u8, other: u8| {
            let sum = u32::from(own) * (100 - percent.min(100)) + u32::from(other) * percent;
            u8::try_from(sum / 100).unwrap_or(u8::MAX)
        };
        Self([part(a, d), part(b, e), part(c, f)])
    }

    /// This color, with as little of `toward` as makes it readable on all of these.
    fn readable(self, toward: Self, backgrounds: &[Self]) -> Self {
        let fits = |color: &Self| {
            let mut all = backgrounds.iter();
            all.all(|own| color.contrast(*own) >= CONTRAST_MIN)
        };
        let mut steps = (0..=100).map(|percent| self.mixed(toward, percent));
        steps.find(fits).unwrap_or(toward)
    }

    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// As WCAG 2.2 defines it.
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            match part <= 0.04045 {
                true => part / 12.92,
                false => ((part + 0.055) / 1.055).powf(2.4),
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_color_is_everything_on_it_and_of_it_can_be_read() {
        // What `app.css` writes on a soft background.
        let texts = [
            (
                [Color([0x1b, 0x1b, 0x28]), Color([0x5a, 0x5a, 0x6e])],
                LIGHT,
            ),
            ([Color([0xec, 0xec, 0xf4]), Color([0xa9, 0xa9, 0xbd])], DARK),
        ];
        let steps = (0..=255).step_by(17);
        let all = steps.clone().flat_map(|red| {
            let steps = steps.clone();
            steps
                .clone()
                .flat_map(move |green| steps.clone().map(move |blue| Color([red, green, blue])))
        });
        for color in all {
            let schemes = [Scheme::light(color), Scheme::dark(color)];
            for (scheme, (texts, backgrounds)) in schemes.iter().zip(texts) {
                for background in backgrounds.into_iter().chain([scheme.soft, scheme.ink]) {
                    let contrast = scheme.accent.contrast(background);
                    assert!(
                        contrast >= CONTRAST_MIN,
                        "{color:?} {background:?} {contrast}"
                    );
                }
                for text in texts {
                    let contrast = text.contrast(scheme.soft);
                    assert!(contrast >= CONTRAST_MIN, "{color:?} {text:?} {contrast}");
                }
            }
        }
    }

    #[test]
    fn contrasts_are_those_of_the_definition() {
        assert!((WHITE.contrast(BLACK) - 21.0).abs() < 0.001);
        assert!((Color([0x77, 0x77, 0x77]).contrast(WHITE) - 4.478).abs() < 0.001);
    }

    #[test]
    fn a_color_that_can_be_read_stays_as_it_is_and_others_are_no_colors() {
        let sheet = style("#4338CA").unwrap().unwrap();
        assert!(
            sheet.starts_with(":root { --accent: #4338ca; --accent-ink: #ffffff;"),
            "{sheet}"
        );
        assert_eq!(style(""), Ok(None));
        for text in [
            "red",
            "#fff",
            "#12345g",
            "#4338ca; }",
            "4338ca",
            "#\u{e4}\u{e4}\u{e4}",
        ] {
            assert!(style(text).is_err(), "{text}");
        }
    }

    #[test]
    fn images_are_told_by_their_first_bytes_and_are_small() {
        let kind = |bytes: &[u8]| logo(bytes.to_vec()).map(|logo| logo.kind);
        assert_eq!(kind(b"\x89PNG\r\n\x1a\nx"), Ok("image/png"));
        assert_eq!(kind(b"RIFF\0\0\0\0WEBP"), Ok("image/webp"));
        assert_eq!(kind(b"<?xml?><svg/>"), Ok("image/svg+xml"));
        for bytes in [
            b"".as_slice(),
            b"GIF89a",
            b"<html>",
            &[b'x'; LOGO_BYTES_MAX + 1],
        ] {
            assert!(kind(bytes).is_err());
        }
        assert!(name(&"x".repeat(41)).is_err() && name("a\nb").is_err());
    }
}
