# Prerequisites: every one that is missing or too old is named at once, before
# anything is built.

# at_least FOUND LEAST: whether the dotted version FOUND is not below LEAST.
at_least() {
  [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

# version_in TEXT: the first number in it, dotted or not ("openjdk 21"), where
# those that set a colour do not count.
version_in() {
  sed 's/\x1b\[[0-9;]*m//g' <<<"$1" | grep -oE '[0-9]+(\.[0-9]+)*' | head -n 1 || true
}

# require NAME LEAST ADVICE COMMAND…: COMMAND prints the version of NAME.
require() {
  local name=$1 least=$2 advice=$3 found
  shift 3
  if ! type -P "$1" >/dev/null; then
    problems+=("$name is missing; needed: $least or newer. $advice")
    return
  fi
  # What another toolchain fetched on demand would say does not count.
  found=$(version_in "$(GOTOOLCHAIN=local "$@" 2>/dev/null || true)")
  if [[ -z $found ]] || ! at_least "$found" "$least"; then
    problems+=("$name ${found:-of an unknown version} is too old; needed: $least or newer. $advice")
  fi
}

# java_command: the java that Maven and Keycloak would take themselves.
java_command() {
  echo "${JAVA_HOME:+$JAVA_HOME/bin/}java"
}

# check_prerequisites PART…: what every bed needs, and what these parts need besides.
check_prerequisites() {
  local problems=() go_least node_least tool
  if [[ $(uname -s) != Linux ]]; then
    problems+=("this is $(uname -s); needed: Linux, whose /proc tells which processes are the bed's.")
  fi
  go_least=$(sed -n 's/^go //p' "$here/controlplane/go.mod")
  require "Rust (cargo)" 1.89 "Install it from https://rustup.rs or run: rustup update" cargo --version
  require Go "$go_least" "Install it from https://go.dev/dl" go version
  # URL.parse and crypto.hash, which oidc-provider calls, came with this one.
  node_least=$(sed -n 's/.*"node": ">=\([0-9.]*\)".*/\1/p' "$here/oidc-provider/package.json")
  require Node.js "$node_least" "Install a long-term release, 22 or newer, from https://nodejs.org" node --version
  require npm 8 "It comes with Node.js" npm --version
  for tool in flock sha256sum readlink sort; do
    type -P "$tool" >/dev/null || problems+=("$tool is missing. Install util-linux and coreutils.")
  done
  if [[ " $* " == *" keycloak "* ]]; then
    require Java 17 "Run: apt-get install openjdk-17-jre-headless" "$(java_command)" --version
    require "Maven (mvn)" 3.6.3 "Run: apt-get install maven" mvn --version
  fi
  if [[ " $* " == *" prometheus "* ]] && ! type -P prometheus promtool >/dev/null; then
    for tool in apt-get dpkg-deb; do
      type -P "$tool" >/dev/null ||
        problems+=("$tool is missing, and so are prometheus and promtool, which it would fetch. Put those two on the PATH.")
    done
  fi
  if [[ ${#problems[@]} -gt 0 ]]; then
    echo "testbed: this machine lacks what the test bed needs:" >&2
    printf '  - %s\n' "${problems[@]}" >&2
    exit 1
  fi
}
