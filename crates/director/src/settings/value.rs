//! Numbers as the kernel's integer sysctls take and show them.

/// Numbers with tabs between.
pub(super) fn format(values: &[i32]) -> String {
    values.iter().map(i32::to_string).collect::<Vec<_>>().join("\t")
}

/// At least one number with white space between: decimal, octal after 0, hexadecimal after 0x. `None` for all else.
pub(super) fn parse(text: &str) -> Option<Vec<i32>> {
    let values: Vec<i32> = text.split_ascii_whitespace().map(number).collect::<Option<_>>()?;
    (!values.is_empty()).then_some(values)
}

fn number(word: &str) -> Option<i32> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word),
    };
    let (base, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    i32::try_from(sign * i64::from_str_radix(digits, base).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_kernel_does() {
        assert_eq!(parse("3\t50\n"), Some(vec![3, 50]));
        assert_eq!(parse("-12 0x1f 010 0"), Some(vec![-12, 31, 8, 0]));
        for wrong in ["", " \n", "1x", "+1", "--1", "0x", "08", "2147483648", "99999999999999999999"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(parse("-2147483648"), Some(vec![i32::MIN]));
    }
}
