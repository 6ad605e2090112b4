#!/usr/bin/env bash
# Puts prometheus and promtool into the directory given as the only argument:
# those on the PATH, or else Debian's, unpacked without root rights.
set -euo pipefail
if type -P prometheus >/dev/null && type -P promtool >/dev/null; then
  echo "taking $(type -P prometheus) and $(type -P promtool)"
  cp "$(type -P prometheus)" "$(type -P promtool)" "$1"
  exit
fi

work=$1/work
mkdir "$work"
cd "$work"
# As root, apt would fetch as a user of its own, who may not write here.
apt=(apt-get -o "APT::Sandbox::User=$(id -un)")
if ! "${apt[@]}" download prometheus; then
  echo "apt knows no such package, or not where it is now: asking for the lists"
  mkdir -p lists/partial cache/archives/partial
  apt+=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache")
  "${apt[@]}" update
  "${apt[@]}" download prometheus
fi
dpkg-deb -x prometheus_*.deb unpacked
mv unpacked/usr/bin/prometheus unpacked/usr/bin/promtool "$1"
cd "$1"
rm -r "$work"
./promtool --version
