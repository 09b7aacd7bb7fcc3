//! Integers as C's strtol reads them, base 10, whole words only.

use std::ops::RangeInclusive;

/// The number, if the word is one and in range. Blanks before it, a plus sign and leading zeros are fine.
pub fn parse(text: &str, range: RangeInclusive<i64>) -> Option<i64> {
    text.trim_ascii_start().parse().ok().filter(|number| range.contains(number))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn whole_decimal_words() {
        for (text, number) in [("0", 0), (" 7", 7), ("+7", 7), ("010", 10), ("255", 255)] {
            assert_eq!(parse(text, 0..=255), Some(number), "{text:?}");
        }
        for text in ["", " ", "7 ", "0x10", "5x", "-1", "256", "99999999999999999999", "+", "+-5"] {
            assert_eq!(parse(text, 0..=255), None, "{text:?}");
        }
    }
}
