//! The outer shape of a certificate (RFC 5280, 4.1), as far as it is read here: of those that
//! somebody hands in, and of a receiver's once it was verified.

pub(super) const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The fields of a certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct DerFields<'a> {
    /// It is of version 2 or 3.
    pub(super) has_version: bool,
    pub(super) issuer: &'a [u8],
    /// All from the validity on.
    pub(super) rest: &'a [u8],
}

impl<'a> DerFields<'a> {
    pub(super) fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut fields = sequence(sequence(certificate)?)?;
        let has_version = fields.first() == Some(&VERSION);
        if has_version {
            fields = value(fields)?.2;
        }
        // Serial number, algorithm.
        for _ in 0..2 {
            fields = value(fields)?.2;
        }
        let (_, issuer, rest) = value(fields)?;
        Some(Self {
            has_version,
            issuer,
            rest,
        })
    }
}

pub(super) fn sequence(der: &[u8]) -> Option<&[u8]> {
    let (tag, content, _) = value(der)?;
    (tag == SEQUENCE).then_some(content)
}

/// The first value: its tag, its content, and what follows it.
pub(super) fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        if bytes.is_empty() || bytes.len() > size_of::<u32>() {
            return None;
        }
        let length = bytes
            .iter()
            .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
