//! Chunks: a body with `Transfer-Encoding: chunked`, taken apart (RFC 9112, section 7.1).
//!
//! Fed with bytes in any pieces, it holds none of them. What is not data is bounded: the digits of
//! a size, all extensions of a body, all its trailers. Lines end with CR and LF, nothing else:
//! where one reader sees the end of a line and another does not, two bodies can be read.

use model::limits;

/// Digits of a size: as many as the largest number has.
const DIGITS_MAX: u32 = 16;

/// Bytes beside the size in all lines of sizes. Nobody is known to use any.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Trailers: of the size of an ordinary head, and never kept.
const TRAILER_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Chunks {
    at: At,
    /// The size of the chunk, then what is still to come of it.
    left: u64,
    digits: u32,
    extension_bytes: usize,
    trailer_bytes: usize,
    trailers: usize,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// Blanks after a size.
    Blanks,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The beginning of a trailer, or of the last line.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// What was found at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Data(&'a [u8]),
    /// All of them were taken, and more must come.
    Nothing,
    End,
    /// This is no chunk, or something has no end; in words.
    Garbled(&'static str),
}

impl Chunks {
    /// Takes from the beginning of `bytes`, and leaves the rest in it.
    pub(crate) fn take<'a>(&mut self, bytes: &mut &'a [u8]) -> Found<'a> {
        loop {
            if self.at == At::End {
                return Found::End;
            }
            if bytes.is_empty() {
                return Found::Nothing;
            }
            if self.at == At::Data {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let (data, rest) = bytes.split_at(left.min(bytes.len()));
                *bytes = rest;
                self.left = self.left.saturating_sub(data.len() as u64);
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                return Found::Data(data);
            }
            let Some((byte, rest)) = bytes.split_first() else {
                return Found::Nothing;
            };
            *bytes = rest;
            match self.step(*byte) {
                Some(at) => self.at = at,
                None => return Found::Garbled(self.wrong()),
            }
        }
    }

    /// What comes after this byte, if it may be there.
    fn step(&mut self, byte: u8) -> Option<At> {
        match (self.at, byte) {
            (At::Size, b' ' | b'\t') if self.digits > 0 => self.extension(At::Blanks),
            (At::Size, b';') if self.digits > 0 => Some(At::Extension),
            (At::Size, b'\r') if self.digits > 0 => Some(At::SizeLf),
            (At::Size, digit) => self.digit(digit),
            (At::Blanks, b' ' | b'\t') => self.extension(At::Blanks),
            (At::Blanks, b';') => Some(At::Extension),
            (At::Blanks | At::Extension, b'\r') => Some(At::SizeLf),
            (At::Extension, other) if other != b'\n' => self.extension(At::Extension),
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                Some(match self.left {
                    0 => At::Trailer,
                    _ => At::Data,
                })
            }
            (At::DataCr, b'\r') => Some(At::DataLf),
            (At::DataLf, b'\n') => Some(At::Size),
            (At::Trailer, b'\r') => Some(At::EndLf),
            (At::Trailer, b':' | b'\n' | b' ' | b'\t') => None,
            (At::Trailer, _) => {
                self.trailers += 1;
                let few = self.trailers <= limits::RESPONSE_HEADERS_MAX;
                self.trailer(At::TrailerName).filter(|_| few)
            }
            (At::TrailerName, b':') => self.trailer(At::TrailerValue),
            (At::TrailerName, name) if name > b' ' => self.trailer(At::TrailerName),
            (At::TrailerValue, b'\r') => Some(At::TrailerLf),
            (At::TrailerValue, b'\n' | 0) => None,
            (At::TrailerValue, _) => self.trailer(At::TrailerValue),
            (At::TrailerLf, b'\n') => Some(At::Trailer),
            (At::EndLf, b'\n') => Some(At::End),
            (
                At::Blanks
                | At::Extension
                | At::SizeLf
                | At::Data
                | At::DataCr
                | At::DataLf
                | At::TrailerName
                | At::TrailerLf
                | At::EndLf
                | At::End,
                _,
            ) => None,
        }
    }

    /// What is wrong where a byte may not be.
    fn wrong(&self) -> &'static str {
        match self.at {
            At::Size => "the size of a chunk is not a hexadecimal number",
            At::Blanks | At::Extension | At::SizeLf => {
                "what stands behind the size of a chunk does not end as it should"
            }
            At::Data | At::DataCr | At::DataLf => "a chunk is longer than its size says",
            At::Trailer
            | At::TrailerName
            | At::TrailerValue
            | At::TrailerLf
            | At::EndLf
            | At::End => "what stands behind the chunks is no header line, or too long",
        }
    }

    fn digit(&mut self, byte: u8) -> Option<At> {
        let digit = char::from(byte).to_digit(16)?;
        self.digits += 1;
        if self.digits > DIGITS_MAX {
            return None;
        }
        // Sixteen digits are four bits each.
        self.left = (self.left << 4) | u64::from(digit);
        Some(At::Size)
    }

    fn extension(&mut self, at: At) -> Option<At> {
        self.extension_bytes += 1;
        (self.extension_bytes <= EXTENSION_BYTES_MAX).then_some(at)
    }

    fn trailer(&mut self, at: At) -> Option<At> {
        self.trailer_bytes += 1;
        (self.trailer_bytes <= TRAILER_BYTES_MAX).then_some(at)
    }
}

#[cfg(test)]
mod tests;
