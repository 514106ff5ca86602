# make            build/libckpt.so, build/myrestart and build/ckpt
# make demo       the main job on a real program: save, kill, restart (needs python3)
# make check      everything that must hold before a change lands; what .ci/run runs
# make check-programs  the tests of programs that come in large packages: java, node, go, numpy; installs them
# make check-systems   the tests of quotas, full disks, memory limits and FUSE; as root: it mounts file systems; installs what it needs
# make audit      the annotated trace of a save and a restart
# make soak       saves, restarts and kills at random moments; SOAK_SECONDS=600 for longer
# make faults     every system call of a save and a restart fails in every way, and is the last one: half an hour
# make miri       the unit tests of the pure code in Rust's interpreter, which finds undefined behaviour (needs a nightly toolchain with Miri)
# make bench      stop, write and restart times beside the limits of this machine; BENCH=--help for options
# make install    PREFIX=/usr/local, DESTDIR= for packagers
# make deb        build/ckpt_VERSION_amd64.deb (needs dpkg-dev)
# make dist       build/ckpt-VERSION-x86_64-linux.tar.zst: runs on any x86-64 Linux, with an install.sh that needs no privilege
# make wheel      build/libckpt-VERSION-...whl: the Python interface and the programs, for pip (needs python3 with pip)
# make clean      remove what was built

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=
LIBDIR  ?= $(PREFIX)/lib
SOAK_SECONDS ?= 60

TARGET := $(or $(CARGO_TARGET_DIR),target)
# The command is static: it runs where there is no glibc, or an older one. A target that is named keeps the flags from build scripts.
HOST   := x86_64-unknown-linux-gnu
STATIC := CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
TOOL    = $(CARGO) run --quiet --profile tools --locked -p ckpt-tests --bin

.PHONY: all demo check check-programs check-systems audit soak faults miri bench install deb dist wheel clean
.DELETE_ON_ERROR:

# The command has the library in it, and brings it into programs that were started without.
# install(1) replaces a file under a new inode: programs that run with the old library keep it.
all:
	$(CARGO) build --release --locked -p ckpt-preload -p ckpt-restart
	CKPT_LIBRARY=$(abspath $(TARGET))/release/libckpt.so $(STATIC) \
		$(CARGO) build --release --locked -p ckpt-cli --target $(HOST)
	@mkdir -p build
	@install -m 755 $(TARGET)/release/libckpt.so $(TARGET)/release/myrestart $(TARGET)/$(HOST)/release/ckpt build/
	@ls -l build/libckpt.so build/myrestart build/ckpt

build/ckpt:
	$(MAKE) all

demo: all
	@tests/demo

check:
	tests/setup
	$(MAKE) all
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	tests/run

check-programs:
	tests/setup programs
	$(MAKE) all
	tests/run --large

check-systems:
	tests/setup systems
	$(MAKE) all
	tests/run --systems

audit: all
	@$(TOOL) audit

soak: all
	@$(TOOL) soak -- $(SOAK_SECONDS)

faults: all
	@$(TOOL) faults

# Isolated from files, the tests could not read their inputs. The vector instructions are there when the interpreter is told so.
miri:
	MIRIFLAGS=-Zmiri-disable-isolation RUSTFLAGS='-Ctarget-feature=+sse4.2,+avx2' \
		$(CARGO) +nightly miri test --target-dir $(TARGET)/miri --lib -p ckpt-image -p ckpt-restart

bench: all
	@$(CARGO) run --quiet --release --locked -p ckpt-bench --bin bench -- $(BENCH)

# What was built, by whoever built it: root need not have cargo, and leaves nothing of its own in the source folder.
install: build/ckpt
	@packaging/install build "$(DESTDIR)" "$(PREFIX)" "$(LIBDIR)"

deb: all
	@packaging/deb build

dist: all
	@packaging/dist build

wheel: all
	@packaging/wheel build

clean:
	$(CARGO) clean
	rm -rf build
