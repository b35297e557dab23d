use std::fmt;

/// An effective timestamp: the batch's own time, or the greatest time it had seen and a tick past it.
///
/// `time` is NTP64 (seconds since 1970 in the upper 32 bits, binary fraction below), as uhlc counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Effective {
    pub time: u64,
    pub tick: u64,
}

/// What `_timestamp` shows: an effective timestamp and the first eight bytes of the writer's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    pub effective: Effective,
    pub writer: [u8; 8],
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a timestamp of the form <ISO 8601 with ms>-<8 hex>-<12 hex>-<16 hex>")]
pub struct StampError;

/// Ticks are 48 bits in text: a chain of 2^48 entries behind one lying clock does not exist.
pub const MAX_TICK: u64 = (1 << 48) - 1;

const ISO_LENGTH: usize = 24;
const TEXT_LENGTH: usize = ISO_LENGTH + 1 + 8 + 1 + 12 + 1 + 16;

impl Stamp {
    /// Reads the text form; a state suffix (`-<16 hex>`) must be cut off before.
    pub fn parse(text: &str) -> Result<Self, StampError> {
        let rest = text.get(ISO_LENGTH..).ok_or(StampError)?;
        let mut parts = rest.split('-');
        let (empty, fraction, tick, writer) = (parts.next(), parts.next(), parts.next(), parts.next());
        if empty != Some("") || parts.next().is_some() || text.len() != TEXT_LENGTH {
            return Err(StampError);
        }
        let fraction = hex(fraction, 8)?;
        let seconds = parse_seconds(text.get(..ISO_LENGTH).ok_or(StampError)?)?;
        let stamp = Self {
            effective: Effective { time: (seconds << 32) | fraction, tick: hex(tick, 12)? },
            writer: hex(writer, 16)?.to_be_bytes(),
        };
        // The milliseconds stand twice in the text: only the form we print is a timestamp.
        if stamp.to_string() == text { Ok(stamp) } else { Err(StampError) }
    }
}

fn hex(text: Option<&str>, width: usize) -> Result<u64, StampError> {
    match text {
        Some(digits)
            if digits.len() == width
                && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) =>
        {
            u64::from_str_radix(digits, 16).map_err(|_| StampError)
        }
        _ => Err(StampError),
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date, and back (Howard Hinnant's `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn parse_seconds(iso: &str) -> Result<u64, StampError> {
    let number = |from: usize, to: usize| -> Result<i64, StampError> {
        let digits = iso.get(from..to).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|d| d.parse().ok()).ok_or(StampError)
    };
    let days = days_from_civil(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds = days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    u32::try_from(seconds).map(u64::from).map_err(|_| StampError)
}

/// Appends `value` in `N` decimal digits.
fn put_decimal<const N: usize>(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        let [low, ..] = (value % 10).to_le_bytes();
        *digit += low;
        value /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Appends the lowest `N` hexadecimal digits of `value`.
fn put_hex<const N: usize>(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; N];
    for digit in digits.iter_mut().rev() {
        let [low, ..] = (value & 15).to_le_bytes();
        *digit = if low < 10 { b'0' + low } else { b'a' + low - 10 };
        value >>= 4;
    }
    out.extend_from_slice(&digits);
}

impl Stamp {
    /// Appends the text form. Every read of an object prints one or two of these, so no formatter is involved.
    pub fn write_into(&self, out: &mut Vec<u8>) {
        let seconds = self.effective.time >> 32;
        let fraction = self.effective.time & 0xffff_ffff;
        let (year, month, day) = civil_from_days(i64::try_from(seconds / 86_400).unwrap_or(i64::MAX));
        let put = |out: &mut Vec<u8>, value: i64| put_decimal::<2>(out, value.unsigned_abs());
        put_decimal::<4>(out, year.unsigned_abs());
        out.push(b'-');
        put(out, month);
        out.push(b'-');
        put(out, day);
        out.push(b'T');
        put_decimal::<2>(out, seconds / 3_600 % 24);
        out.push(b':');
        put_decimal::<2>(out, seconds / 60 % 60);
        out.push(b':');
        put_decimal::<2>(out, seconds % 60);
        out.push(b'.');
        put_decimal::<3>(out, (fraction * 1_000) >> 32);
        out.extend_from_slice(b"Z-");
        put_hex::<8>(out, fraction);
        out.push(b'-');
        put_hex::<12>(out, self.effective.tick.min(MAX_TICK));
        out.push(b'-');
        put_hex::<16>(out, u64::from_be_bytes(self.writer));
    }
}

/// Appends a state id as the last part of a `_timestamp` that was read.
pub fn put_state_id(out: &mut Vec<u8>, id: u64) {
    out.push(b'-');
    put_hex::<16>(out, id);
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(TEXT_LENGTH);
        self.write_into(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamps() -> impl Strategy<Value = Stamp> {
        let time = prop_oneof![any::<u64>(), Just(u64::MAX), Just(0)];
        (time, 0..=MAX_TICK, any::<[u8; 8]>())
            .prop_map(|(time, tick, writer)| Stamp { effective: Effective { time, tick }, writer })
    }

    proptest! {
        #[test]
        fn text_round_trips_and_sorts_as_the_stamp(a in stamps(), b in stamps()) {
            prop_assert_eq!(Stamp::parse(&a.to_string()), Ok(a));
            prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = Stamp::parse(&text);
        }
    }

    #[test]
    fn golden_text() {
        let time = (1_793_019_797_u64 << 32) | ((185 << 32) / 1_000 + 1);
        let stamp = Stamp { effective: Effective { time, tick: 2 }, writer: [0xab; 8] };
        assert_eq!(stamp.to_string(), "2026-10-26T13:03:17.185Z-2f5c28f6-000000000002-abababababababab");
    }
}
