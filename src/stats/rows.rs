//! The rows of HAProxy's statistics, and the three forms it writes them in: CSV, typed and JSON (management guide, sections
//! 9.1 and 9.2).

use std::fmt::Write as _;
use std::sync::LazyLock;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// A service, HAProxy's frontend.
    Frontend,
    /// A pool, HAProxy's backend.
    Backend,
    /// A server of a pool.
    Server,
}

/// One line of `show stat`.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is about.
    pub kind: RowKind,
    /// The proxy's number.
    pub proxy: usize,
    /// The server's number in its pool; 0 for a proxy.
    pub server: usize,
    cells: Vec<Option<String>>,
}

/// A column of the table beside this file.
struct Column {
    name: &'static str,
    /// Origin, nature and scope: a letter each.
    tags: &'static str,
    /// Those of a backend's row, where they differ.
    backend_tags: &'static str,
    form: &'static str,
    /// The rows that hold a zero unless something is known: letters of `F`, `S` and `B`.
    zero: &'static str,
}

impl Column {
    /// Only in CSV: it parts the columns of old from those of modules.
    fn is_separator(&self) -> bool {
        self.name == "-"
    }
}

static COLUMNS: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let lines = include_str!("columns.tsv").lines().filter(|line| !line.starts_with('#'));
    let column = |line: &'static str| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap_or_default();
        let (name, tags, form, zero) = (field(), field(), field(), field());
        let (tags, backend_tags) = tags.split_once('/').unwrap_or((tags, tags));
        Column { name, tags, backend_tags, form, zero }
    };
    lines.map(column).collect()
});

impl RowKind {
    fn letter(self) -> char {
        match self {
            Self::Frontend => 'F',
            Self::Backend => 'B',
            Self::Server => 'S',
        }
    }

    /// Its number in the column `type`, and as a bit the type that `show stat` can be asked for.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Frontend => 0,
            Self::Backend => 1,
            Self::Server => 2,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Frontend => "Frontend",
            Self::Backend => "Backend",
            Self::Server => "Server",
        }
    }
}

impl Row {
    /// A row with the zeros that HAProxy shows there.
    pub(super) fn new(kind: RowKind, names: (&str, &str), proxy: usize, server: usize) -> Self {
        let zero = |column: &Column| column.zero.contains(kind.letter()).then(|| "0".to_owned());
        let mut row = Self { kind, proxy, server, cells: COLUMNS.iter().map(zero).collect() };
        row.set("pxname", names.0);
        row.set("svname", names.1);
        row.set("pid", 1);
        row.set("iid", proxy);
        row.set("sid", server);
        row.set("type", kind.number());
        row.set("mode", "tcp");
        row.set("-", "-");
        row
    }

    pub(super) fn set(&mut self, column: &str, value: impl ToString) {
        if let Some(index) = COLUMNS.iter().position(|known| known.name == column)
            && let Some(cell) = self.cells.get_mut(index)
        {
            *cell = Some(value.to_string());
        }
    }

    /// What a column holds; empty: nothing.
    #[must_use]
    pub fn get(&self, column: &str) -> &str {
        let index = COLUMNS.iter().position(|known| known.name == column);
        index.and_then(|index| self.cells.get(index)).and_then(Option::as_deref).unwrap_or_default()
    }

    fn filled(&self) -> impl Iterator<Item = (&'static Column, &str)> {
        COLUMNS.iter().zip(&self.cells).filter_map(|(column, cell)| Some((column, cell.as_deref()?)))
    }
}

/// As CSV, with the line that names the columns.
#[must_use]
pub fn csv(rows: &[Row]) -> String {
    let mut out = String::from("# ");
    for column in COLUMNS.iter() {
        out.push_str(column.name);
        out.push(',');
    }
    out.push('\n');
    for row in rows {
        for cell in &row.cells {
            quote(cell.as_deref().unwrap_or_default(), &mut out);
            out.push(',');
        }
        out.push('\n');
    }
    out
}

/// Quoted as RFC 4180 wants it, where a reason holds a comma.
fn quote(value: &str, out: &mut String) {
    if value.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(&value.replace('"', "\"\"").replace(['\n', '\r'], " "));
        out.push('"');
    } else {
        out.push_str(value);
    }
}

/// One line a value, with what it means: `S.3.1.18.weight.1:MaP:u32:10`.
#[must_use]
pub fn typed(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        let (kind, proxy, server) = (row.kind.letter(), row.proxy, row.server);
        for (position, (column, value)) in positions(row) {
            let (name, tags, form) = (column.name, tags(row.kind, column), column.form);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{kind}.{proxy}.{server}.{position}.{name}.1:{tags}:{form}:{value}");
        }
    }
    out
}

/// As a JSON array, a row an array of values.
#[must_use]
pub fn json(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let value = |(position, (column, value)): (usize, (&Column, &str))| {
            let described = described(position, column.name, tags(row.kind, column), column.form, value);
            let (kind, proxy, server) = (row.kind.label(), row.proxy, row.server);
            format!("{{\"objType\":\"{kind}\",\"proxyId\":{proxy},\"id\":{server},{described}}}")
        };
        format!("[{}]", positions(row).map(value).collect::<Vec<_>>().join(","))
    };
    format!("[{}]", rows.iter().map(row).collect::<Vec<_>>().join(","))
}

/// The values of a row with their numbers, which do not count the separator.
fn positions(row: &Row) -> impl Iterator<Item = (usize, (&'static Column, &str))> {
    let separator = COLUMNS.iter().position(Column::is_separator).unwrap_or(usize::MAX);
    row.filled().filter(|(column, _)| !column.is_separator()).filter_map(move |(column, value)| {
        let index = COLUMNS.iter().position(|known| known.name == column.name)?;
        Some((index - usize::from(index > separator), (column, value)))
    })
}

fn tags(kind: RowKind, column: &Column) -> &'static str {
    match kind {
        RowKind::Backend => column.backend_tags,
        RowKind::Frontend | RowKind::Server => column.tags,
    }
}

/// The members that say what a value is, as HAProxy's JSON does for statistics and for `show info`.
#[must_use]
pub fn described(position: usize, name: &str, tags: &str, form: &str, value: &str) -> String {
    let mut letters = tags.chars();
    let mut letter = || letters.next().unwrap_or(' ');
    let origin = match letter() {
        'M' => "Metric",
        'S' => "Status",
        'K' => "Key",
        'C' => "Config",
        _ => "Product",
    };
    let nature = match letter() {
        'A' => "Age",
        'a' => "Avg",
        'C' => "Counter",
        'D' => "Duration",
        'G' => "Gauge",
        'L' => "Limit",
        'M' => "Max",
        'm' => "Min",
        'N' => "Name",
        'R' => "Rate",
        'T' => "Time",
        _ => "Output",
    };
    let scope = match letter() {
        'C' => "Cluster",
        'P' => "Process",
        'S' => "Service",
        _ => "System",
    };
    let value = if form == "str" { serde_json::Value::from(value).to_string() } else { value.to_owned() };
    format!(
        "\"field\":{{\"pos\":{position},\"name\":\"{name}\"}},\"processNum\":1,\"tags\":{{\"origin\":\"{origin}\",\"nature\":\"{nature}\",\"scope\":\"{scope}\"}},\"value\":{{\"type\":\"{form}\",\"value\":{value}}}"
    )
}
