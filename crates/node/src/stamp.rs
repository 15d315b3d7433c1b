//! Times as interfaces write them.

use std::time::{Duration, SystemTime};

const SECONDS_OF_DAY: u64 = 86_400;

/// RFC 3339 in UTC, to the millisecond: `2026-11-21T06:38:44.125Z`. What is before 1970 is 1970.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let past = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, rest) = (past.as_secs() / SECONDS_OF_DAY, past.as_secs() % SECONDS_OF_DAY);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", past.subsec_millis())
}

/// Year, month and day of a day since 1970. Years begin in March here, so that a leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_ERA: u64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, is_next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + is_next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400, "2000-02-29T00:00:00.000Z");
        check(1_709_251_199, "2024-02-29T23:59:59.000Z");
        check(1_709_251_200, "2024-03-01T00:00:00.000Z");
        check(1_795_243_124, "2026-11-21T06:38:44.000Z");
        check(4_107_542_400, "2100-03-01T00:00:00.000Z");

        fn check(seconds: u64, wanted: &str) {
            assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), wanted);
        }
    }

    #[test]
    fn parts_of_a_second_are_kept() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_007);
        assert_eq!(rfc3339(at), "1970-01-01T00:00:01.007Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }
}
