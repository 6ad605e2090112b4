# Builds each part once for each content of its folder. A part is a folder with
# a build.sh, which is given the directory to build into.

# key PART: a hash of every file that the part is built from.
key() {
  (
    cd "$here/$1"
    find . -name node_modules -prune -o -type f -print0 | LC_ALL=C sort -z |
      xargs -0 sha256sum | sha256sum | cut -c 1-16
  )
}

# built PART: the directory that holds the part once it is built.
built() {
  echo "$cache/$1-$(key "$1")"
}

build_parts() {
  local part
  for part in "$@"; do
    if [[ ! -d $(built "$part") ]]; then build_part "$part"; fi
  done
}

# build_part PART: builds it unless somebody else does so first.
build_part() {
  local part=$1 target temporary log
  target=$(built "$part")
  mkdir -p "$cache"
  (
    exec 9>"$cache/.$part.lock"
    if ! flock --nonblock 9; then
      echo "testbed: waiting for another build of $part" >&2
      flock 9
    fi
    if [[ -d $target ]]; then exit 0; fi

    # What an interrupted build has left; nobody else builds this part now.
    rm -rf "$cache/.$part".*.tmp
    temporary=$(mktemp -d "$cache/.$part.XXXXXX.tmp")
    log=$cache/$part.log
    echo "testbed: building $part; its log is $log" >&2
    "$here/$part/build.sh" "$temporary" </dev/null >"$log" 2>&1 9>&- &
    watch_build "$part" "$log" $!
    chmod 755 "$temporary"
    mv -T "$temporary" "$target"
  )
}

# watch_build PART LOG PID: says what the build is doing until it ends.
watch_build() {
  local part=$1 log=$2 pid=$3 begin=$SECONDS next
  next=$((begin + 10))
  # The build ends with us: Ctrl-C leaves no compiler behind.
  trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    if ((SECONDS >= next)); then
      next=$((SECONDS + 10))
      # A line of the log is a package compiled or fetched; linking is silent.
      echo "testbed: building $part, $((SECONDS - begin)) s: step $(wc -l <"$log") $(tail -n 1 "$log" | cut -c 1-90)" >&2
    fi
  done
  trap - INT TERM
  if ! wait "$pid"; then
    echo "testbed: building $part failed; the end of $log:" >&2
    tail -n 25 "$log" | sed 's/^/  /' >&2
    exit 1
  fi
  echo "testbed: built $part in $((SECONDS - begin)) s" >&2
}
