//! What is left when every process of a node is killed at once: silence for its addresses (the fence), and a peer that
//! knows (the session). Has its own `main`: it starts itself again as the processes that are killed.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test with a main of its own: it reads the clock, waits, prints figures, and fails by panicking"
)]

mod fence;
mod peer;

use std::io::{Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

use netns_tests::harness::{self, Test};

const ON_LOOPBACK: &[Test] = &[
    ("death_is_noticed_at_once", peer::death_is_noticed_at_once),
    ("death_is_noticed_on_a_busy_machine", peer::death_is_noticed_on_a_busy_machine),
    ("orderly_end_is_no_death", peer::orderly_end_is_no_death),
    ("who_refuses_from_the_beginning_is_not_dead", peer::who_refuses_from_the_beginning_is_not_dead),
    ("what_becomes_of_a_session_tells_death_from_less", peer::what_becomes_of_a_session_tells_death_from_less),
    ("strangers_are_bounded", peer::strangers_are_bounded),
];

const IN_NAMESPACES: &[Test] = &[
    ("killed_node_is_silent_for_its_addresses", fence::killed_node_is_silent_for_its_addresses),
    ("adverts_from_a_silent_address_leave", fence::adverts_from_a_silent_address_leave),
    ("what_is_released_is_not_fenced", fence::what_is_released_is_not_fenced),
    ("other_users_of_nftables_do_no_harm", fence::other_users_of_nftables_do_no_harm),
    ("a_fence_that_was_taken_down_is_put_up_again", fence::a_fence_that_was_taken_down_is_put_up_again),
    ("marks_of_the_user_are_kept", fence::marks_of_the_user_are_kept),
    ("many_addresses_are_quick", fence::many_addresses_are_quick),
    ("two_fences_do_not_meet", fence::two_fences_do_not_meet),
    ("nodes_of_a_segment_notice_each_others_death", peer::nodes_of_a_segment_notice_each_others_death),
    ("only_neighbours_and_named_peers_have_sessions", peer::only_neighbours_and_named_peers_have_sessions),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("be-peer") => peer::be(&arguments[1..]),
        Some("hold-fence") => fence::hold(&arguments[1..]),
        _ => harness::run("death", &arguments, ON_LOOPBACK, IN_NAMESPACES),
    }
}

/// This executable again, as something that is killed; gone with the value at the latest.
pub(crate) struct Victim(Child);

impl Victim {
    /// Starts it and waits until it has said that it is ready.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts itself");
        let mut ready = [0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).expect("it says that it is ready");
        Self(child)
    }

    /// Gives it a line, and waits until it has done what it says.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").expect("it listens");
        let mut done = [0; 1];
        self.0.stdout.as_mut().unwrap().read_exact(&mut done).expect("it says that it is done");
    }

    /// SIGKILL; returns at once.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A child, as a script that runs, which is still there for a while when we are killed.
pub(crate) fn outlive() {
    let mut child = Command::new("sleep");
    let mut child = child.arg("3").stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("sleep");
    thread::spawn(move || child.wait());
}

/// Says that what was asked is done.
pub(crate) fn done() {
    print!("!");
    std::io::stdout().flush().expect("stdout");
}
