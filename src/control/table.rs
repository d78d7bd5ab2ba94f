//! `vipgate status`: a snapshot as plain text for a terminal, the verdict first.

use crate::stats::human;
use crate::stats::{PoolSnapshot, RouterSnapshot, ServerSnapshot, ServiceSnapshot, Snapshot, Verdict};

/// The exit code of `vipgate status`, for monitoring: 0 well, 1 degraded, 2 down.
#[must_use]
pub fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Ok => 0,
        Verdict::Degraded => 1,
        Verdict::Down => 2,
    }
}

/// The whole state; lines are as long as their contents.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut out = head(snapshot);
    if !snapshot.routers.is_empty() {
        let mut table =
            Table::new(&["ROUTER", "ROLE", "SINCE", "PRIORITY", "READY", "MASTER SEEN", "ADDRESSES", "REASON"]);
        for router in &snapshot.routers {
            table.row(router_row(router));
        }
        table.write(&mut out);
    }
    if !snapshot.services.is_empty() {
        let mut table = Table::new(&["SERVICE", "STATE", "LISTENS ON", "POOL", "OPEN", "TOTAL", "IN", "OUT"]);
        for service in &snapshot.services {
            table.row(service_row(service));
        }
        table.write(&mut out);
    }
    if !snapshot.pools.is_empty() {
        let columns = ["POOL", "SERVER", "ADDRESS", "HEALTH", "SINCE", "OPEN", "TOTAL", "IN", "OUT", "LAST CHECK"];
        let mut table = Table::new(&columns);
        for pool in &snapshot.pools {
            for server in &pool.servers {
                table.row(server_row(pool, server));
            }
        }
        table.write(&mut out);
    }
    out.push('\n');
    out.push_str(&foot(snapshot));
    out
}

fn head(snapshot: &Snapshot) -> String {
    let name = snapshot.node.as_deref().unwrap_or("vipgate");
    let version = snapshot.version.as_ref().map_or(String::new(), |version| format!("vipgate {version}, "));
    let up = human::duration(snapshot.uptime_seconds);
    let verdict = snapshot.verdict.label().to_uppercase();
    let mut out = format!("{name}: {verdict} ({version}up {up}, pid {})\n", snapshot.process.pid);
    for cause in &snapshot.causes {
        out.push_str(&format!("  {}\n", line(cause)));
    }
    for warning in &snapshot.warnings {
        out.push_str(&format!("  warning: {}\n", line(warning)));
    }
    out
}

fn router_row(router: &RouterSnapshot) -> Vec<String> {
    let seen = match (&router.master, router.heard_seconds) {
        (Some(master), Some(heard)) => {
            format!("{} priority {}, {} ago", master.address, master.priority, human::duration(heard))
        }
        (Some(master), None) => format!("{} priority {}", master.address, master.priority),
        (None, _) => "none".to_owned(),
    };
    vec![
        router.name.clone(),
        router.role.label().to_owned(),
        since(router.since_seconds),
        router.priority.to_string(),
        if router.ready { "yes" } else { "no" }.to_owned(),
        seen,
        router.addresses.join(" "),
        router.reason.clone(),
    ]
}

fn service_row(service: &ServiceSnapshot) -> Vec<String> {
    vec![
        service.name.clone(),
        if service.ready { "ready" } else { "no server" }.to_owned(),
        service.listen.join(" "),
        service.pool.clone(),
        service.open.to_string(),
        service.accepted.to_string(),
        human::bytes(service.bytes_in),
        human::bytes(service.bytes_out),
    ]
}

fn server_row(pool: &PoolSnapshot, server: &ServerSnapshot) -> Vec<String> {
    let backup = if server.backup { " (backup)" } else { "" };
    vec![
        pool.name.clone(),
        format!("{}{backup}", server.name),
        server.address.clone(),
        server.health.label().to_owned(),
        since(server.since_seconds),
        server.open.to_string(),
        server.chosen.to_string(),
        human::bytes(server.bytes_in),
        human::bytes(server.bytes_out),
        server.reason.clone(),
    ]
}

fn foot(snapshot: &Snapshot) -> String {
    let process = &snapshot.process;
    let mut parts = vec![
        format!("{} memory", human::bytes(process.resident_bytes)),
        format!("{} of {} descriptors", process.open_descriptors, process.descriptor_limit),
        format!("{} workers", process.workers),
    ];
    if process.log_lines_lost > 0 {
        parts.push(format!("{} log lines lost", process.log_lines_lost));
    }
    format!("{}\n", parts.join(", "))
}

fn since(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), human::duration)
}

/// A reason is one line here, and cannot move the cursor.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Columns as wide as their widest cell, two spaces apart.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(|column| (*column).to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { line(cell) }).collect());
    }

    fn write(&self, out: &mut String) {
        out.push('\n');
        out.push_str(&self.text());
    }

    /// A line a row.
    pub(super) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut text = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                text.push_str(&format!("{cell:<width$}  "));
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
        out
    }
}
