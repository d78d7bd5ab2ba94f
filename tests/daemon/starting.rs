//! How a start is refused, and what the commands say that only read files.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::support::{
    BINARY, Daemon, Dir, echo_server, is_root, listening, own_ip, refusal, run_arguments, said, service, vipgate,
};

#[test]
fn without_a_configuration_it_says_so_and_exits_6() {
    let dir = Dir::new();
    for command in [["run", "--run-dir"].as_slice(), &["check"], &["import"]] {
        let mut arguments: Vec<&str> = command.to_vec();
        let path = dir.path().join("missing.toml");
        if command.len() > 1 {
            arguments.push(dir.path().to_str().unwrap());
        }
        arguments.extend(["--config", path.to_str().unwrap()]);
        let said = vipgate(&arguments);
        assert_eq!(said.code, Some(6), "{command:?}: {said:?}");
        assert!(said.err.contains("missing.toml"), "{said:?}");
    }
}

#[test]
fn an_empty_file_is_no_configuration() {
    for empty in ["", "\n\n", "# only a comment\n"] {
        let said = refusal(empty);
        assert_eq!(said.code, Some(6), "{said:?}");
        assert!(said.err.contains("vipgate.toml"), "{said:?}");
    }
}

#[test]
fn every_error_of_a_bad_file_is_printed_with_its_place() {
    let bad = "[[service]]\nname = \"web\"\nlistne = \"127.0.0.1:80\"\nservers = [\"127.0.0.1:99999\"]\n\
               [[virtual-router]]\nname = \"front\"\ninterface = \"lo\"\nvrid = 300\naddresses = [\"192.0.2.1/40\"]\n";
    let said = refusal(bad);
    assert_eq!(said.code, Some(2), "{said:?}");
    for place in ["vipgate.toml:3:1", "vipgate.toml:4:", "vipgate.toml:8:8", "vipgate.toml:9:"] {
        assert!(said.err.contains(place), "{place}: {}", said.err);
    }
    assert!(said.err.contains("listen"), "no suggestion: {}", said.err);
}

#[test]
fn what_is_no_text_or_no_file_is_refused_in_words() {
    let dir = Dir::new();
    let binary = dir.path().join("binary.toml");
    fs::write(&binary, [0xff, 0xfe, 0, 1, 2]).unwrap();
    for path in [binary.as_path(), dir.path(), Path::new("/dev/null")] {
        let said = vipgate(&["check", "--config", path.to_str().unwrap()]);
        assert!(matches!(said.code, Some(2 | 6)), "{said:?}");
        assert!(said.err.contains(path.to_str().unwrap()), "{said:?}");
    }
}

#[test]
fn clap_refuses_what_it_does_not_know() {
    for arguments in [["run", "--frobnicate"].as_slice(), &["chekc"], &[], &["status", "extra"]] {
        let said = vipgate(arguments);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("Usage"), "{said:?}");
    }
}

#[test]
fn a_port_in_use_names_the_process_that_has_it() {
    let other = TcpListener::bind((own_ip(), 0)).unwrap();
    let listen = other.local_addr().unwrap();
    let said = refusal(&service("web", listen, "127.0.0.1:9".parse().unwrap()));
    assert_eq!(said.code, Some(1), "{said:?}");
    let pid = format!("pid {}", std::process::id());
    assert!(said.err.contains(&pid) && said.err.contains(&listen.to_string()), "{}", said.err);
}

#[test]
fn a_run_directory_has_one_owner() {
    let (ip, server) = (own_ip(), echo_server());
    let first = Daemon::start(&service("web", (ip, 8000).into(), server));
    let other = first.dir.write("other.toml", &service("web", (ip, 8001).into(), server));
    let run_dir = first.dir.path().to_str().unwrap();
    let second = vipgate(&["run", "--config", other.to_str().unwrap(), "--run-dir", run_dir]);
    assert_eq!(second.code, Some(1), "{second:?}");
    let pid = format!("pid {}", first.pid());
    assert!(second.err.contains(&pid) && second.err.contains("--run-dir"), "{}", second.err);
    assert_eq!(first.vipgate(&["status"]).code, Some(0), "the first goes on");
}

#[test]
fn check_binds_nothing_and_runs_beside_the_daemon() {
    let listen = (own_ip(), 8000).into();
    let daemon = Daemon::start(&service("web", listen, echo_server()));
    let file = daemon.dir.path().join("vipgate.toml");
    let said = vipgate(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("valid: 0 virtual router(s), 1 service(s), 1 pool(s)"), "{said:?}");
}

#[test]
fn an_ordinary_user_may_check_and_is_told_what_run_needs() {
    if !is_root("an_ordinary_user_may_check_and_is_told_what_run_needs (it becomes that user)") {
        return;
    }
    let dir = Dir::new();
    let text = "[[virtual-router]]\nname = \"front\"\ninterface = \"lo\"\nvrid = 1\naddresses = [\"192.0.2.1/24\"]\n";
    dir.write("vipgate.toml", text);
    let binary = dir.path().join("vipgate");
    fs::copy(BINARY, &binary).unwrap();
    for (path, mode) in [(dir.path(), 0o777), (binary.as_path(), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let as_nobody = |program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
        command.arg(program);
        command
    };
    let file = dir.path().join("vipgate.toml");
    let check = said(as_nobody(&binary).args(["check", "--config"]).arg(&file));
    assert_eq!(check.code, Some(0), "{check:?}");
    let run = said(as_nobody(&binary).args(run_arguments(dir.path())));
    assert_eq!(run.code, Some(4), "{run:?}");
    assert!(run.err.contains("CAP_NET_RAW"), "{run:?}");
    let default = said(as_nobody(&binary).args(["run", "--config"]).arg(&file).args(["--run-dir", "/run/vg-denied"]));
    assert_eq!(default.code, Some(4), "{default:?}");
    assert!(default.err.contains("/run/vg-denied") && default.err.contains("--run-dir"), "{default:?}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let unreadable = said(as_nobody(&binary).args(["check", "--config"]).arg(&file));
    assert!(unreadable.code.is_some_and(|code| code != 0), "{unreadable:?}");
    assert!(unreadable.err.to_lowercase().contains("permission"), "{unreadable:?}");
}

#[test]
fn a_start_that_is_refused_leaves_no_listener() {
    let taken = TcpListener::bind((own_ip(), 0)).unwrap();
    let (free, server) = ((own_ip(), 8000).into(), "127.0.0.1:9".parse().unwrap());
    let config = [service("free", free, server), service("taken", taken.local_addr().unwrap(), server)].concat();
    let dir = Dir::new();
    dir.write("vipgate.toml", &config);
    assert_eq!(said(Command::new(BINARY).args(run_arguments(dir.path()))).code, Some(1));
    assert!(listening(free).is_empty());
    assert!(!dir.path().join("control.sock").exists(), "the control socket is left");
}

/// The five systems' own files: what `import` prints is accepted, and says the same when it is imported again.
#[test]
fn what_import_prints_check_accepts() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/systems");
    let dir = Dir::new();
    for (keepalived, haproxy) in [
        (Some("shares-keepalived.conf"), Some("shares-haproxy.cfg")),
        (None, Some("hsts-haproxy.cfg")),
        (Some("ovd-keepalived.conf"), None),
        (Some("ccc-keepalived-backup.conf"), Some("ccc-haproxy.cfg")),
        (Some("udmg-keepalived-a.conf"), None),
    ] {
        let mut files = Vec::new();
        for (option, name) in [("--keepalived", keepalived), ("--haproxy", haproxy)] {
            if let Some(name) = name {
                files.extend([option.to_owned(), fixtures.join(name).to_str().unwrap().to_owned()]);
            }
        }
        let run = |command: &str, files: &[String]| said(Command::new(BINARY).arg(command).args(files));
        let direct = run("check", &files);
        assert_eq!(direct.code, Some(0), "{direct:?}");
        let printed = run("import", &files);
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let toml = dir.write("imported.toml", &printed.out);
        let native = ["--config".to_owned(), toml.to_str().unwrap().to_owned()];
        let checked = run("check", &native);
        assert_eq!(checked.code, Some(0), "{checked:?}\n{}", printed.out);
        let counts = |text: &str| text.rsplit_once(", ").unwrap().0.to_owned();
        assert_eq!(counts(&checked.out), counts(&direct.out));
        assert_eq!(run("import", &native).out, printed.out, "the model is not the same");
    }
}
