//! Figures, printed past the test harness's capture: a figure nobody sees is no figure.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// Prints one line to standard output, captured by nobody.
pub fn line(text: &str) {
    // A closed pipe must not fail a measurement.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints one line to standard error, captured by nobody.
pub fn loud(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A table of figures with aligned columns.
#[derive(Debug, Clone)]
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(title: &str, columns: &[&str]) -> Self {
        Self { title: title.to_owned(), rows: vec![columns.iter().map(|&c| c.to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|&c| c.to_owned()).collect());
    }

    /// The table as text.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = format!("\n== {}\n", self.title);
        for (index, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
            if index == 0 {
                let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
                let _ = writeln!(text, "  {}", rule.join("  "));
            }
        }
        text
    }

    /// Prints it.
    pub fn print(&self) {
        line(&self.render());
    }
}

/// A duration in milliseconds with a sensible number of digits.
#[must_use]
pub fn ms(span: Duration) -> String {
    let millis = span.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}
