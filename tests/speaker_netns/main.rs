//! The speaker and its guardian against the kernel, each test in fresh network namespaces. Has its own `main`: it starts
//! itself again as a daemon that is to be killed, and as that daemon's guardian.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test with a main of its own: it reads the clock, waits, prints figures, and fails by panicking"
)]

mod addresses;
mod changes;
mod daemon;
mod healing;
mod junk;
mod pair;
mod routing;
mod support;
mod vmac;

use std::os::fd::AsFd;
use std::process::ExitCode;

use netns_tests::harness::{self, Test};
use vipgate::guardian;

const TESTS: &[Test] = &[
    ("address_is_set_as_configured", addresses::address_is_set_as_configured),
    ("pair_has_one_master_and_hands_over", pair::pair_has_one_master_and_hands_over),
    ("pair_over_ipv6", pair::pair_over_ipv6),
    (
        "master_heard_on_a_further_path_only_is_followed_there",
        pair::master_heard_on_a_further_path_only_is_followed_there,
    ),
    ("address_removed_by_hand_is_back_at_once", addresses::address_removed_by_hand_is_back_at_once),
    (
        "master_whose_address_is_taken_again_and_again_yields",
        healing::master_whose_address_is_taken_again_and_again_yields,
    ),
    ("announcement_by_a_rival_is_answered", healing::announcement_by_a_rival_is_answered),
    ("gateway_learns_where_the_address_is", healing::gateway_learns_where_the_address_is),
    ("addresses_wait_for_what_must_be_done_before", healing::addresses_wait_for_what_must_be_done_before),
    ("addresses_of_an_earlier_life_are_removed", addresses::addresses_of_an_earlier_life_are_removed),
    ("reload_touches_only_the_difference", changes::reload_touches_only_the_difference),
    ("the_first_router_wakes_what_slept", changes::the_first_router_wakes_what_slept),
    ("interface_that_comes_later_is_waited_for", changes::interface_that_comes_later_is_waited_for),
    ("lost_link_yields_at_once", changes::lost_link_yields_at_once),
    ("eighty_addresses_are_quick", addresses::eighty_addresses_are_quick),
    ("junk_changes_nothing_but_a_counter", junk::junk_changes_nothing_but_a_counter),
    ("guardian_undoes_what_a_killed_daemon_left", daemon::guardian_undoes_what_a_killed_daemon_left),
    ("guardian_undoes_routes_rules_and_vmac", daemon::guardian_undoes_routes_rules_and_vmac),
    ("all_of_us_killed_at_once_are_silent", daemon::all_of_us_killed_at_once_are_silent),
    ("routes_and_rules_come_and_go_with_the_master", routing::routes_and_rules_come_and_go_with_the_master),
    ("static_routes_live_as_long_as_the_process", routing::static_routes_live_as_long_as_the_process),
    ("routing_of_an_earlier_life_is_removed", routing::routing_of_an_earlier_life_is_removed),
    ("pair_with_vmac_hands_over", vmac::pair_with_vmac_hands_over),
    ("vmac_follows_its_base", vmac::vmac_follows_its_base),
    ("vmac_goes_with_its_router", vmac::vmac_goes_with_its_router),
    (
        "takeovers_beside_keepalived_with_vmac_keep_the_clients_neighbour",
        vmac::takeovers_beside_keepalived_with_vmac_keep_the_clients_neighbour,
    ),
    ("other_speakers_are_named", daemon::other_speakers_are_named),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let first = arguments.first().map(String::as_str).unwrap_or_default();
    if first == guardian::ARGUMENT && arguments.len() == 1 {
        let input = std::io::stdin().as_fd().try_clone_to_owned().expect("standard input");
        return guardian::run(input).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    if let Some(kind) = daemon::Kind::named(first) {
        return daemon::daemon(kind);
    }
    if std::env::var_os("SPEAKER_LOG").is_some() {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    }
    harness::run("speaker_netns", &arguments, &[], TESTS)
}
