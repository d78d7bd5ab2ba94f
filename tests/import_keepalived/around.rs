//! What instances follow, the groups they are in, and who is told.

use std::time::Duration;

use vipgate::model::{ArgumentsMatch, Track, Tracked, Watched};

use crate::import_support::{World, keepalived_in, keepalived_text, model};
use crate::{TRACKERS, instance, two};

fn tracker(name: &str, weight: i16, reverse: bool) -> Track {
    Track { what: Tracked::Tracker(name.into()), weight, reverse }
}

fn interface(name: &str, weight: i16, reverse: bool) -> Track {
    Track { what: Tracked::Interface(name.parse().unwrap()), weight, reverse }
}

#[test]
fn trackers_and_who_follows_them() {
    let text = instance(
        " track_interface {\n eth1\n eth2 weight 20 reverse\n eth0\n }\n track_script {\n web\n }\n\
         track_file {\n web weight 1 noreverse\n }\n track_process {\n sshd weight 5\n plain\n }",
    );
    let config = model(Some(&format!("{text}{TRACKERS}")), None);
    assert_eq!(
        config.routers[0].track,
        [
            interface("eth1", 0, false),
            interface("eth2", 20, true),
            tracker("web", -30, false),
            tracker("web-file", 1, false),
            tracker("sshd", 5, false),
            // keepalived 2.2.7 was seen to make it a fault, whatever its manual says of a default of 1.
            tracker("plain", 0, false),
        ]
    );
    let Watched::Script(script) = &config.trackers[0].watched else { panic!("{:?}", config.trackers[0]) };
    assert_eq!((script.interval, script.command.timeout), (Duration::from_millis(2500), Duration::from_millis(2500)));
    assert_eq!(script.command.arguments, ["a b", "c"]);
    assert_eq!(
        script.command.user.as_ref().map(|user| (user.name.as_str(), user.group.as_deref())),
        Some(("nobody", Some("nogroup")))
    );
    assert!(script.starts_down);
    assert_eq!((config.trackers[0].rise, config.trackers[0].fall), (2, 3));
    let Watched::File(file) = &config.trackers[1].watched else { panic!("{:?}", config.trackers[1]) };
    assert_eq!((file.path.to_str(), file.initial), (Some("/run/weight"), 4));
    let Watched::Process(process) = &config.trackers[2].watched else { panic!("{:?}", config.trackers[2]) };
    assert_eq!(
        (process.command.as_str(), process.arguments.as_slice()),
        ("/usr/sbin/ss hd", &["-D".to_owned(), "x y".into()][..])
    );
    assert_eq!((process.arguments_match, process.whole_command), (ArgumentsMatch::Exact, true));
    assert_eq!((process.at_least, process.at_most), (2, Some(9)));
    assert_eq!(
        (config.trackers[2].up_delay, config.trackers[2].down_delay),
        (Duration::from_secs(2), Duration::from_millis(500))
    );
    let Watched::Process(plain) = &config.trackers[3].watched else { panic!("{:?}", config.trackers[3]) };
    assert_eq!((plain.arguments_match, plain.whole_command), (ArgumentsMatch::Any, false));
    assert!(!config.global.script_security, "keepalived is careful when it is told to be");
}

#[test]
fn what_is_followed_but_not_defined_is_left_out() {
    let text = instance(" track_script {\n nowhere\n chk weight 300\n chk zork\n }")
        + "vrrp_script chk {\n script /bin/x one\n}\nvrrp_script chk {\n script /bin/y\n}\nvrrp_script none {\n}\n";
    let imported = keepalived_text(&text);
    assert_eq!(
        imported.findings(),
        [
            "warning 8: there is no script called `nowhere`: ignored, as in keepalived",
            "warning 9: `300` is not a weight from -253 to 253: ignored",
            "warning 10: `zork` was expected to be `weight`: ignored",
            "warning 14: only the first word is run, as in keepalived: put command and arguments in quotes",
            "warning 16: there are two called `chk`: the first is used",
            "warning 19: `none` has nothing to watch: ignored, as in keepalived",
        ]
    );
}

#[test]
fn sync_groups() {
    let members = two(" track_script {\n web\n }\n track_interface {\n eth5 weight 5\n }");
    let group = |lines: &str| {
        format!("vrrp_sync_group G {{\n group {{\n A\n B\n NOBODY\n }}\n{lines}\n}}\n{members}{TRACKERS}")
    };
    let lines = " track_script {\n web weight 7\n }\n track_interface {\n eth7\n }\n notify_fault \"/bin/f x\"\n notify /bin/any nobody";
    let text = group(lines);
    let imported = keepalived_text(&text).without_errors();
    let told = imported.warnings();
    assert!(
        told.contains(&"warning 5: there is no instance called `NOBODY`: ignored, as in keepalived".to_owned()),
        "{told:?}"
    );
    let left_out = told.iter().filter(|told| told.contains("a script with a weight does not count")).count();
    assert_eq!(left_out, 2, "{told:?}");
    let config = model(Some(&text), None);
    let group_of = &config.groups[0];
    assert_eq!((group_of.name.as_str(), group_of.routers.as_slice()), ("G", &["A".to_owned(), "B".into()][..]));
    assert_eq!(group_of.track, [tracker("web", 7, false), interface("eth7", 0, false)]);
    assert!(!group_of.member_weights);
    assert_eq!(group_of.notify.fault.as_ref().map(|fault| fault.arguments.clone()), Some(vec!["x".into()]));
    assert_eq!(
        group_of.notify.any.as_ref().and_then(|any| any.user.clone()).map(|user| user.name),
        Some("nobody".into())
    );
    // Seen there: interfaces become a fault, scripts are left out.
    assert_eq!(config.routers[0].track, [interface("eth5", 0, false)]);
    for word in ["sync_group_tracking_weight", "global_tracking"] {
        let config = model(Some(&group(word)), None);
        assert!(config.groups[0].member_weights);
        assert_eq!(config.routers[0].track, [tracker("web", -30, false), interface("eth5", 5, false)]);
    }
    let empty = keepalived_text("vrrp_sync_group G {\n group {\n }\n}\n").without_errors();
    assert_eq!((empty.raw.groups.len(), empty.warnings().len()), (0, 1));
}

#[test]
fn notifications_and_their_users() {
    let text = format!(
        "global_defs {{\n script_user daemon\n enable_script_security\n notify_fifo /run/a\n notify_fifo_script \"/bin/r -v\" nobody\n\
         vrrp_notify_fifo /run/b\n}}\n{}",
        instance(
            " notify_master \"/bin/up 'a b'\" nobody nogroup\n notify_backup /bin/down\n notify_stop /bin/stop\n notify_fault /bin/fault\n\
             notify /bin/any\n notify_master_rx_lower_pri /bin/low"
        )
    );
    let config = model(Some(&text), None);
    let notify = &config.routers[0].notify;
    let master = notify.master.as_ref().unwrap();
    assert_eq!(master.arguments, ["a b"]);
    assert_eq!(master.user.as_ref().and_then(|user| user.group.as_deref()), Some("nogroup"));
    let names = [&notify.backup, &notify.stop, &notify.fault, &notify.any, &notify.lower_priority];
    let names = names.map(|command| command.as_ref().unwrap());
    assert!(names.iter().all(|command| command.user.as_ref().is_some_and(|user| user.name == "daemon")));
    assert_eq!(
        names.map(|command| command.program.to_str().unwrap()),
        ["/bin/down", "/bin/stop", "/bin/fault", "/bin/any", "/bin/low"]
    );
    assert!(config.global.script_security);
    let fifos = &config.notify.fifos;
    assert_eq!(fifos.iter().map(|fifo| fifo.path.to_str().unwrap()).collect::<Vec<_>>(), ["/run/a", "/run/b"]);
    assert_eq!(fifos[0].reader.as_ref().unwrap().arguments, ["-v"]);
    assert!(fifos[1].reader.is_none());
    let lone = keepalived_text("global_defs {\n notify_fifo_script /bin/x\n}\n").without_errors();
    assert_eq!(lone.warnings(), ["warning 2: a script for a FIFO that is not named: ignored"]);
    // Scripts run as this user where there is one, as there.
    let world = World::default().user("keepalived_script");
    let usual = keepalived_in(&world, &instance(" notify /bin/any")).raw.scripts.unwrap();
    assert_eq!(usual.user.unwrap().value.name, "keepalived_script");
    assert!(keepalived_in(&world, &instance("")).raw.scripts.is_none(), "nothing is run");
}

#[test]
fn mail_goes_out_for_whom_it_was_asked() {
    let mail = |global: &str, lines: &str| {
        let text = format!(
            "global_defs {{\n notification_email {{\n a@b\n c@d\n }}\n smtp_server mail.example 587\n{global}\n}}\n"
        );
        let config = model(Some(&(text + &instance(lines))), None);
        let mail = config.notify.mail.clone().unwrap();
        (config.routers[0].notify.mail, mail)
    };
    let (router, quiet) = mail("", "");
    assert_eq!((quiet.server.as_str(), quiet.port, quiet.to.len()), ("mail.example", 587, 2));
    assert_eq!(quiet.from, "keepalived@gate-a.example.org");
    assert!(!router && !quiet.routers && !quiet.servers && quiet.faults);
    let (router, loud) = mail(" smtp_alert on\n no_email_faults\n smtp_connect_timeout 5", "");
    assert!(router && loud.servers && !loud.faults);
    assert_eq!(loud.timeout, Duration::from_secs(5));
    let (router, mixed) = mail(" smtp_alert on\n smtp_alert_checker off", " smtp_alert off");
    assert!(!router && !mixed.servers && !mixed.routers);
    assert!(mail("", " smtp_alert").0);
    let none = keepalived_text("global_defs {\n smtp_server 127.0.0.1\n}\n").without_errors();
    assert_eq!(none.warnings(), ["warning 2: no mail is sent without both `smtp_server` and `notification_email`"]);
}
