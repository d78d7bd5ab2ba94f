//! probe
use std::path::Path;
use vipgate::config::{Loading, diagnostic::*, import, resolve};
fn main() {
    let mut loading = Loading::new();
    let a: Vec<String> = std::env::args().collect();
    for f in &a[1..] {
        if f.contains("keepalived") || f.ends_with(".conf") {
            import::load_keepalived(&mut loading, Path::new(f), &Default::default(), &import::System);
        } else {
            import::load_haproxy(&mut loading, Path::new(f), &import::System);
        }
    }
    let toml = vipgate::config::emit::emit(loading.raw());
    match loading.finish(&resolve) {
        Ok(l) => {
            println!("{}", render(&l.warnings, &l.sources, Style::Plain));
            println!("{toml}");
        }
        Err(f) => println!("{}", render(&f.diagnostics, &f.sources, Style::Plain)),
    }
}
