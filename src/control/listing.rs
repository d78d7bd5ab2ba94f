//! `vipgate sessions show` and `vipgate table show`: aligned columns for a terminal.

use super::operate::{SessionView, TableView};
use super::table::Table;
use crate::stats::human;

/// Open connections, the oldest last.
#[must_use]
pub fn sessions(sessions: &[SessionView]) -> String {
    if sessions.is_empty() {
        return "no connection is open\n".to_owned();
    }
    let columns = ["ID", "CLIENT", "SERVICE", "POOL", "SERVER", "PHASE", "AGE", "IDLE", "IN", "OUT"];
    let mut table = Table::new(&columns);
    let mut sessions: Vec<&SessionView> = sessions.iter().collect();
    sessions.sort_by(|one, other| one.age_seconds.total_cmp(&other.age_seconds));
    for session in sessions {
        table.row(vec![
            session.id.clone(),
            session.client.to_string(),
            session.service.clone(),
            session.pool.clone(),
            session.server.clone().unwrap_or_default(),
            session.phase.clone(),
            human::duration(session.age_seconds),
            human::duration(session.client_idle_seconds.min(session.server_idle_seconds)),
            human::bytes(session.bytes_in),
            human::bytes(session.bytes_out),
        ]);
    }
    table.text()
}

/// Stick tables with their entries.
#[must_use]
pub fn tables(tables: &[TableView]) -> String {
    if tables.is_empty() {
        return "no pool has a stick table\n".to_owned();
    }
    let mut out = String::new();
    for view in tables {
        out.push_str(&format!("{}: {} of {} entries\n", view.pool, view.entries.len(), view.size));
        let mut table = Table::new(&["CLIENT", "SERVER", "FLOWS", "EXPIRES IN"]);
        for entry in &view.entries {
            table.row(vec![
                entry.key.to_string(),
                entry.server.clone().unwrap_or_default(),
                entry.flows.to_string(),
                entry.expires_in_seconds.map_or_else(|| "-".to_owned(), human::duration),
            ]);
        }
        if !view.entries.is_empty() {
            out.push_str(&table.text());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::operate::TableEntryView;

    #[test]
    fn tables_show_who_belongs_where() {
        let entry = TableEntryView {
            key: "192.0.2.9".to_owned(),
            server: Some("s1".to_owned()),
            expires_in_seconds: Some(90.0),
            flows: 0,
        };
        let view = TableView {
            pool: "files".to_owned(),
            size: 1024,
            kind: "ip".to_owned(),
            life_seconds: Some(1800.0),
            entries: vec![entry],
        };
        let expected =
            "files: 1 of 1024 entries\nCLIENT     SERVER  FLOWS  EXPIRES IN\n192.0.2.9  s1      0      1 min 30 s\n";
        assert_eq!(tables(&[view]), expected);
        assert_eq!(tables(&[]), "no pool has a stick table\n");
        assert_eq!(sessions(&[]), "no connection is open\n");
    }
}
