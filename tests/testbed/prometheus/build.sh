#!/usr/bin/env bash
# Puts prometheus and promtool into the directory given as the only argument:
# those on the PATH, or else Debian's, unpacked without root rights.
set -euo pipefail
if type -P prometheus >/dev/null && type -P promtool >/dev/null; then
  echo "taking $(type -P prometheus) and $(type -P promtool)"
  cp "$(type -P prometheus)" "$(type -P promtool)" "$1"
  exit
fi

# shellcheck source=SCRIPTDIR/../lib/debian.sh
. "$(dirname "$0")/../lib/debian.sh"
work=$1/work
mkdir "$work"
unpack_debian "$work" prometheus
mv "$work/root/usr/bin/prometheus" "$work/root/usr/bin/promtool" "$1"
cd "$1"
rm -r "$work"
./promtool --version
