#!/usr/bin/env bash
# Installs Keycloak into the directory given as the only argument: fetched,
# augmented for the options that the bed uses, and with a database that has the
# realm already, since making one takes as long as three starts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n 's:.*<keycloak.version>\(.*\)</keycloak.version>.*:\1:p' "$here/pom.xml")
plugin=$(sed -n 's:.*<plugin.version>\(.*\)</plugin.version>.*:\1:p' "$here/pom.xml")

echo "fetching Keycloak $version: 165 MB, unless Maven has it already"
# Maven notes what it has done beside the pom.xml, which must not be here.
mkdir "$1/maven"
cp "$here/pom.xml" "$1/maven"
mvn --batch-mode --no-transfer-progress --file "$1/maven/pom.xml" \
  "org.apache.maven.plugins:maven-dependency-plugin:$plugin:unpack" "-DoutputDirectory=$1/maven"
mv "$1/maven/keycloak-$version" "$1/distribution"
rm -r "$1/maven"

echo "augmenting Keycloak $version: a minute of processor time"
export JAVA=${JAVA_HOME:+$JAVA_HOME/bin/}java
JAVA_OPTS_APPEND=-XX:TieredStopAtLevel=1 "$1/distribution/bin/kc.sh" build --db=dev-file

echo "making the database: another minute"
cp "$here/run" "$1/run"
# In the place of this script: what ends it must end Keycloak, too.
exec node "$here/prepare.mjs" "$1"
