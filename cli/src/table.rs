//! Tables and figures for people. Much of what stands in them came from the network: see [`visible`].

use std::borrow::Cow;

/// Text with everything that would move the cursor, end the line, or change how what stands beside it is read written as
/// an escape, so that a record's value cannot look like a line of this program.
pub fn visible(text: &str) -> Cow<'_, str> {
    // Beside control characters: line and paragraph separators, and what turns the direction of writing.
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Sets rows under their heads, as wide as the widest cell of each column.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = heads.iter().map(|&h| h.to_owned()).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| visible(cell).into_owned()).collect())
        .collect();
    let mut widths = vec![0; heads.len()];
    for row in std::iter::once(&heads).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(&rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Names and values, one a line.
pub fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", visible(value)))
        .collect()
}

/// The first digits of a hash.
pub fn short(hash: &impl ToString) -> String {
    hash.to_string().chars().take(12).collect()
}

/// A number with its thousands parted: 1,000,000.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What may be missing.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |v| v.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_make_lines_of_its_own() {
        let forged = "5\r\nverified  yes\u{1b}[1A\u{7}\u{9b}\u{202e}";
        let shown = r"5\r\nverified  yes\u{1b}[1A\u{7}\u{9b}\u{202e}";
        assert_eq!(
            fields(&[("value", forged.into())]),
            format!("value  {shown}\n")
        );
        assert_eq!(
            table(&["A"], &[vec![forged.into()]]),
            format!("A\n{shown}\n")
        );
        assert_eq!(visible("Grüße, 世界"), "Grüße, 世界");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0, 7, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "7", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["node0".into(), "1".into()],
            vec!["n".into(), "22".into()],
        ];
        assert_eq!(
            table(&["NODE", "X"], &rows),
            "NODE   X\nnode0  1\nn      22\n"
        );
    }
}
