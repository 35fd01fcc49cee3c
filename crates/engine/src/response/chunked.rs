//! The chunked decoder: a body with `Transfer-Encoding: chunked` (RFC 9112, section 7.1).
//!
//! Fed with bytes in any pieces, it holds none of them. What is not data is bounded: the digits of
//! a size, all extensions of a body, all its trailers. Lines end with CR LF and nothing else: where
//! one reader sees the end of a line and another does not, two bodies can be read.

use model::limits;

/// Digits of a size: as many as the largest number has.
const DIGITS_MAX: u32 = 16;

/// Bytes beside the size in all lines of sizes. Nobody is known to use any.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Trailers: of the size of an ordinary head, and never kept.
const TRAILER_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(crate) struct ChunkedDecoder {
    at: ChunkState,
    /// The size of the chunk, then what is still to come of it.
    left: u64,
    digits: u32,
    extension_bytes: usize,
    trailer_bytes: usize,
    trailers: usize,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
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
pub(crate) enum ChunkPiece<'a> {
    Data(&'a [u8]),
    /// All of them were taken, and more must come.
    Nothing,
    End,
    /// This is no chunk, or something has no end; in words.
    Garbled(&'static str),
}

impl ChunkedDecoder {
    /// Takes from the beginning of `bytes`, and leaves the rest in it.
    pub(crate) fn take<'a>(&mut self, bytes: &mut &'a [u8]) -> ChunkPiece<'a> {
        loop {
            if self.at == ChunkState::End {
                return ChunkPiece::End;
            }
            if bytes.is_empty() {
                return ChunkPiece::Nothing;
            }
            if self.at == ChunkState::Data {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let (data, rest) = bytes.split_at(left.min(bytes.len()));
                *bytes = rest;
                self.left = self.left.saturating_sub(data.len() as u64);
                if self.left == 0 {
                    self.at = ChunkState::DataCr;
                }
                return ChunkPiece::Data(data);
            }
            let Some((byte, rest)) = bytes.split_first() else {
                return ChunkPiece::Nothing;
            };
            *bytes = rest;
            match self.step(*byte) {
                Some(at) => self.at = at,
                None => return ChunkPiece::Garbled(self.wrong()),
            }
        }
    }

    /// What comes after this byte, if it may be there.
    fn step(&mut self, byte: u8) -> Option<ChunkState> {
        match (self.at, byte) {
            (ChunkState::Size, b' ' | b'\t') if self.digits > 0 => {
                self.extension(ChunkState::Blanks)
            }
            (ChunkState::Size, b';') if self.digits > 0 => Some(ChunkState::Extension),
            (ChunkState::Size, b'\r') if self.digits > 0 => Some(ChunkState::SizeLf),
            (ChunkState::Size, digit) => self.digit(digit),
            (ChunkState::Blanks, b' ' | b'\t') => self.extension(ChunkState::Blanks),
            (ChunkState::Blanks, b';') => Some(ChunkState::Extension),
            (ChunkState::Blanks | ChunkState::Extension, b'\r') => Some(ChunkState::SizeLf),
            (ChunkState::Extension, other) if other != b'\n' => {
                self.extension(ChunkState::Extension)
            }
            (ChunkState::SizeLf, b'\n') => {
                self.digits = 0;
                Some(match self.left {
                    0 => ChunkState::Trailer,
                    _ => ChunkState::Data,
                })
            }
            (ChunkState::DataCr, b'\r') => Some(ChunkState::DataLf),
            (ChunkState::DataLf, b'\n') => Some(ChunkState::Size),
            (ChunkState::Trailer, b'\r') => Some(ChunkState::EndLf),
            (ChunkState::Trailer, b':' | b'\n' | b' ' | b'\t') => None,
            (ChunkState::Trailer, _) => {
                self.trailers += 1;
                let few = self.trailers <= limits::RESPONSE_HEADERS_MAX;
                self.trailer(ChunkState::TrailerName).filter(|_| few)
            }
            (ChunkState::TrailerName, b':') => self.trailer(ChunkState::TrailerValue),
            (ChunkState::TrailerName, name) if name > b' ' => self.trailer(ChunkState::TrailerName),
            (ChunkState::TrailerValue, b'\r') => Some(ChunkState::TrailerLf),
            (ChunkState::TrailerValue, b'\n' | 0) => None,
            (ChunkState::TrailerValue, _) => self.trailer(ChunkState::TrailerValue),
            (ChunkState::TrailerLf, b'\n') => Some(ChunkState::Trailer),
            (ChunkState::EndLf, b'\n') => Some(ChunkState::End),
            (
                ChunkState::Blanks
                | ChunkState::Extension
                | ChunkState::SizeLf
                | ChunkState::Data
                | ChunkState::DataCr
                | ChunkState::DataLf
                | ChunkState::TrailerName
                | ChunkState::TrailerLf
                | ChunkState::EndLf
                | ChunkState::End,
                _,
            ) => None,
        }
    }

    /// What is wrong where a byte may not be.
    fn wrong(&self) -> &'static str {
        match self.at {
            ChunkState::Size => "the size of a chunk is not a hexadecimal number",
            ChunkState::Blanks | ChunkState::Extension | ChunkState::SizeLf => {
                "what stands behind the size of a chunk does not end as it should"
            }
            ChunkState::Data | ChunkState::DataCr | ChunkState::DataLf => {
                "a chunk is longer than its size says"
            }
            ChunkState::Trailer
            | ChunkState::TrailerName
            | ChunkState::TrailerValue
            | ChunkState::TrailerLf
            | ChunkState::EndLf
            | ChunkState::End => "what stands behind the chunks is no header line, or too long",
        }
    }

    fn digit(&mut self, byte: u8) -> Option<ChunkState> {
        let digit = char::from(byte).to_digit(16)?;
        self.digits += 1;
        if self.digits > DIGITS_MAX {
            return None;
        }
        // Sixteen digits are four bits each.
        self.left = (self.left << 4) | u64::from(digit);
        Some(ChunkState::Size)
    }

    fn extension(&mut self, at: ChunkState) -> Option<ChunkState> {
        self.extension_bytes += 1;
        (self.extension_bytes <= EXTENSION_BYTES_MAX).then_some(at)
    }

    fn trailer(&mut self, at: ChunkState) -> Option<ChunkState> {
        self.trailer_bytes += 1;
        (self.trailer_bytes <= TRAILER_BYTES_MAX).then_some(at)
    }
}

#[cfg(test)]
mod tests;
