# The two commands of the README are `make demo` and `make test`; both run as root on a fresh Debian 12 with a
# Rust toolchain, and leave `git status` clean.

PACKAGES = build-essential keepalived haproxy nginx-light libnginx-mod-stream openssh-server openssh-client vsftpd \
           lftp curl iproute2 tcpdump socat nftables procps openssl jq bsdutils hatop prometheus-haproxy-exporter \
           openjdk-17-jre-headless
PROGRAMS = cc keepalived haproxy nginx sshd ssh vsftpd lftp curl ip tcpdump socat nft ps openssl jq script hatop \
           prometheus-haproxy-exporter java
CARGO   ?= cargo
# Optimised less than a release: it compiles sooner, and is fast enough for scenarios in real time.
TEST     = $(CARGO) test --locked --profile ci
DENY_VERSION = 0.20.2

.PHONY: build packages test lint demo bench fuzz sim soak clean

build:
	$(CARGO) build --release --locked

# Installs what is missing, and nothing when nothing is: no service of these packages is started.
packages:
	@missing=; for p in $(PROGRAMS); do PATH="$$PATH:/usr/sbin:/sbin" command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$$missing nginx-stream"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" != 0 ]; then echo "missing:$$missing; run as root, or install: $(PACKAGES)" >&2; exit 1; fi; \
	echo "installing Debian packages (missing:$$missing)"; \
	policy=/usr/sbin/policy-rc.d; made=; \
	if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' >$$policy && chmod 755 $$policy && made=1; fi; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null; \
	status=$$?; [ -n "$$made" ] && rm -f $$policy; exit $$status

# Every test, the namespace tests included. `cargo test` alone runs what needs no root and says what it skipped.
test: packages
	$(TEST) --workspace --no-fail-fast
	$(MAKE) --no-print-directory fuzz

# Ten million packets, and as many configurations as half a minute allows; each run is seeded and prints its share.
fuzz:
	VIPGATE_FUZZ=10000000 $(TEST) --test fuzz_wire -- --nocapture
	VIPGATE_FUZZ=25000 $(TEST) --test fuzz_config --test fuzz_import -- --nocapture

# Adverts of 20 routers while every core is busy, five minutes for each subject (`make test` has twelve seconds); and
# 8,000 hostile clients (`make test` has 2,000).
soak: packages build
	VIPGATE_SOAK=300 $(CARGO) test --release --locked --package netns-tests --test load --test hostility -- --nocapture

# A hundred thousand storms over the real driver and the real keeper of addresses, and as many over the election alone;
# the largest models of two routers.
sim:
	VIPGATE_SIM=100000 $(CARGO) test --release --locked --lib speaker::simulation -- --nocapture
	VIPGATE_SIM=100000 $(CARGO) test --release --locked --test simulation --test model_check -- --nocapture

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(TEST) --test rooms
	@$(CARGO) fetch --quiet --locked; \
	deny=$$(command -v cargo-deny || echo target/tools/bin/cargo-deny); \
	[ -x "$$deny" ] || $(CARGO) install --quiet --debug --locked --root target/tools --version $(DENY_VERSION) cargo-deny || true; \
	if [ -x "$$deny" ]; then "$$deny" --offline check licenses bans sources; \
	else echo "SKIPPED: cargo-deny could not be installed: licences and bans were not checked" >&2; fi

demo: packages build
	$(CARGO) build --release --locked --package netns-tests --bin demo
	@KEEP=$(KEEP) "$${CARGO_TARGET_DIR:-target}/release/demo"

bench: packages build
	$(CARGO) bench --locked --bench proxy
	$(CARGO) bench --locked --bench tables

clean:
	$(CARGO) clean
