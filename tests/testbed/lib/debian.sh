# Debian's packages without root rights.

# unpack_debian FOLDER PACKAGE…: unpacks them into FOLDER/root, FOLDER being an absolute path of an empty folder. Fails where any
# of them cannot be had.
unpack_debian() (
  cd "$1" || exit 1
  # As root, apt would fetch as a user of its own, who may not write here.
  apt=(apt-get -q -o "APT::Sandbox::User=$(id -un)")
  if ! "${apt[@]}" download "${@:2}"; then
    echo "apt knows no such package, or not where it is now: asking for the lists"
    mkdir -p lists/partial cache/archives/partial || exit 1
    apt+=(-o "Dir::State::Lists=$1/lists" -o "Dir::Cache=$1/cache")
    "${apt[@]}" update && "${apt[@]}" download "${@:2}" || exit 1
  fi
  for package in *.deb; do dpkg-deb -x "$package" root || exit 1; done
)
