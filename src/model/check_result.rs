//! How a health check ended, in HAProxy's terms.

/// How a health check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckResult {
    /// The connection was established, and nothing more was wanted.
    L4Ok,
    /// Nobody answered in time.
    L4Timeout,
    /// The connection was refused, or the server could not be reached.
    L4Connection,
    /// TLS was established, and nothing more was wanted.
    L6Ok,
    /// The TLS handshake did not end in time.
    L6Timeout,
    /// The TLS handshake failed.
    L6Response,
    /// The answer was as expected.
    L7Ok,
    /// It was, and it asks for no new clients.
    L7OkConditionally,
    /// There was no answer in time.
    L7Timeout,
    /// The answer was not understood, or not as expected.
    L7Response,
    /// The answer was understood and says that something is wrong.
    L7Status,
    /// The command ended with status 0.
    ProcessOk,
    /// The command ended with another status, or could not be run.
    ProcessError,
    /// The command did not end in time.
    ProcessTimeout,
    /// The connection broke in the middle.
    SocketError,
    /// Connections of clients failed in a row.
    Observed,
    /// This node could not try: no descriptor, port or memory left. Not the server's fault.
    Starved,
}

impl CheckResult {
    /// Every result.
    pub const ALL: [Self; 17] = [
        Self::L4Ok,
        Self::L4Timeout,
        Self::L4Connection,
        Self::L6Ok,
        Self::L6Timeout,
        Self::L6Response,
        Self::L7Ok,
        Self::L7OkConditionally,
        Self::L7Timeout,
        Self::L7Response,
        Self::L7Status,
        Self::ProcessOk,
        Self::ProcessError,
        Self::ProcessTimeout,
        Self::SocketError,
        Self::Observed,
        Self::Starved,
    ];

    /// HAProxy's code for it, as in the column `check_status`. `STARVED` is our own.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::L4Ok => "L4OK",
            Self::L4Timeout => "L4TOUT",
            Self::L4Connection => "L4CON",
            Self::L6Ok => "L6OK",
            Self::L6Timeout => "L6TOUT",
            Self::L6Response => "L6RSP",
            Self::L7Ok => "L7OK",
            Self::L7OkConditionally => "L7OKC",
            Self::L7Timeout => "L7TOUT",
            Self::L7Response => "L7RSP",
            Self::L7Status => "L7STS",
            Self::ProcessOk => "PROCOK",
            Self::ProcessError => "PROCERR",
            Self::ProcessTimeout => "PROCTOUT",
            Self::SocketError => "SOCKERR",
            Self::Observed => "HANA",
            Self::Starved => "STARVED",
        }
    }

    /// HAProxy's number for it, as in `show servers state`. `Starved` is a check that did not end yet.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Starved => 1,
            Self::Observed => 4,
            Self::SocketError => 5,
            Self::L4Ok => 6,
            Self::L4Timeout => 7,
            Self::L4Connection => 8,
            Self::L6Ok => 9,
            Self::L6Timeout => 10,
            Self::L6Response => 11,
            Self::L7Timeout => 12,
            Self::L7Response => 13,
            Self::L7Ok => 15,
            Self::L7OkConditionally => 16,
            Self::L7Status => 17,
            Self::ProcessError => 18,
            Self::ProcessTimeout => 19,
            Self::ProcessOk => 20,
        }
    }

    /// The result of HAProxy's number.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.number() == number)
    }

    /// HAProxy's words for it, as in its log lines and its statistics.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::L4Ok => "Layer4 check passed",
            Self::L4Timeout => "Layer4 timeout",
            Self::L4Connection => "Layer4 connection problem",
            Self::L6Ok => "Layer6 check passed",
            Self::L6Timeout => "Layer6 timeout",
            Self::L6Response => "Layer6 invalid response",
            Self::L7Ok => "Layer7 check passed",
            Self::L7OkConditionally => "Layer7 check conditionally passed",
            Self::L7Timeout => "Layer7 timeout",
            Self::L7Response => "Layer7 invalid response",
            Self::L7Status => "Layer7 wrong status",
            Self::ProcessOk => "External check passed",
            Self::ProcessError => "External check error",
            Self::ProcessTimeout => "External check timeout",
            Self::SocketError | Self::Observed => "Health analyze",
            Self::Starved => "Socket error",
        }
    }

    /// Whether the server passed.
    #[must_use]
    pub fn passed(self) -> bool {
        match self {
            Self::L4Ok | Self::L6Ok | Self::L7Ok | Self::L7OkConditionally | Self::ProcessOk => true,
            Self::L4Timeout
            | Self::L4Connection
            | Self::L6Timeout
            | Self::L6Response
            | Self::L7Timeout
            | Self::L7Response
            | Self::L7Status
            | Self::ProcessError
            | Self::ProcessTimeout
            | Self::SocketError
            | Self::Observed
            | Self::Starved => false,
        }
    }

    /// Whether it failed because time was up.
    #[must_use]
    pub fn timed_out(self) -> bool {
        matches!(self, Self::L4Timeout | Self::L6Timeout | Self::L7Timeout | Self::ProcessTimeout)
    }

    /// Whether a code belongs to it, as in the column `check_code`: those of layer 7 and of commands.
    #[must_use]
    pub fn has_code(self) -> bool {
        matches!(
            self,
            Self::L7Ok
                | Self::L7OkConditionally
                | Self::L7Status
                | Self::ProcessOk
                | Self::ProcessError
                | Self::ProcessTimeout
        )
    }

    /// The result with this code, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.code() == code)
    }
}
