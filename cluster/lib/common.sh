# shellcheck shell=bash
# What the scripts of the house share: words, installing, building, and processes that are stopped by what was recorded of them.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
run="$root/cluster/run"
# Another binary, a debug build for one, is taken as it is.
sluice="${SLUICE_BINARY:-$root/.build/release/sluice}"

say() { printf '%s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# install_missing COMMAND:PACKAGE:WHY … installs the packages whose command (or file, if it holds a slash) is not there.
install_missing() {
  local entry command package why packages=()
  for entry in "$@"; do
    IFS=: read -r command package why <<<"$entry"
    if [[ $command == */* ]]; then
      [[ -e $command ]] && continue
    else
      command -v "$command" >/dev/null && continue
    fi
    say "installing $package ($why)"
    packages+=("$package")
  done
  ((${#packages[@]} == 0)) || apt_install "${packages[@]}"
}

# apt_install PACKAGE… installs, as root or through sudo; what apt says is shown only if it fails.
apt_install() {
  local packages=("$@")
  command -v apt-get >/dev/null || die "this machine has no apt; install by hand: ${packages[*]}"
  local as_root=()
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || die "installing needs root or sudo: apt-get install ${packages[*]}"
    as_root=(sudo)
  fi
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "apt-get could not install ${packages[*]}"
  fi
  rm -f "$log"
}

# The compiler is not in Debian; it is asked for, never fetched behind the user's back.
need_swift() {
  local version
  if command -v swift >/dev/null && ! swift --version >/dev/null 2>&1; then
    say "installing the libraries and the linker that the Swift toolchain needs on Debian"
    apt_install binutils gcc git libc6-dev libcurl4 libedit2 libncurses6 libpython3.11 libsqlite3-0 libstdc++-12-dev libxml2 libz3-4 \
      pkg-config tzdata zlib1g-dev
  fi
  version=$({ swift --version 2>/dev/null || true; } | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
  if [[ -z $version || $(printf '%s\n6.3\n' "$version" | sort -V | head -n 1) != 6.3 ]]; then
    cat >&2 <<TEXT
${0##*/}: Swift 6.3 is needed, ${version:+found only }${version:-none was found}. Debian has no package of it; get it from swift.org with

    curl -O https://download.swift.org/swiftly/linux/swiftly-\$(uname -m).tar.gz
    tar xzf swiftly-\$(uname -m).tar.gz && ./swiftly init
    swiftly install 6.3

then open a new shell and run this again.
TEXT
    exit 1
  fi
}

need_build_tools() {
  need_swift
  install_missing "cc:build-essential:the linker and the C library's headers that Swift builds against"
  if grep -q COpenSSL "$root/Package.swift"; then
    install_missing "/usr/include/openssl/ssl.h:libssl-dev:OpenSSL, for digests and TLS"
  fi
  if grep -q CHiredis "$root/Package.swift"; then
    install_missing "/usr/include/hiredis/hiredis.h:libhiredis-dev:the Redis protocol"
  fi
}

# Builds the optimised binary; at once when nothing changed. Linked with the Swift runtime, it needs no toolchain where it runs,
# and a few MiB less memory.
build_release() {
  local log="$root/.build/release-build.log" stamp="$root/.build/release-build.began"
  if [[ -n ${SLUICE_BINARY:-} ]]; then
    [[ -x $sluice ]] || die "SLUICE_BINARY names $sluice, which cannot be run"
    return
  fi
  # Asking the compiler whether there is something to do takes it longer than a cluster takes to start.
  [[ ! -x $sluice || -n $(find "$root/Package.swift" "$root/Sources" -newer "$stamp" -print -quit 2>&1) ]] || return 0
  need_build_tools
  mkdir -p "$root/.build"
  [[ -x $sluice ]] || say "building sluice in release (some minutes the first time)"
  touch "$stamp.new"
  if ! swift build --package-path "$root" -c release --product sluice --static-swift-stdlib >"$log" 2>&1; then
    grep -E 'error:' "$log" | sort -u | head -n 30 >&2 || true
    tail -n 5 "$log" >&2
    die "the build failed; all of it is in .build/release-build.log"
  fi
  mv "$stamp.new" "$stamp"
}

# The kernel's start time of a process: with the pid it names one process for ever, where a pid alone may be reused. Nothing for one that
# has ended and that nobody has asked how.
start_time() {
  local line fields
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
  read -ra fields <<<"${line##*) }"
  [[ ${fields[0]} == [ZX] ]] || printf '%s\n' "${fields[19]}"
}

# launch NAME COMMAND… starts it in the background, output to run/NAME.log, and records pid and start time.
launch() {
  local name=$1
  shift
  setsid "$@" </dev/null >>"$run/$name.log" 2>&1 &
  local pid=$!
  printf '%s %s\n' "$pid" "$(start_time "$pid")" >"$run/$name.pid"
}

# recorded NAME prints the pid if the very process that was recorded still runs.
recorded() {
  local pid started
  read -r pid started 2>/dev/null <"$run/$1.pid" || return 1
  [[ -n $started && $(start_time "$pid") == "$started" ]] || return 1
  printf '%s\n' "$pid"
}

# stop NAME… asks by SIGTERM, all at once, waits for the drain, and kills what is left after 40 seconds.
stop() {
  local name pid waited=0 left=()
  for name in "$@"; do
    if pid=$(recorded "$name"); then
      kill -TERM "$pid" 2>/dev/null || true
      left+=("$name")
    fi
  done
  while ((${#left[@]})); do
    local still=()
    for name in "${left[@]}"; do
      if pid=$(recorded "$name"); then
        ((waited < 400)) || kill -KILL "$pid" 2>/dev/null || true
        still+=("$name")
      fi
    done
    left=("${still[@]}")
    ((${#left[@]} == 0)) || sleep 0.1
    waited=$((waited + 1))
  done
  for name in "$@"; do rm -f "$run/$name.pid"; done
}

# stop_all stops what is recorded: the router first, so that nothing is under way, and nodes before Redis, to which they give back what
# they hold. Sets `stopped` to the names.
stopped=()
stop_all() {
  local file name router=() nodes=() rest=()
  for file in "$run"/*.pid; do
    [[ -e $file ]] || continue
    name=$(basename "$file" .pid)
    case $name in
      router) router+=("$name") ;;
      node-* | gateway) nodes+=("$name") ;;
      *) rest+=("$name") ;;
    esac
  done
  stop "${router[@]}"
  stop "${nodes[@]}"
  stop "${rest[@]}"
  # shellcheck disable=SC2034  # read by whoever called
  stopped=("${router[@]}" "${nodes[@]}" "${rest[@]}")
}

# Nothing is left of what cluster/up made; the reports of scenarios, if there are any, stay.
clear_run() {
  find "$run" -mindepth 1 -maxdepth 1 ! -name scenarios -exec rm -rf {} +
  rmdir "$run" 2>/dev/null || true
}

# What listens where: everything at its distance from the port that clients use. A node is reached on the port after the router's
# (node-1), the second after it (node-2) and so on, its admin port on one twenty higher.
# shellcheck disable=SC2034  # read by whoever called
admin_offset=20 redis_offset=40 replica_offset=41 sentinel_offset=41 upstream_offset=50 ports_used=53

# answers PORT PATH: with 2xx?
answers() { "$root/cluster/lib/healthy" "$@"; }

# redis_says PORT COMMAND START: does a Redis there answer with a line that begins so, within a second?
redis_says() {
  local line found=1
  { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
  printf '%s\r\nQUIT\r\n' "$2" >&3
  while read -r -t 1 line <&3; do
    [[ $line != "$3"* ]] || { found=0 && break; }
  done
  exec 3>&-
  return "$found"
}

redis_answers() { redis_says "$1" PING +PONG; }

# port_taken PORT: does something listen there? (A connection is the test that needs no tool.)
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

port_holder() {
  command -v ss >/dev/null || return 0
  ss -ltnpH "sport = :$1" 2>/dev/null | sed -n 's/.*users:((\"\([^\"]*\)\",pid=\([0-9]*\).*/ by \1 (pid \2)/p' | head -n 1
}
