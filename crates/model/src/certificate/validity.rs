//! From when until when a certificate is valid (RFC 5280, 4.1.2.5). Read of certificates that
//! somebody hands in, and of a receiver's once it was verified.

use super::der::{DerFields, sequence, value};
use crate::time::Timestamp;

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let DerFields { rest: fields, .. } = DerFields::of(certificate)?;
        let (tag, not_before, rest) = value(sequence(fields)?)?;
        let not_before = moment(tag, not_before)?;
        let (tag, not_after, _) = value(rest)?;
        let not_after = moment(tag, not_after)?;
        Some(Self {
            not_before,
            not_after,
        })
    }
}

fn moment(tag: u8, content: &[u8]) -> Option<Timestamp> {
    let digits = content.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = str::from_utf8(digits).ok()?;
    let digits = match tag {
        UTC_TIME if digits.len() == 12 && digits < "50" => format!("20{digits}"),
        UTC_TIME if digits.len() == 12 => format!("19{digits}"),
        GENERALIZED_TIME if digits.len() == 14 => digits.to_owned(),
        _ => return None,
    };
    let (date, time) = digits.split_at_checked(8)?;
    let (year, date) = date.split_at_checked(4)?;
    let (month, day) = date.split_at_checked(2)?;
    let (hour, time) = time.split_at_checked(2)?;
    let (minute, second) = time.split_at_checked(2)?;
    let text = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::super::der::SEQUENCE;
    use super::*;

    fn unix(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn both_ways_to_write_a_time_are_read() {
        for (year, not_before) in [
            (1975, "1975-03-02T00:00:00Z"),
            (2049, "2049-03-02T00:00:00Z"),
            (2050, "2050-03-02T00:00:00Z"),
        ] {
            let mut params = CertificateParams::default();
            params.not_before = date_time_ymd(year, 3, 2);
            params.not_after = date_time_ymd(4096, 1, 1);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let read = Validity::of(certificate.der()).unwrap();
            assert_eq!(read.not_before, unix(not_before));
            assert_eq!(read.not_after, unix("4096-01-01T00:00:00Z"));
        }
    }

    #[test]
    fn times_that_no_certificate_may_have_are_not_read() {
        assert!(moment(UTC_TIME, b"270102030405Z").is_some());
        for (tag, content) in [
            (UTC_TIME, &b"2701020304Z"[..]),
            (UTC_TIME, b"270102030405+0100"),
            (UTC_TIME, b"270102030405"),
            (UTC_TIME, b"20270102030405Z"),
            (GENERALIZED_TIME, b"270102030405Z"),
            (GENERALIZED_TIME, b"20270102030405.5Z"),
            (GENERALIZED_TIME, b"20271302030405Z"),
            (GENERALIZED_TIME, "2027010203é5Z".as_bytes()),
            (SEQUENCE, b"20270102030405Z"),
        ] {
            assert_eq!(moment(tag, content), None, "{content:?}");
        }
    }

    #[test]
    fn a_certificate_that_is_cut_anywhere_is_not_read() {
        let params = CertificateParams::default();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let whole: &[u8] = certificate.der();
        assert!(Validity::of(whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..end]), None, "{end}");
        }
        assert_eq!(Validity::of(&[SEQUENCE, 0x80]), None);
        assert_eq!(
            Validity::of(&[SEQUENCE, 0x88, 255, 255, 255, 255, 255, 255, 255, 255]),
            None
        );
    }
}
