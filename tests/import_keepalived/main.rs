//! What keepalived.conf's directives become, and how mistakes are told.

#![expect(clippy::unwrap_used, reason = "helpers of tests: they fail them")]

mod around;
#[path = "../import_support/mod.rs"]
mod import_support;
mod instance;
mod lenient;
mod scripts;
mod transport;

use import_support::{keepalived_text, model};
use vipgate::model::VirtualRouter;

const TRACKERS: &str = "vrrp_script web {\n script \"/bin/check 'a b' c\"\n interval 2.5\n weight -30\n rise 2\n fall 3\n\
    user nobody nogroup\n init_fail\n}\ntrack_file web {\n file /run/weight\n weight 2 reverse\n init_file 4\n}\n\
    vrrp_track_process sshd {\n process \"/usr/sbin/ss hd\" -D \"x y\"\n quorum 2\n quorum_max 9\n delay 0.5\n fork_delay 2\n}\n\
    vrrp_track_process plain {\n process sshd\n}\n";

fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {{\n  192.0.2.1/24\n }}\n{lines}\n}}\n"
    )
}

fn router(lines: &str) -> VirtualRouter {
    model(Some(&instance(lines)), None).routers.remove(0)
}

/// Findings about the lines from the seventh on, where `lines` stand.
fn findings(lines: &str) -> Vec<String> {
    keepalived_text(&instance(lines)).findings()
}

fn two(lines: &str) -> String {
    let instance = |name: &str, interface: &str| {
        format!("vrrp_instance {name} {{\n interface {interface}\n virtual_router_id 9\n version 3\n{lines}\n}}\n")
    };
    format!("{}{}", instance("A", "eth1"), instance("B", "eth2"))
}
