//! What a router follows lowers its priority and moves the address, and back.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netns_tests::node::Node;
use netns_tests::process::Process;
use netns_tests::report::{Table, ms};
use netns_tests::wait::until_true;

use crate::support::{DOWN, INTERVAL, SLACK, Scene, Words, in_both_words};

/// What is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Followed {
    Script,
    Process,
    File,
    Interface,
    Gateway,
    Route,
}

impl Followed {
    const ALL: [Self; 6] = [Self::Script, Self::Process, Self::File, Self::Interface, Self::Gateway, Self::Route];

    /// What keepalived can follow too.
    fn of(words: Words) -> &'static [Self] {
        match words {
            Words::Toml => &Self::ALL,
            Words::Keepalived => &Self::ALL[..4],
        }
    }

    /// How long it takes to be noticed, by the periods that are configured and documented.
    fn notice(self, words: Words) -> Duration {
        Duration::from_millis(match (self, words) {
            // Two runs in a row, of a shell each.
            (Self::Script, Words::Toml) => 2 * 200 + 100,
            (Self::Script, Words::Keepalived) => 2 * 1000 + 100,
            (Self::Process, _) => 500,
            (Self::File, _) => 250,
            (Self::Interface | Self::Route, _) => 50,
            // Two questions in a row, and the time the last one is given.
            (Self::Gateway, _) => 2 * 200 + 200,
        })
    }
}

/// Everything that is followed, and what it takes to break and to mend it.
struct Surroundings {
    node: Node,
    router: Node,
    ill: PathBuf,
    number: PathBuf,
    program: PathBuf,
    running: RefCell<Option<Process>>,
}

impl Surroundings {
    fn new(scene: &Scene) -> Self {
        let [node, _] = &scene.nodes;
        let router = scene.lab.node("router");
        scene.lan.attach(&router, "eth0", &["192.0.2.254/24"]);
        node.ip("link add eth9 type veth peer name eth8\nlink set eth8 up\nlink set eth9 up");
        // A process name has fifteen letters, and every laboratory of the machine is looked through.
        let name = format!("vg{}{}", std::process::id(), if scene.words == Words::Toml { "t" } else { "k" });
        let program = node.dir().join(name);
        fs::copy("/bin/sleep", &program).expect("a program to copy");
        let path = |name: &str| node.dir().join(name);
        let around = Self {
            node: node.clone(),
            router,
            ill: path("ill"),
            number: path("number"),
            program,
            running: RefCell::new(None),
        };
        Followed::ALL.iter().for_each(|&what| around.mend(what));
        around
    }

    fn break_it(&self, what: Followed) {
        match what {
            Followed::Script => fs::write(&self.ill, "").expect("a file"),
            Followed::Process => drop(self.running.take()),
            Followed::File => replace(&self.number, "-60\n"),
            Followed::Interface => self.node.ip("link set eth9 down"),
            Followed::Gateway => self.router.ip("link set eth0 down"),
            Followed::Route => self.node.ip("route del 198.51.100.0/24"),
        }
    }

    fn mend(&self, what: Followed) {
        match what {
            Followed::Script => drop(fs::remove_file(&self.ill)),
            Followed::Process => {
                let mut command = self.node.command(&self.program);
                self.running.replace(Some(self.node.spawn("followed", command.arg("600"))));
            }
            Followed::File => replace(&self.number, "0\n"),
            Followed::Interface => self.node.ip("link set eth9 up"),
            Followed::Gateway => self.router.ip("link set eth0 up"),
            Followed::Route => self.node.ip("route replace 198.51.100.0/24 via 192.0.2.254"),
        }
    }
}

/// At no moment is it there half.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).expect("a file");
    fs::rename(&fresh, path).expect("its place");
}

#[test]
fn what_fails_lowers_the_priority_and_moves_the_address_and_back() {
    in_both_words("followed", |mut scene| {
        let around = Surroundings::new(&scene);
        let (inside, outside) = words(&scene, &around);
        scene.start(0, 150, &inside, &outside);
        scene.wait_owner(0);
        scene.start(1, 100, "", "");
        scene.wait_standby();
        let mut table = Table::new(
            &format!("{:?}: what is followed fails and comes back", scene.words),
            &["followed", "address away after", "bound", "back after"],
        );
        for &what in Followed::of(scene.words) {
            let bound = what.notice(scene.words) + DOWN + SLACK;
            let begun = Instant::now();
            around.break_it(what);
            let away = scene.moved_to(1, begun);
            says(&scene, begun, 90);
            let mended = Instant::now();
            around.mend(what);
            let back = scene.moved_to(0, mended);
            says(&scene, mended, 150);
            table.row(&[&format!("{what:?}"), &ms(away), &ms(bound), &ms(back)]);
            assert!(away <= bound && back <= bound, "{what:?}: away after {away:?}, back after {back:?}");
            scene.wait_owner(0);
        }
        table.print();
    });
}

/// Waits for the advertisements of node `a` to say so, since then: what fails lowers a priority, and no more.
#[track_caller]
fn says(scene: &Scene, since: Instant, priority: u8) {
    let mut said = Vec::new();
    until_true(format_args!("node a to say {priority}"), INTERVAL + SLACK, || {
        said = scene.priorities(0, since);
        said.last() == Some(&priority)
    });
    // The last one before the change was noticed may have been of its full priority.
    assert!(said == [priority] || said == [150, priority], "{said:?}");
}

/// What node `a` is told: 60 less for each that fails.
fn words(scene: &Scene, around: &Surroundings) -> (String, String) {
    let check = scene.script(0, "check", &format!("[ ! -e {} ]", around.ill.display()));
    let (check, number) = (check.display(), around.number.display());
    let program = around.program.file_name().expect("a name").to_string_lossy();
    match scene.words {
        Words::Toml => {
            let mut outside = String::new();
            for (name, what) in [
                ("script", format!("script = \"{check}\"\ninterval = \"200ms\"\nrise = 2\nfall = 2\nweight = -60")),
                ("process", format!("process = \"{program}\"\nweight = -60")),
                ("file", format!("file = \"{number}\"\nweight = 1")),
                ("gateway", "gateway = \"192.0.2.254\"\ninterval = \"200ms\"\nrise = 2\nfall = 2\nweight = -60".into()),
                ("route", "route = \"198.51.100.0/24\"\nweight = -60".into()),
            ] {
                let _ = writeln!(outside, "[[tracker]]\nname = \"{name}\"\n{what}");
            }
            let inside = "track = [\"script\", \"process\", \"file\", \"gateway\", \"route\", \
                          { interface = \"eth9\", weight = -60 }]";
            (inside.into(), outside)
        }
        Words::Keepalived => (
            "    track_script {\n        script\n    }\n    track_process {\n        process\n    }\n    \
             track_file {\n        file\n    }\n    track_interface {\n        eth9 weight -60\n    }\n"
                .into(),
            format!(
                "vrrp_script script {{\n    script {check}\n    interval 1\n    rise 2\n    fall 2\n    weight -60\n}}\n\
                 vrrp_track_process process {{\n    process {program}\n    weight -60\n}}\n\
                 vrrp_track_file file {{\n    file {number}\n    weight 1\n}}\n"
            ),
        ),
    }
}
