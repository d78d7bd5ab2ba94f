//! Scripts that cannot be run here are left out, as in keepalived: one that always failed would be a fault.

use vipgate::config::import::keepalived::{self, Options};
use vipgate::config::source::Sources;
use vipgate::model::Watched;

use crate::import_support::{World, keepalived_in, model};
use crate::instance;

const SECURE: &str = "global_defs {\n enable_script_security\n}\n";

fn script(lines: &str) -> String {
    format!("vrrp_script s {{\n{lines}\n}}\n{}", instance(" track_script {\n s\n }"))
}

#[test]
fn what_cannot_be_run_is_not_followed() {
    let world = World::default().without("/no/such").without("nosuch");
    for (lines, told) in [
        (
            " script \"/no/such x\"",
            "warning 2: `/no/such` is no program that can be run here: ignored, as in keepalived",
        ),
        (
            " script /bin/true\n user nosuch",
            "warning 3: `nosuch` is not on this machine: what would run so is ignored, as in keepalived",
        ),
        (
            " script /bin/true\n user root nosuch",
            "warning 3: `root:nosuch` is not on this machine: what would run so is ignored, as in keepalived",
        ),
        (" script \"\"", "warning 2: a command begins with a program: the script is ignored"),
        (" weight 2", "warning 1: `s` has nothing to watch: ignored, as in keepalived"),
    ] {
        let imported = keepalived_in(&world, &script(lines)).without_errors();
        assert_eq!(imported.warnings().first().map(String::as_str), Some(told), "{lines}");
        assert!(imported.warnings().iter().any(|told| told.contains("there is no script called `s`")), "{lines}");
        assert!(imported.raw.trackers.is_empty() && imported.raw.routers[0].track.is_empty(), "{lines}");
    }
    let notify = instance(" notify_master /no/such\n notify_backup /bin/true nosuch\n notify_fault /bin/true");
    let notify = keepalived_in(&world, &notify).without_errors().raw.routers[0].notify.clone().unwrap();
    assert!(notify.master.is_none() && notify.backup.is_none() && notify.fault.is_some());
}

#[test]
fn programs_without_a_path_are_looked_for() {
    let world = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .fold(World::default(), |world, directory| world.without(&format!("{directory}/nosuch")));
    assert!(keepalived_in(&world, &script(" script nosuch")).raw.trackers.is_empty());
    assert_eq!(keepalived_in(&world, &script(" script killall")).clean().raw.trackers.len(), 1);
}

#[test]
fn nothing_runs_as_root_where_it_must_not() {
    let text = format!("{SECURE}{}", script(" script /bin/true"));
    let unowned = keepalived_in(&World::default(), &text).without_errors();
    assert_eq!(unowned.warnings()[0], "warning 5: there is no user to run this script as: ignored, as in keepalived");
    assert!(unowned.raw.trackers.is_empty());
    assert!(unowned.diagnostics[0].help.as_ref().unwrap().contains("script_user"));
    let owned = keepalived_in(&World::default().user("keepalived_script"), &text).clean();
    assert_eq!(owned.raw.scripts.unwrap().user.unwrap().value.name, "keepalived_script");
    let named = text.replace("enable", "script_user daemon\n enable");
    assert_eq!(keepalived_in(&World::default(), &named).clean().raw.trackers.len(), 1);
    // One that is not there is nobody, with or without `enable_script_security`.
    for text in [named.clone(), named.replace("enable_script_security", "")] {
        assert!(keepalived_in(&World::default().without("daemon"), &text).without_errors().raw.trackers.is_empty());
    }
    // A user of its own is enough, and without the switch it is root, as there.
    let own = format!("{SECURE}{}", script(" script /bin/true\n user daemon"));
    assert_eq!(keepalived_in(&World::default(), &own).clean().raw.trackers.len(), 1);
    assert_eq!(keepalived_in(&World::default(), &script(" script /bin/true")).clean().raw.trackers.len(), 1);
}

#[test]
fn a_file_for_another_machine_keeps_its_scripts() {
    let world = World::default().without("/no/such").without("nosuch");
    let text = format!("{SECURE}{}", script(" script /no/such\n user nosuch"));
    let mut sources = Sources::new();
    let id = sources.add("/etc/keepalived/keepalived.conf", text);
    let options = Options { elsewhere: true, ..Options::default() };
    let (raw, diagnostics) = keepalived::import(&mut sources, id, &options, &world);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert_eq!(raw.trackers[0].user.as_ref().unwrap().value.name, "nosuch");
    assert_eq!(raw.scripts.unwrap().user.unwrap().value.name, "keepalived_script", "never root by mistake");
}

#[test]
fn redirections_are_the_shell_s() {
    let config = model(Some(&script(" script \"</dev/tcp/127.0.0.1/80\"")), None);
    let Watched::Script(script) = &config.trackers[0].watched else { panic!("{:?}", config.trackers[0]) };
    assert_eq!(script.command.program.to_str(), Some("/bin/sh"));
    assert_eq!(script.command.arguments, ["-c", "</dev/tcp/127.0.0.1/80"]);
}
