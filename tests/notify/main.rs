//! Notifications against real pipes, real processes and a mail server that speaks its protocol.

mod fifos;
mod mails;
mod scripts;
mod sink;
mod support;
