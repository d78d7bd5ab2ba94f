//! HAProxy's lines about servers, which its users' tools read.

/// Whom a line is about, and how the pool is after it.
#[derive(Debug, Clone, Copy)]
pub struct ServerLine<'a> {
    /// The pool.
    pub pool: &'a str,
    /// The server's name there.
    pub server: &'a str,
    /// It is a backup.
    pub backup: bool,
    /// Usable servers of the pool, as (active, backup).
    pub usable: (usize, usize),
    /// Connections that the server has.
    pub sessions: u64,
}

/// A line, and how much it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// For who looks for it.
    Info(String),
    /// Less serves than before.
    Warning(String),
    /// Nobody serves.
    Error(String),
}

impl Line {
    /// Writes it to the log.
    pub fn log(&self) {
        match self {
            Self::Info(text) => tracing::info!("{text}"),
            Self::Warning(text) => tracing::warn!("{text}"),
            Self::Error(text) => tracing::error!("{text}"),
        }
    }
}

impl ServerLine<'_> {
    /// `Server b/s1 is UP/READY (leaving forced maintenance).`
    #[must_use]
    pub fn plain(&self, what: &str) -> Line {
        Line::Info(format!("{}.", self.begin(what)))
    }

    /// `Server b/s1 is UP. 1 active and 1 backup servers online. 0 sessions requeued, 0 total in queue.`
    #[must_use]
    pub fn online(&self, what: &str) -> Line {
        Line::Info(format!("{} 0 sessions requeued, 0 total in queue.", self.counted(what, "online")))
    }

    /// `Server b/s1 enters drain state. 0 active and 1 backup servers left. Running on backup. 3 sessions active, ..`
    #[must_use]
    pub fn left(&self, what: &str) -> Line {
        Line::Info(self.remaining(what))
    }

    /// `Server b/s1 is DOWN. ..`, and a line more where it was the last.
    #[must_use]
    pub fn down(&self, what: &str) -> Vec<Line> {
        let nobody = || Line::Error(format!("backend {} has no server available!", self.pool));
        let last = (self.usable == (0, 0)).then(nobody);
        [Line::Warning(self.remaining(what))].into_iter().chain(last).collect()
    }

    fn remaining(&self, what: &str) -> String {
        let sessions = self.sessions;
        format!("{} {sessions} sessions active, 0 requeued, 0 remaining in queue.", self.counted(what, "left"))
    }

    fn begin(&self, what: &str) -> String {
        format!("{} {}/{} {what}", if self.backup { "Backup Server" } else { "Server" }, self.pool, self.server)
    }

    fn counted(&self, what: &str, left: &str) -> String {
        let (active, backup) = self.usable;
        let on_backup = if active == 0 && backup > 0 { " Running on backup." } else { "" };
        format!("{}. {active} active and {backup} backup servers {left}.{on_backup}", self.begin(what))
    }
}
