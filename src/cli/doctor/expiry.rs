//! When a certificate expires: the one date of X.509 (RFC 5280, 4.1) that nobody should overlook.
//!
//! Reads no more of the DER than it must, and trusts nothing in it.

use super::report::{Report, count};
use std::time::{Duration, SystemTime};

/// A program that renews certificates has done so when this few days are left.
const FEW_DAYS: u64 = 14;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Says for how many more days a certificate (DER) will do, behind what else is known of it.
pub(super) fn examine(subject: &str, known: &str, der: &[u8], report: &mut Report) {
    let Some(expires) = not_after(der) else { return };
    let days = days_left(expires, SystemTime::now());
    let said = format!("{known}expires in {}", count(days, "day"));
    let advice = "renew it; is whatever should have done so still running?";
    if expires <= SystemTime::now() {
        report.fail(subject, &format!("{known}has expired"), advice);
    } else if days < FEW_DAYS {
        report.warn(subject, &said, advice);
    } else {
        report.ok(subject, &said);
    }
}

/// From when on a certificate (DER) is not valid any more; `None` when it is no certificate.
fn not_after(der: &[u8]) -> Option<SystemTime> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut rest, _) = expect(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    for _serial_algorithm_issuer in 0..3 {
        rest = element(rest)?.2;
    }
    let (validity, _) = expect(rest, SEQUENCE)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    time(tag, text)
}

/// Whole days from now until then; 0 on the last day and after it.
fn days_left(then: SystemTime, now: SystemTime) -> u64 {
    then.duration_since(now).map_or(0, |left| left.as_secs() / 86_400)
}

/// Tag, content and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], mut rest) = der.split_first_chunk::<2>()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let bytes =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(it, _)| it.len() <= 4)?;
        length = bytes.0.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        rest = bytes.1;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|it| it.0 == tag).map(|(_, content, rest)| (content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |from: usize| digits.get(from..from + 2)?.parse::<i64>().ok();
    let (year, at) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(0)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, 2)
        }
        (GENERALIZED_TIME, 14) => (100 * number(0)? + number(2)?, 4),
        _ => return None,
    };
    let days = days_since_1970(year, number(at)?, number(at + 2)?);
    let seconds = days * 86_400 + number(at + 4)? * 3_600 + number(at + 6)? * 60 + number(at + 8)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// Years begin in March here, so that the leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn seconds(time: SystemTime) -> u64 {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn both_forms_of_time_are_understood_and_nothing_else() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "000229235959Z", Some(951_868_799)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "21000301000000Z", Some(4_107_542_400)),
            (UTC_TIME, "500101000000Z", None), // Before 1970.
            (UTC_TIME, "20500101000000Z", None),
            (GENERALIZED_TIME, "20500101000000", None),
            (UTC_TIME, "70010100000éZ", None),
            (2, "700101000000Z", None),
        ] {
            assert_eq!(time(tag, text.as_bytes()).map(seconds), expected, "{text}");
        }
    }

    #[test]
    fn a_real_certificate_expires_when_openssl_says_and_no_cut_of_it_panics() {
        let directory = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "30", "-subj", "/CN=localhost", "-outform", "DER"])
            .args(["-keyout", "/dev/null", "-out", "certificate.der"])
            .current_dir(directory.path())
            .output();
        assert!(made.unwrap().status.success());
        let der = std::fs::read(directory.path().join("certificate.der")).unwrap();
        let now = SystemTime::now();
        let then = not_after(&der).unwrap();
        assert!((29..=30).contains(&days_left(then, now)), "{then:?}");
        assert_eq!(days_left(now, then), 0);
        for length in 0..der.len() {
            assert_eq!(not_after(&der[..length]), None, "{length}");
        }
    }
}
